//! Messages: stored unchanged, listed in order, erased once.

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::SubscriptionId;
use doorbell_store::{Appended, Erased, Limits, Lookup, NewMessage, Page, Pending, Removed, StoreError, StoredMessage};

use super::open;
use crate::bed::*;

#[tokio::test]
async fn a_message_comes_back_byte_for_byte_ps_8030_5_3() {
    let Bed { store, .. } = open(Limits::default()).populate().await;
    let bodies = [vec![], vec![0], vec![0xff; 4096], (0..=255).collect()];
    for (raw, body) in (101..).zip(bodies) {
        let urgency = Urgency::ALL[usize::try_from(raw % 4).unwrap()];
        let sent = NewMessage { body: Bytes::from(body), headers: vec![0, 7], urgency, ..news(raw) };
        assert_eq!(store.append(sent.clone()).await, Ok(Appended { replaced: None, receipts: Vec::new() }));

        let whole = StoredMessage {
            id: sent.id,
            subscription: ALICE_NEWS,
            urgency,
            expires_at: minutes(60),
            headers: vec![0, 7],
            body: sent.body.clone(),
        };
        assert_eq!(store.messages(ALICE, vec![sent.id], NOON).await, Ok(vec![Lookup::Stored(whole)]));
        let entry = Pending {
            id: sent.id,
            subscription: ALICE_NEWS,
            urgency,
            expires_at: minutes(60),
            size: u32::try_from(2 + sent.body.len()).unwrap(),
        };
        let listed = store.pending(ALICE, Some(id(raw - 1)), 10, NOON).await;
        assert_eq!(listed, Ok(Page { entries: vec![entry], ..Page::default() }));
    }
}

#[tokio::test]
async fn a_message_needs_a_subscription_of_its_agent() {
    let bed = open(Limits::default()).populate().await;
    let unknown = NewMessage { subscription: SubscriptionId::from_raw(99), ..news(101) };
    assert_eq!(bed.store.append(unknown).await, Err(StoreError::NoSubscription));
    let of_another = NewMessage { subscription: BOB_NEWS, ..news(101) };
    assert_eq!(bed.store.append(of_another).await, Err(StoreError::NoSubscription));
    assert!(bed.waiting(ALICE, NOON).await.is_empty());
}

#[tokio::test]
async fn a_message_id_is_used_once_and_the_first_message_stays() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(NewMessage { topic: topic("t"), ..news(101) }).await.unwrap();
    let again = NewMessage { topic: topic("t"), ..chat(101) };
    assert_eq!(bed.store.append(again).await, Err(StoreError::IdTaken));
    let kept = bed.store.messages(ALICE, vec![id(101)], NOON).await.unwrap();
    assert_eq!(stored(&kept[0]).map(|m| m.subscription), Some(ALICE_NEWS));
}

#[tokio::test]
async fn messages_are_listed_oldest_first_and_page_by_page() {
    let bed = open(Limits::default()).populate().await;
    for message in [news(103), chat(101), to_bob(104), news(102), chat(105)] {
        bed.store.append(message).await.unwrap();
    }
    assert_eq!(bed.waiting(ALICE, NOON).await, [101, 102, 103, 105]);

    let first = bed.store.pending(ALICE, None, 2, NOON).await.unwrap();
    assert_eq!(first.entries.iter().map(|e| e.id.raw()).collect::<Vec<_>>(), [101, 102]);
    assert!(first.more);
    let rest = bed.store.pending(ALICE, Some(id(102)), 2, NOON).await.unwrap();
    assert_eq!(rest.entries.iter().map(|e| e.id.raw()).collect::<Vec<_>>(), [103, 105]);
    assert!(!rest.more);
}

#[tokio::test]
async fn an_erased_message_is_gone_and_erasing_it_again_reports_so_ps_8030_6_2_6() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(news(101)).await.unwrap();
    assert_eq!(bed.store.erase(id(101), ALICE, DELIVERED, NOON).await, Ok(Erased { existed: true, receipt: None }));
    assert!(bed.waiting(ALICE, NOON).await.is_empty());
    assert_eq!(bed.store.messages(ALICE, vec![id(101)], NOON).await, Ok(vec![Lookup::Absent]));
    assert_eq!(bed.store.erase(id(101), ALICE, DELIVERED, NOON).await, Ok(Erased { existed: false, receipt: None }));
}

#[tokio::test]
async fn a_message_is_erased_by_its_agent_only() {
    let bed = open(Limits::default()).populate().await;
    bed.store.append(news(101)).await.unwrap();
    assert_eq!(bed.store.erase(id(101), BOB, DELIVERED, NOON).await, Ok(Erased { existed: false, receipt: None }));
    assert_eq!(bed.waiting(ALICE, NOON).await, [101]);
}

#[tokio::test]
async fn messages_are_read_in_the_requested_order() {
    let Bed { store, .. } = open(Limits::default()).populate().await;
    for message in [news(101), chat(102)] {
        store.append(message).await.unwrap();
    }
    let read = store.messages(ALICE, vec![id(102), id(100), id(101), id(102)], NOON).await.unwrap();
    let ids: Vec<_> = read.iter().map(|m| stored(m).map(|m| m.id.raw())).collect();
    assert_eq!(ids, [Some(102), None, Some(101), Some(102)]);
}

#[tokio::test]
async fn writes_queued_without_waiting_take_effect_in_order() {
    let bed = open(Limits::default()).populate().await;
    let first = bed.store.append(news(101));
    let erased = bed.store.erase(id(101), ALICE, DELIVERED, NOON);
    let again = bed.store.append(news(101));
    let twice = bed.store.append(news(101));
    let removed = bed.store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON);
    let too_late = bed.store.append(news(102));

    assert_eq!(too_late.await, Err(StoreError::NoSubscription));
    assert_eq!(removed.await, Ok(Removed { existed: true, receipts: Vec::new() }));
    assert_eq!(twice.await, Err(StoreError::IdTaken));
    assert_eq!(again.await, Ok(Appended { replaced: None, receipts: Vec::new() }));
    assert_eq!(erased.await, Ok(Erased { existed: true, receipt: None }));
    assert_eq!(first.await, Ok(Appended { replaced: None, receipts: Vec::new() }));
    assert!(bed.waiting(ALICE, NOON).await.is_empty());
}

#[tokio::test]
async fn the_greatest_id_outlives_its_row() {
    let bed = open(Limits::default());
    assert_eq!(bed.store.greatest_id(), 0, "what the store had when it was opened");
    let bed = bed.populate().await;
    bed.store.append(news(900)).await.unwrap();
    bed.store.erase(id(900), ALICE, DELIVERED, NOON).await.unwrap();
    // The id is free again: only the service's mint decides which ids are new.
    assert_eq!(bed.store.append(news(900)).await, Ok(Appended { replaced: None, receipts: Vec::new() }));
}
