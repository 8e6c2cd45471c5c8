//! Quota: a bound on what one agent's messages take, and a clear refusal at the bound.

use bytes::Bytes;
use doorbell_store::{Appended, Limits, NewMessage, StoreError};

use super::open;
use crate::bed::*;

const TWO_MESSAGES: fn() -> Limits = || Limits { messages_per_agent_max: 2, ..Limits::default() };
const KEPT: Result<Appended, StoreError> = Ok(Appended { replaced: None, receipts: Vec::new() });

fn of_bytes(message: NewMessage, n: usize) -> NewMessage {
    NewMessage { body: Bytes::from(vec![0; n]), ..message }
}

#[tokio::test]
async fn a_full_agent_is_refused_and_keeps_what_it_has() {
    let bed = open(TWO_MESSAGES()).populate().await;
    assert_eq!(bed.store.append(news(101)).await, KEPT);
    assert_eq!(bed.store.append(chat(102)).await, KEPT);
    let refusal = Err(StoreError::QuotaExceeded { messages: 2, bytes: 2 });
    assert_eq!(bed.store.append(news(103)).await, refusal);
    assert_eq!(bed.waiting(ALICE, NOON).await, [101, 102]);
}

// PS-8030-8.4-5
#[tokio::test]
async fn a_subscription_over_its_share_is_refused_and_leaves_room_for_the_others() {
    let limits = Limits { messages_per_agent_max: 4, messages_per_subscription_max: 2, ..Limits::default() };
    let bed = open(limits).populate().await;
    assert_eq!(bed.store.append(news(101)).await, KEPT);
    assert_eq!(bed.store.append(NewMessage { expires_at: minutes(1), ..news(102) }).await, KEPT);
    assert_eq!(bed.store.append(news(103)).await, Err(StoreError::QuotaExceeded { messages: 2, bytes: 2 }));
    assert_eq!(bed.store.append(chat(104)).await, KEPT);
    assert_eq!(
        bed.store.append(NewMessage { now: minutes(1), ..news(105) }).await,
        KEPT,
        "expired messages do not count"
    );
    assert_eq!(bed.waiting(ALICE, minutes(1)).await, [101, 104, 105]);
}

// PS-8030-8.4-5
#[tokio::test]
async fn the_bytes_of_a_subscription_have_a_share_too_and_a_topic_makes_room_in_it() {
    let bed = open(Limits { bytes_per_subscription_max: 10, ..Limits::default() }).populate().await;
    let topic = |message: NewMessage| NewMessage { topic: Some("t".parse().unwrap()), ..message };
    assert_eq!(bed.store.append(topic(of_bytes(news(101), 8))).await, KEPT);
    assert!(bed.store.append(of_bytes(news(102), 3)).await.is_err());
    let replaced = Ok(Appended { replaced: Some(id(101)), receipts: Vec::new() });
    assert_eq!(bed.store.append(topic(of_bytes(news(103), 10))).await, replaced);
}

#[tokio::test]
async fn bytes_count_as_well_as_messages() {
    let bed = open(Limits { bytes_per_agent_max: 10, ..Limits::default() }).populate().await;
    let with_headers = NewMessage { headers: vec![0; 4], ..of_bytes(news(101), 4) };
    assert_eq!(bed.store.append(with_headers).await, KEPT);
    let refusal = Err(StoreError::QuotaExceeded { messages: 1, bytes: 8 });
    assert_eq!(bed.store.append(of_bytes(news(102), 3)).await, refusal);
    assert_eq!(bed.store.append(of_bytes(news(102), 2)).await, KEPT);
}

#[tokio::test]
async fn erasing_makes_room() {
    let bed = open(TWO_MESSAGES()).populate().await;
    for raw in 101..110 {
        assert_eq!(bed.store.append(news(raw)).await, KEPT);
        bed.store.erase(id(raw - 1), ALICE, DELIVERED, NOON).await.unwrap();
    }
    assert_eq!(bed.waiting(ALICE, NOON).await, [109]);
}

