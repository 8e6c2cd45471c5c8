//! Receipts: each message that wants one has one, in the commit that ends the message (RFC 8030 s5.1, s6.3).

use doorbell_protocol::id::ReceiptSubscriptionId;
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Appended, Erased, Limits, NewMessage, Receipt, Removed, StoreError, Swept};

use super::open;
use crate::bed::*;
use Outcome::{Dropped, Expired, Undecryptable, Unsubscribed};

const SETTLED: Erased = Erased { existed: true, receipt: Some(RECEIPTS) };

fn expiring(message: NewMessage, minute: i64) -> NewMessage {
    NewMessage { expires_at: minutes(minute), ..message }
}

fn on_topic(message: NewMessage) -> NewMessage {
    NewMessage { topic: topic("score"), ..message }
}

#[tokio::test]
async fn a_settled_message_has_one_receipt_ps_8030_6_2_1_and_6_3_6() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(with_receipt(news(101))).await.unwrap();
    assert_eq!(bed.receipts(RECEIPTS).await, [], "it waits, so it has no outcome yet");

    assert_eq!(bed.store.erase(id(101), ALICE, DELIVERED, minutes(3)).await, Ok(SETTLED));
    assert_eq!(bed.store.erase(id(101), ALICE, DELIVERED, minutes(3)).await, Ok(Erased::default()));
    let receipt = Receipt { seq: 1, cell: 0, message: id(101), agent: ALICE, outcome: DELIVERED, at: minutes(3) };
    assert_eq!(receipts(&bed.store, RECEIPTS).await, [receipt]);
    assert_eq!(bed.receipts(OTHER_RECEIPTS).await, []);
}

#[tokio::test]
async fn a_receipt_has_the_outcome_of_its_message_ps_8030_6_2_2() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    for (raw, outcome) in (101..).zip(Outcome::ALL) {
        bed.store.append(with_receipt(news(raw))).await.unwrap();
        assert_eq!(bed.store.erase(id(raw), ALICE, outcome, NOON).await, Ok(SETTLED));
    }
    let all: Vec<_> = (101..).zip(Outcome::ALL).collect();
    assert_eq!(bed.receipts(RECEIPTS).await, all);
}

#[tokio::test]
async fn a_message_without_a_receipt_subscription_has_no_receipt_ps_8030_5_1_8() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(news(101)).await.unwrap();
    let erased = bed.store.erase(id(101), ALICE, DELIVERED, NOON).await;
    assert_eq!(erased, Ok(Erased { existed: true, receipt: None }));
    assert_eq!(bed.receipts(RECEIPTS).await, []);
}

#[tokio::test]
async fn another_agent_cannot_cause_a_receipt() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(with_receipt(news(101))).await.unwrap();
    assert_eq!(bed.store.erase(id(101), BOB, DELIVERED, NOON).await, Ok(Erased::default()));
    assert_eq!(bed.receipts(RECEIPTS).await, []);
}

#[tokio::test]
async fn a_message_that_names_an_unknown_receipt_subscription_is_not_stored_ps_8030_5_1_5() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(on_topic(news(101))).await.unwrap();
    let unknown = Some(ReceiptSubscriptionId::from_raw(33));
    let refused = NewMessage { receipt: unknown, ..on_topic(news(102)) };
    assert_eq!(bed.store.append(refused).await, Err(StoreError::NoReceiptSubscription));
    assert_eq!(bed.waiting(ALICE, NOON).await, [101], "and what it would have replaced is still there");
}

#[tokio::test]
async fn a_replaced_message_has_no_receipt_even_if_it_is_settled_late_ps_8030_5_4_4_and_5_4_5() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(with_receipt(on_topic(news(101)))).await.unwrap();
    let successor = NewMessage { receipt: Some(OTHER_RECEIPTS), ..on_topic(news(102)) };
    let replaced = Appended { replaced: Some(id(101)), receipts: Vec::new() };
    assert_eq!(bed.store.append(successor).await, Ok(replaced));
    assert_eq!(bed.store.erase(id(101), ALICE, DELIVERED, NOON).await, Ok(Erased::default()));
    bed.store.erase(id(102), ALICE, DELIVERED, NOON).await.unwrap();
    assert_eq!(bed.receipts(RECEIPTS).await, []);
    assert_eq!(bed.receipts(OTHER_RECEIPTS).await, [(102, DELIVERED)]);
}

