//! Topics: one outstanding message for each topic of a subscription (RFC 8030 s5.4).

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_store::{Appended, Limits, Lookup, NewMessage};

use super::open;
use crate::bed::*;

fn on_topic(message: NewMessage) -> NewMessage {
    NewMessage { topic: topic("score"), ..message }
}

#[tokio::test]
async fn a_newer_message_replaces_the_one_of_its_topic_ps_8030_5_4_2() {
    let bed = open(Limits::default()).populate().await;
    assert_eq!(bed.store.append(on_topic(news(101))).await, Ok(Appended { replaced: None, receipts: Vec::new() }));
    bed.store.append(NewMessage { topic: topic("other"), ..news(102) }).await.unwrap();
    bed.store.append(news(103)).await.unwrap();
    assert_eq!(
        bed.store.append(on_topic(news(104))).await,
        Ok(Appended { replaced: Some(id(101)), receipts: Vec::new() })
    );
    assert_eq!(bed.waiting(ALICE, NOON).await, [102, 103, 104]);
    assert_eq!(bed.store.messages(ALICE, vec![id(101)], NOON).await, Ok(vec![Lookup::Absent]));
}

#[tokio::test]
async fn a_topic_belongs_to_one_subscription_ps_8030_5_4_3() {
    let bed = open(Limits::default()).populate().await;
    for message in [news(101), chat(102), to_bob(103)] {
        assert_eq!(bed.store.append(on_topic(message)).await, Ok(Appended { replaced: None, receipts: Vec::new() }));
    }
    assert_eq!(bed.waiting(ALICE, NOON).await, [101, 102]);
    assert_eq!(bed.waiting(BOB, NOON).await, [103]);
}

#[tokio::test]
async fn a_replacement_brings_its_own_expiry_and_urgency_ps_8030_5_4_4() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(NewMessage { urgency: Urgency::High, ..on_topic(news(101)) }).await.unwrap();
    let short = NewMessage { urgency: Urgency::Low, expires_at: minutes(5), ..on_topic(news(102)) };
    bed.store.append(short).await.unwrap();
    let page = bed.store.pending(ALICE, None, 10, NOON).await.unwrap();
    assert_eq!(page.entries[0].urgency, Urgency::Low);
    assert!(bed.waiting(ALICE, minutes(5)).await.is_empty());
}

#[tokio::test]
async fn a_topic_is_free_again_once_its_message_is_gone_ps_8030_5_4_7() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(on_topic(news(101))).await.unwrap();
    bed.store.erase(id(101), ALICE, DELIVERED, NOON).await.unwrap();
    assert_eq!(bed.store.append(on_topic(news(102))).await, Ok(Appended { replaced: None, receipts: Vec::new() }));
}

#[tokio::test]
async fn of_many_at_once_exactly_one_survives_ps_8030_5_4_8() {
    let bed = open(Limits::default()).populate().await;
    let senders: Vec<_> = (101..1_101)
        .map(|raw| {
            let store = bed.store.clone();
            tokio::spawn(async move { store.append(on_topic(news(raw))).await.unwrap().replaced })
        })
        .collect();
    let mut replaced = Vec::new();
    for sender in senders {
        replaced.extend(sender.await.unwrap().map(doorbell_protocol::id::MessageId::raw));
    }
    let survivors = bed.waiting(ALICE, NOON).await;
    assert_eq!(survivors.len(), 1);
    replaced.extend(survivors);
    replaced.sort_unstable();
    assert_eq!(replaced, (101..1_101).collect::<Vec<_>>(), "each was replaced once, but for the survivor");
}
