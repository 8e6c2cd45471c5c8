//! Receipt subscriptions: receipts wait in them, bounded, until they are taken (RFC 8030 s5.1).

use doorbell_protocol::receipt::Outcome;
use doorbell_store::{Erased, Limits, NewMessage, ReceiptPage, ReceiptPosition, StoreError};

use super::open;
use crate::bed::*;
use Outcome::{Dropped, Unsubscribed};

const EXISTED: Erased = Erased { existed: true, receipt: None };

/// A bed with so many receipts, numbered from 1.
async fn with_receipts(count: i64, limits: Limits) -> Bed {
    let bed = open(limits).populate_with_receipts().await;
    for n in 1..=count {
        bed.store.add_receipt(RECEIPTS, id(100 + n), ALICE, Dropped, NOON).await.unwrap();
    }
    bed
}

async fn numbers(bed: &Bed) -> Vec<i64> {
    receipts(&bed.store, RECEIPTS).await.iter().map(|receipt| receipt.seq).collect()
}

#[tokio::test]
async fn an_id_is_used_once() {
    let bed = open(Limits::default()).populate_with_receipts().await;
    assert_eq!(bed.store.create_receipt_subscription(RECEIPTS, NOON).await, Err(StoreError::IdTaken));
    assert_eq!(bed.store.receipt_subscription_exists(RECEIPTS).await, Ok(true));
}

#[tokio::test]
async fn what_was_not_created_does_not_exist() {
    let bed = open(Limits::default());
    assert_eq!(bed.store.receipt_subscription_exists(RECEIPTS).await, Ok(false));
    assert_eq!(bed.store.receipts(RECEIPTS, 0, 10).await, Ok(ReceiptPage::default()));
    assert_eq!(bed.store.take_receipts(RECEIPTS, 1, NOON).await, Ok(Erased::default()));
    assert_eq!(bed.store.delete_receipt_subscription(RECEIPTS).await, Ok(Erased::default()));
}

#[tokio::test]
async fn receipts_wait_until_they_are_taken_ps_8030_6_3_5() {
    let bed = with_receipts(5, Limits::default()).await;
    assert_eq!(numbers(&bed).await, [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&bed).await, [1, 2, 3, 4, 5], "reading takes nothing");
    assert_eq!(bed.store.take_receipts(RECEIPTS, 3, NOON).await, Ok(EXISTED));
    assert_eq!(numbers(&bed).await, [4, 5]);
    assert_eq!(bed.store.take_receipts(RECEIPTS, 3, NOON).await, Ok(EXISTED), "taking again changes nothing");
    assert_eq!(numbers(&bed).await, [4, 5]);
}

#[tokio::test]
async fn receipts_are_read_page_by_page() {
    let bed = with_receipts(5, Limits::default()).await;
    let first = bed.store.receipts(RECEIPTS, 0, 2).await.unwrap();
    assert_eq!((first.receipts.len(), first.receipts[1].seq, first.more), (2, 2, true));
    let rest = bed.store.receipts(RECEIPTS, 2, 3).await.unwrap();
    assert_eq!((rest.receipts.len(), rest.receipts[0].seq, rest.more), (3, 3, false));
}

#[tokio::test]
async fn taking_changes_no_other_receipt_subscription() {
    let bed = with_receipts(1, Limits::default()).await;
    bed.store.add_receipt(OTHER_RECEIPTS, id(201), BOB, Dropped, NOON).await.unwrap();
    bed.store.take_receipts(RECEIPTS, 2, NOON).await.unwrap();
    assert_eq!(bed.receipts(OTHER_RECEIPTS).await, [(201, Dropped)]);
}

#[tokio::test]
async fn taking_up_to_a_future_number_removes_no_later_receipt() {
    let bed = with_receipts(2, Limits::default()).await;
    bed.store.take_receipts(RECEIPTS, i64::MAX, NOON).await.unwrap();
    bed.store.add_receipt(RECEIPTS, id(201), ALICE, Dropped, NOON).await.unwrap();
    assert_eq!(numbers(&bed).await, [3], "and no number is used twice");
}