#[tokio::test]
async fn a_message_that_expired_before_it_was_replaced_has_its_receipt_ps_8030_6_3_4() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    bed.store.append(with_receipt(expiring(on_topic(news(101)), 1))).await.unwrap();
    let later = NewMessage { now: minutes(2), ..on_topic(news(102)) };
    assert_eq!(bed.store.append(later).await, Ok(Appended { replaced: None, receipts: vec![RECEIPTS] }));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, Expired)]);
}

#[tokio::test]
async fn a_message_settled_after_its_expiry_has_expired_ps_8030_6_3_4_and_5_2_7() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    for raw in [101, 102, 103] {
        bed.store.append(with_receipt(expiring(news(raw), 1))).await.unwrap();
    }
    let just_before = UnixMs::from_millis(minutes(1).as_millis() - 1);
    assert_eq!(bed.store.erase(id(101), ALICE, DELIVERED, just_before).await, Ok(SETTLED));
    let gone = Erased { existed: false, receipt: Some(RECEIPTS) };
    assert_eq!(bed.store.erase(id(102), ALICE, DELIVERED, minutes(1)).await, Ok(gone));
    assert_eq!(bed.store.erase(id(103), ALICE, DELIVERED, minutes(9)).await, Ok(gone));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, DELIVERED), (102, Expired), (103, Expired)]);
    assert_eq!(receipts(&bed.store, RECEIPTS).await[2].at, minutes(1), "when it expired, not when that was noticed");
}

#[tokio::test]
async fn a_sweep_adds_receipts_of_expired_messages_to_the_millisecond_ps_8030_6_3_4() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    let others = NewMessage { receipt: Some(OTHER_RECEIPTS), ..expiring(to_bob(105), 2) };
    for message in
        [with_receipt(expiring(news(101), 1)), expiring(news(102), 1), with_receipt(expiring(chat(103), 1)), others]
    {
        bed.store.append(message).await.unwrap();
    }
    let just_before = UnixMs::from_millis(minutes(1).as_millis() - 1);
    assert_eq!(bed.store.sweep(just_before, 10).await, Ok(Swept::default()));
    let swept = Swept { removed: 2, receipts: vec![RECEIPTS], more: false };
    assert_eq!(bed.store.sweep(minutes(1), 10).await, Ok(swept));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, Expired), (103, Expired)]);

    let swept = Swept { removed: 2, receipts: vec![OTHER_RECEIPTS], more: false };
    assert_eq!(bed.store.sweep(minutes(30), 10).await, Ok(swept), "the one without a receipt is deleted with its span");
    assert_eq!(bed.store.sweep(minutes(30), 10).await, Ok(Swept::default()));
    assert_eq!(bed.receipts(OTHER_RECEIPTS).await, [(105, Expired)]);
}

#[tokio::test]
async fn sweeps_in_small_steps_add_one_receipt_for_each_message_ps_8030_6_3_6() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    for raw in 101..121 {
        let message = expiring(news(raw), raw % 7);
        bed.store.append(if raw % 2 == 0 { with_receipt(message) } else { message }).await.unwrap();
    }
    let mut removed = 0;
    loop {
        let swept = bed.store.sweep(minutes(60), 3).await.unwrap();
        removed += swept.removed;
        if !swept.more {
            break;
        }
        assert_eq!(swept.removed, 3);
    }
    assert_eq!(removed, 20);
    let mut outcomes = bed.receipts(RECEIPTS).await;
    outcomes.sort_unstable();
    assert_eq!(outcomes, (102..121).step_by(2).map(|raw| (raw, Expired)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sweep_reports_that_it_stopped_at_its_bound_and_orders_receipts_by_message() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    for (raw, minute) in [(101, 3), (102, 2), (103, 1)] {
        bed.store.append(with_receipt(expiring(news(raw), minute))).await.unwrap();
    }
    let swept = |removed, more| Swept { removed, receipts: vec![RECEIPTS], more };
    assert_eq!(bed.store.sweep(minutes(4), 2).await, Ok(swept(2, true)));
    assert_eq!(bed.store.sweep(minutes(4), 2).await, Ok(swept(1, false)));
    assert_eq!(bed.receipts(RECEIPTS).await, [(102, Expired), (103, Expired), (101, Expired)]);
}

#[tokio::test]
async fn expired_messages_that_make_room_have_receipts_and_stay_if_that_does_not_help_ps_8030_7_2_r() {
    let limits = Limits { messages_per_agent_max: 2, bytes_per_agent_max: 10, ..Limits::default() };
    let bed = open(limits).populate_with_receipts().await;
    bed.store.append(with_receipt(expiring(news(101), 1))).await.unwrap();
    bed.store.append(expiring(chat(102), 9)).await.unwrap();

    let too_big = NewMessage { now: minutes(1), body: vec![0; 10].into(), ..news(103) };
    let refusal = StoreError::QuotaExceeded { messages: 1, bytes: 1 };
    assert_eq!(bed.store.append(too_big).await, Err(refusal));
    assert_eq!(bed.receipts(RECEIPTS).await, [], "a refused write changes nothing");

    let kept = Appended { replaced: None, receipts: vec![RECEIPTS] };
    assert_eq!(bed.store.append(NewMessage { now: minutes(1), ..news(104) }).await, Ok(kept));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, Expired)]);
}

