//! Expiry: reads are exact to the millisecond; a sweep frees room a little later and in small steps.

use doorbell_store::{Limits, Lookup, NewMessage, Swept};

use super::open;
use crate::bed::*;

#[tokio::test]
async fn an_expired_message_is_never_read_ps_8030_5_2_7() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(NewMessage { expires_at: minutes(1), ..news(101) }).await.unwrap();
    bed.store.append(news(102)).await.unwrap();

    let just_before = doorbell_protocol::time::UnixMs::from_millis(minutes(1).as_millis() - 1);
    assert_eq!(bed.waiting(ALICE, just_before).await, [101, 102]);
    assert!(stored(&bed.store.messages(ALICE, vec![id(101)], just_before).await.unwrap()[0]).is_some());
    assert_eq!(bed.waiting(ALICE, minutes(1)).await, [102]);
    assert_eq!(bed.store.messages(ALICE, vec![id(101)], minutes(1)).await, Ok(vec![Lookup::Absent]));
}

#[tokio::test]
async fn a_sweep_deletes_what_expired_and_nothing_else() {
    let bed = open(Limits::default()).populate().await;
    for (raw, minute) in [(101, 1), (102, 60), (103, 2), (104, 30)] {
        bed.store.append(NewMessage { expires_at: minutes(minute), ..news(raw) }).await.unwrap();
    }
    assert_eq!(bed.store.sweep(NOON, 10).await, Ok(Swept { removed: 0, receipts: Vec::new(), more: false }));
    assert_eq!(bed.store.sweep(minutes(20), 10).await, Ok(Swept { removed: 2, receipts: Vec::new(), more: false }));
    assert_eq!(bed.waiting(ALICE, NOON).await, [102, 104], "read as of noon, to see all rows");
    assert_eq!(bed.store.sweep(minutes(120), 10).await, Ok(Swept { removed: 2, receipts: Vec::new(), more: false }));
}

#[tokio::test]
async fn a_sweep_goes_in_bounded_steps() {
    let bed = open(Limits { messages_per_agent_max: 3_000, ..Limits::default() }).populate().await;
    let writes: Vec<_> = (101..2_601).map(|raw| bed.store.append(news(raw))).collect();
    for write in writes {
        write.await.unwrap();
    }
    let later = minutes(120);
    assert_eq!(bed.store.sweep(later, 500).await, Ok(Swept { removed: 500, receipts: Vec::new(), more: true }));
    assert_eq!(
        bed.store.sweep(later, u32::MAX).await,
        Ok(Swept { removed: 1_000, receipts: Vec::new(), more: true }),
        "its own bound"
    );
    assert_eq!(bed.store.sweep(later, 1_000).await, Ok(Swept { removed: 1_000, receipts: Vec::new(), more: false }));
}