#[tokio::test]
async fn expired_messages_make_room() {
    let bed = open(TWO_MESSAGES()).populate().await;
    assert_eq!(bed.store.append(NewMessage { expires_at: minutes(1), ..news(101) }).await, KEPT);
    assert_eq!(bed.store.append(NewMessage { expires_at: minutes(2), ..news(102) }).await, KEPT);
    assert!(bed.store.append(news(103)).await.is_err());
    assert_eq!(bed.store.append(NewMessage { now: minutes(1), ..news(103) }).await, KEPT);
    assert!(bed.store.append(NewMessage { now: minutes(1), ..news(104) }).await.is_err());
    assert_eq!(bed.store.append(NewMessage { now: minutes(2), ..news(104) }).await, KEPT);
    assert_eq!(bed.waiting(ALICE, minutes(2)).await, [103, 104]);
}

#[tokio::test]
async fn a_removed_subscription_makes_room() {
    let bed = open(TWO_MESSAGES()).populate().await;
    assert_eq!(bed.store.append(chat(101)).await, KEPT);
    assert_eq!(bed.store.append(news(102)).await, KEPT);
    bed.store.delete_subscription(ALICE, ALICE_CHAT, NOON, NOON).await.unwrap();
    assert_eq!(bed.store.append(news(103)).await, KEPT);
    assert!(bed.store.append(news(104)).await.is_err());
}

#[tokio::test]
async fn a_sweep_makes_room() {
    let bed = open(TWO_MESSAGES()).populate().await;
    for raw in [101, 102] {
        assert_eq!(bed.store.append(NewMessage { expires_at: minutes(1), ..news(raw) }).await, KEPT);
    }
    bed.store.sweep(minutes(20), 10).await.unwrap();
    // At noon these two have not expired: the sweep made the room.
    assert_eq!(bed.store.append(news(103)).await, KEPT);
    assert_eq!(bed.store.append(news(104)).await, KEPT);
    assert!(bed.store.append(news(105)).await.is_err());
}

#[tokio::test]
async fn a_replaced_message_makes_room_for_its_successor() {
    let bed = open(TWO_MESSAGES()).populate().await;
    assert_eq!(bed.store.append(NewMessage { topic: topic("t"), ..news(101) }).await, KEPT);
    assert_eq!(bed.store.append(news(102)).await, KEPT);
    let successor = NewMessage { topic: topic("t"), ..news(103) };
    assert_eq!(bed.store.append(successor).await, Ok(Appended { replaced: Some(id(101)), receipts: Vec::new() }));
    assert!(bed.store.append(news(104)).await.is_err());
}

#[tokio::test]
async fn a_refused_replacement_leaves_the_old_message() {
    let bed = open(Limits { bytes_per_agent_max: 10, ..Limits::default() }).populate().await;
    assert_eq!(bed.store.append(NewMessage { topic: topic("t"), ..of_bytes(news(101), 5) }).await, KEPT);
    assert_eq!(bed.store.append(of_bytes(news(102), 5)).await, KEPT);
    let too_big = NewMessage { topic: topic("t"), ..of_bytes(news(103), 6) };
    assert_eq!(bed.store.append(too_big).await, Err(StoreError::QuotaExceeded { messages: 2, bytes: 10 }));
    assert_eq!(bed.waiting(ALICE, NOON).await, [101, 102]);
}

#[tokio::test]
async fn an_expired_message_makes_room_once_even_if_it_has_the_same_topic() {
    let bed = open(Limits { bytes_per_agent_max: 10, ..Limits::default() }).populate().await;
    let short = NewMessage { topic: topic("t"), expires_at: minutes(1), ..of_bytes(news(101), 1) };
    assert_eq!(bed.store.append(short).await, KEPT);
    assert_eq!(bed.store.append(of_bytes(news(102), 9)).await, KEPT);
    let successor = |len| NewMessage { topic: topic("t"), now: minutes(1), ..of_bytes(news(103), len) };
    assert_eq!(bed.store.append(successor(2)).await, Err(StoreError::QuotaExceeded { messages: 1, bytes: 9 }));
    assert_eq!(bed.store.append(successor(1)).await, KEPT);
}

#[tokio::test]
async fn one_full_agent_does_not_affect_another() {
    let bed = open(TWO_MESSAGES()).populate().await;
    let writes: Vec<_> = (101..200).map(|raw| (bed.store.append(news(raw)), raw)).collect();
    let bobs = bed.store.append(to_bob(900));
    let mut kept = 0;
    for (write, _) in writes {
        kept += usize::from(write.await.is_ok());
    }
    assert_eq!(kept, 2);
    assert_eq!(bobs.await, KEPT);
}