#[tokio::test]
async fn a_removed_subscription_ends_its_messages_ps_8030_6_3_3_and_7_3_4() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    for message in [
        with_receipt(news(101)),
        with_receipt(chat(102)),
        news(103),
        with_receipt(expiring(news(104), 1)),
        with_receipt(news(105)),
    ] {
        bed.store.append(message).await.unwrap();
    }
    let removed = Removed { existed: true, receipts: vec![RECEIPTS] };
    assert_eq!(bed.store.delete_subscription(ALICE, ALICE_NEWS, minutes(1), minutes(1)).await, Ok(removed));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, Unsubscribed), (104, Expired), (105, Unsubscribed)]);
    assert_eq!(bed.store.delete_subscription(ALICE, ALICE_NEWS, minutes(1), minutes(1)).await, Ok(Removed::default()));
}

#[tokio::test]
async fn a_removed_agent_ends_its_messages_ps_8030_6_3_3_and_7_3_1_3() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    let others = NewMessage { receipt: Some(OTHER_RECEIPTS), ..chat(103) };
    for message in [with_receipt(news(102)), with_receipt(to_bob(101)), others] {
        bed.store.append(message).await.unwrap();
    }
    let removed = Removed { existed: true, receipts: vec![RECEIPTS, OTHER_RECEIPTS] };
    assert_eq!(bed.store.delete_agent(ALICE, NOON).await, Ok(removed));
    assert_eq!(bed.receipts(RECEIPTS).await, [(102, Unsubscribed)]);
    assert_eq!(bed.receipts(OTHER_RECEIPTS).await, [(103, Unsubscribed)]);
    assert_eq!(bed.waiting(BOB, NOON).await, [101]);
}

#[tokio::test]
async fn a_message_that_was_never_stored_can_have_a_receipt_ps_8030_5_2_10() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    assert_eq!(bed.store.add_receipt(RECEIPTS, id(101), ALICE, Dropped, NOON).await, Ok(()));
    let unknown = ReceiptSubscriptionId::from_raw(33);
    let refused = bed.store.add_receipt(unknown, id(102), ALICE, Dropped, NOON).await;
    assert_eq!(refused, Err(StoreError::NoReceiptSubscription));
    assert_eq!(bed.receipts(RECEIPTS).await, [(101, Dropped)]);
}

#[tokio::test]
async fn numbers_rise_in_the_order_of_the_writes_ps_8030_6_3_6() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    for raw in 101..105 {
        bed.store.append(with_receipt(news(raw))).await.unwrap();
    }
    bed.store.append(NewMessage { receipt: Some(OTHER_RECEIPTS), ..news(105) }).await.unwrap();
    let first = bed.store.erase(id(104), ALICE, DELIVERED, NOON);
    let second = bed.store.add_receipt(RECEIPTS, id(900), BOB, Dropped, NOON);
    let third = bed.store.erase(id(105), ALICE, Undecryptable, NOON);
    let rest = bed.store.delete_agent(ALICE, NOON);
    rest.await.unwrap();
    assert!(first.await.is_ok() && second.await.is_ok() && third.await.is_ok());

    let numbers = |of: Vec<Receipt>| of.iter().map(|receipt| (receipt.seq, receipt.message.raw())).collect::<Vec<_>>();
    let here = numbers(receipts(&bed.store, RECEIPTS).await);
    assert_eq!(here, [(1, 104), (2, 900), (4, 101), (5, 102), (6, 103)]);
    assert_eq!(numbers(receipts(&bed.store, OTHER_RECEIPTS).await), [(3, 105)]);
}