#[tokio::test]
async fn a_full_receipt_subscription_refuses_new_messages_and_still_gets_the_receipts_of_old_ones_ps_8030_6_3_5() {
    let limits = Limits { receipts_per_subscription_max: 2, ..Limits::default() };
    let bed = open(limits).populate_with_receipts().await;
    for raw in 101..105 {
        bed.store.append(with_receipt(news(raw))).await.unwrap();
    }
    for raw in 101..104 {
        bed.store.erase(id(raw), ALICE, DELIVERED, NOON).await.unwrap();
    }
    assert_eq!(numbers(&bed).await, [1, 2, 3], "all were accepted with one");
    assert_eq!(bed.store.append(with_receipt(news(105))).await, Err(StoreError::ReceiptsFull));
    let refused = bed.store.add_receipt(RECEIPTS, id(106), ALICE, Dropped, NOON).await;
    assert_eq!(refused, Err(StoreError::ReceiptsFull));
    assert!(bed.store.append(news(107)).await.is_ok(), "without a receipt there is room");
    let elsewhere = NewMessage { receipt: Some(OTHER_RECEIPTS), ..news(108) };
    assert!(bed.store.append(elsewhere).await.is_ok());

    bed.store.take_receipts(RECEIPTS, 2, NOON).await.unwrap();
    assert!(bed.store.append(with_receipt(news(109))).await.is_ok());
}

#[tokio::test]
async fn a_deleted_receipt_subscription_is_gone_and_its_messages_stay_ps_8030_7_3_6() {
    let bed = with_receipts(3, Limits::default()).await;
    bed.store.append(with_receipt(news(201))).await.unwrap();
    assert_eq!(bed.store.delete_receipt_subscription(RECEIPTS).await, Ok(EXISTED));
    assert_eq!(bed.store.delete_receipt_subscription(RECEIPTS).await, Ok(Erased::default()));
    assert_eq!(bed.store.receipt_subscription_exists(RECEIPTS).await, Ok(false));
    assert_eq!(bed.store.receipts(RECEIPTS, 0, 10).await, Ok(ReceiptPage::default()));
    assert_eq!(bed.store.append(with_receipt(news(202))).await, Err(StoreError::NoReceiptSubscription));

    assert_eq!(bed.waiting(ALICE, NOON).await, [201]);
    assert_eq!(bed.store.erase(id(201), ALICE, DELIVERED, NOON).await, Ok(EXISTED), "and it has no receipt");
    assert_eq!(bed.receipts(OTHER_RECEIPTS).await, []);
}

#[tokio::test]
async fn many_messages_have_exactly_one_receipt_however_they_end_ps_8030_6_3_6() {
    let bed = open(Limits { messages_per_agent_max: 3_000, ..Limits::default() }).populate_with_receipts().await;
    let kept: Vec<_> = (101..2_101).map(|raw| bed.store.append(with_receipt(news(raw)))).collect();
    let settled: Vec<_> = (101..2_101).step_by(2).map(|raw| bed.store.erase(id(raw), ALICE, DELIVERED, NOON)).collect();
    let removed = bed.store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON);
    let late: Vec<_> = (101..2_101).map(|raw| bed.store.erase(id(raw), ALICE, DELIVERED, NOON)).collect();
    for answer in kept {
        answer.await.unwrap();
    }
    for answer in settled {
        assert_eq!(answer.await, Ok(Erased { existed: true, receipt: Some(RECEIPTS) }));
    }
    removed.await.unwrap();
    for answer in late {
        assert_eq!(answer.await, Ok(Erased::default()));
    }

    let (mut outcomes, mut after) = (Vec::new(), ReceiptPosition::default());
    loop {
        let page = bed.store.receipts(RECEIPTS, after.clone(), u32::MAX).await.unwrap();
        assert!(page.receipts.len() <= 1_000, "its own bound");
        outcomes.extend(page.receipts.iter().map(|receipt| (receipt.message.raw(), receipt.outcome)));
        page.receipts.iter().for_each(|receipt| after.pass(receipt));
        if !page.more {
            break;
        }
    }
    outcomes.sort_unstable();
    let expected = |raw| (raw, if raw % 2 == 1 { DELIVERED } else { Unsubscribed });
    assert_eq!(outcomes, (101..2_101).map(expected).collect::<Vec<_>>());
}
