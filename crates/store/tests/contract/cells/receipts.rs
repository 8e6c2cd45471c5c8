//! Receipts of messages whose agent is in another cell than their receipt subscription.

use doorbell_protocol::id::ReceiptSubscriptionId;
use doorbell_protocol::receipt::Outcome;
use doorbell_store::{Limits, ReceiptPosition, StoreError};

use crate::bed::*;

/// With a message to each agent, whose receipts are in different cells.
async fn with_both(limits: Limits) -> Bed {
    let bed = Bed::cells(limits).populate_with_receipts().await;
    bed.store.append(with_receipt(news(101))).await.unwrap();
    bed.store.append(with_receipt(to_bob(102))).await.unwrap();
    bed
}

#[tokio::test]
async fn the_receipts_of_all_cells_are_one_stream_that_continues_after_each_position() {
    let bed = with_both(Limits::default()).await;
    let ended = bed.store.erase(id(102), BOB, DELIVERED, minutes(1)).await.unwrap();
    assert_eq!(ended.receipt, Some(RECEIPTS), "the commit that ends a message writes its receipt, in its own cell");
    bed.store.erase(id(101), ALICE, DELIVERED, minutes(2)).await.unwrap();
    bed.store.append(with_receipt(to_bob(103))).await.unwrap();
    bed.store.erase(id(103), BOB, Outcome::Refused, minutes(3)).await.unwrap();

    let mut position = ReceiptPosition::default();
    for (message, cell) in [(102, 1), (101, 0), (103, 1)] {
        let page = bed.store.receipts(RECEIPTS, position.clone(), 1).await.unwrap();
        let [receipt] = &page.receipts[..] else { panic!("{page:?}") };
        assert_eq!((receipt.message, receipt.cell, page.more), (id(message), cell, message != 103));
        position.pass(receipt);
        let text = position.to_string();
        assert_eq!(text.parse(), Ok(position.clone()), "as an application server returns it");
    }
    assert!(bed.store.receipts(RECEIPTS, position.clone(), 1).await.unwrap().receipts.is_empty());

    let first = bed.store.receipts(RECEIPTS, 0, 1).await.unwrap().receipts[0];
    let mut up_to_first = ReceiptPosition::default();
    up_to_first.pass(&first);
    assert!(bed.store.take_receipts(RECEIPTS, up_to_first, NOON).await.unwrap().existed);
    assert_eq!(
        bed.receipts(RECEIPTS).await,
        [(101, DELIVERED), (103, Outcome::Refused)],
        "the other cell keeps its own"
    );
    assert!(bed.store.take_receipts(RECEIPTS, position, NOON).await.unwrap().existed);
    assert_eq!(bed.receipts(RECEIPTS).await, []);
    assert_eq!(bed.store.figures().contents.ended.of(DELIVERED), 2, "of both cells together");
}

#[tokio::test]
async fn a_receipt_subscription_is_removed_in_all_cells_and_joins_none_afterwards() {
    let bed = with_both(Limits::default()).await;
    assert!(bed.store.delete_receipt_subscription(RECEIPTS).await.unwrap().existed);
    for message in [with_receipt(news(201)), with_receipt(to_bob(202))] {
        assert_eq!(bed.store.append(message).await, Err(StoreError::NoReceiptSubscription));
    }
    let join = || bed.store.join_receipts(BOB, RECEIPTS, NOON).unwrap();
    assert_eq!(join().await, Err(StoreError::NoReceiptSubscription));
    assert_eq!(bed.store.figures().contents.receipt_subscriptions, 2, "the other one and its row in the other cell");
    assert_eq!(bed.store.erase(id(102), BOB, DELIVERED, NOON).await.unwrap().receipt, None);
    assert!(!bed.store.delete_receipt_subscription(RECEIPTS).await.unwrap().existed);
}

#[tokio::test]
async fn a_removal_and_a_message_at_the_same_time_leave_no_row_behind() {
    let bed = Bed::cells(Limits::default()).populate().await;
    for n in 0..200 {
        let id = ReceiptSubscriptionId::from_raw(5_000 + n);
        if bed.store.is_home(BOB, id) {
            continue;
        }
        bed.store.create_receipt_subscription(id, NOON).await.unwrap();
        let joined = bed.store.join_receipts(BOB, id, NOON).unwrap();
        let removed = bed.store.delete_receipt_subscription(id);
        let (joined, removed) = (joined.await, removed.await);
        assert!(matches!(joined, Ok(()) | Err(StoreError::NoReceiptSubscription)), "{joined:?}");
        assert!(removed.unwrap().existed);
    }
    assert_eq!(bed.store.figures().contents.receipt_subscriptions, 0);
}

#[tokio::test]
async fn a_receipt_subscription_that_joined_is_none_of_the_unused_and_goes_with_its_home() {
    let limits = Limits { unused_receipt_subscriptions_max: 2, ..Limits::default() };
    let bed = with_both(limits).await;
    let contents = bed.store.figures().contents;
    assert_eq!((contents.receipt_subscriptions, contents.unused_receipt_subscriptions), (4, 2));
    let bounds = doorbell_store::UnusedBounds {
        now: minutes(10),
        empty_agents_before: NOON,
        unused_agents_before: NOON,
        unused_receipt_subscriptions_before: minutes(5),
        max: 32,
    };
    let removed = bed.store.expire_unused(bounds).await.unwrap();
    assert_eq!(removed.receipt_subscriptions, [RECEIPTS, OTHER_RECEIPTS]);
    // The other cell's removals are queued behind this.
    bed.store.touch(BOB, minutes(11)).await.unwrap();
    assert_eq!(bed.store.figures().contents.receipt_subscriptions, 0);
    assert_eq!(bed.store.append(with_receipt(to_bob(103))).await, Err(StoreError::NoReceiptSubscription));
}
