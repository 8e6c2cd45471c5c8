//! Receipts on the disk: numbers and counts survive a restart, and each write deletes a bounded number.

use doorbell_protocol::receipt::Outcome;
use doorbell_store::{CommitError, Engine, Limits, NewMessage, SqliteEngine, Store, StoreError, Write, Written};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{populated, reopen};
use crate::bed::*;

async fn with_receipts(limits: Limits, count: i64) -> (TempDir, Store) {
    let (dir, store) = populated(limits).await;
    populate_with_receipts(&store).await;
    let answers: Vec<_> =
        (1..=count).map(|n| store.add_receipt(RECEIPTS, id(100 + n), BOB, Outcome::Dropped, NOON)).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    (dir, store)
}

/// All rows of a table, also those that the store hides.
fn rows(dir: &TempDir, table: &str) -> i64 {
    let conn = Connection::open(dir.path().join("doorbell.db")).unwrap();
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

async fn first_number(store: &Store) -> Option<i64> {
    store.receipts(RECEIPTS, 0, 1).await.unwrap().receipts.first().map(|receipt| receipt.seq)
}

#[tokio::test]
async fn numbers_continue_after_a_restart_even_if_all_receipts_were_taken_ps_8030_6_3_5() {
    let (dir, store) = with_receipts(Limits::default(), 3).await;
    store.append(with_receipt(news(201))).await.unwrap();
    let before = receipts(&store, RECEIPTS).await;
    let store = reopen(&dir, store, Limits::default()).await;
    assert_eq!(receipts(&store, RECEIPTS).await, before);
    store.take_receipts(RECEIPTS, 3, NOON).await.unwrap();
    let store = reopen(&dir, store, Limits::default()).await;
    store.erase(id(201), ALICE, DELIVERED, NOON).await.unwrap();
    assert_eq!(first_number(&store).await, Some(4));
    store.add_receipt(RECEIPTS, id(900), BOB, Outcome::Dropped, NOON).await.unwrap();
    let store = reopen(&dir, store, Limits::default()).await;
    assert_eq!(store.greatest_id(), 900, "the id of a message that left a receipt only");
}

#[tokio::test]
async fn a_full_receipt_subscription_is_full_after_a_restart() {
    let limits = Limits { receipts_per_subscription_max: 3, ..Limits::default() };
    let (dir, store) = with_receipts(limits, 3).await;
    let store = reopen(&dir, store, limits).await;
    assert_eq!(store.append(with_receipt(news(201))).await, Err(StoreError::ReceiptsFull));
    store.take_receipts(RECEIPTS, 1, NOON).await.unwrap();
    let store = reopen(&dir, store, limits).await;
    assert!(store.append(with_receipt(news(201))).await.is_ok());
    store.erase(id(201), ALICE, DELIVERED, NOON).await.unwrap();
    assert_eq!(
        store.append(with_receipt(news(202))).await,
        Err(StoreError::ReceiptsFull),
        "counted with the later ones"
    );
}

#[tokio::test]
async fn taking_very_many_receipts_deletes_them_in_steps_and_hides_them_at_once() {
    let limits = Limits { receipts_per_subscription_max: 2_502, ..Limits::default() };
    let (dir, store) = with_receipts(limits, 2_502).await;
    assert_eq!(store.append(with_receipt(news(9_000))).await, Err(StoreError::ReceiptsFull));
    store.take_receipts(RECEIPTS, 2_500, NOON).await.unwrap();
    assert_eq!(rows(&dir, "receipt"), 1_502, "one write deletes a thousand");
    assert_eq!(first_number(&store).await, Some(2_501));
    assert!(store.append(with_receipt(news(9_000))).await.is_ok(), "taken receipts do not count");

    let store = reopen(&dir, store, limits).await;
    assert_eq!(first_number(&store).await, Some(2_501), "nor does it come back");
    let left: Vec<_> = [false, false, true].iter().map(|_| store.sweep(NOON, 1_000)).collect();
    let mut more = Vec::new();
    for answer in left {
        more.push(answer.await.unwrap().more);
    }
    assert_eq!(more, [true, true, false]);
    assert_eq!((rows(&dir, "receipt"), rows(&dir, "taken")), (2, 0));
    assert_eq!(first_number(&store).await, Some(2_501));
}

#[tokio::test]
async fn taking_more_than_exists_hides_no_future_receipt() {
    let (_dir, store) = with_receipts(Limits::default(), 1_001).await;
    store.take_receipts(RECEIPTS, i64::MAX, NOON).await.unwrap();
    assert_eq!(first_number(&store).await, None);
    store.add_receipt(RECEIPTS, id(9_000), BOB, Outcome::Dropped, NOON).await.unwrap();
    assert_eq!(first_number(&store).await, Some(1_002));
    while store.sweep(NOON, 300).await.unwrap().more {}
    assert_eq!(first_number(&store).await, Some(1_002));
}

#[tokio::test]
async fn a_deleted_receipt_subscription_leaves_no_rows_behind() {
    let (dir, store) = with_receipts(Limits::default(), 1_500).await;
    store.delete_receipt_subscription(RECEIPTS).await.unwrap();
    assert_eq!(first_number(&store).await, None);
    assert_eq!(rows(&dir, "receipt"), 500);
    while store.sweep(NOON, 300).await.unwrap().more {}
    assert_eq!((rows(&dir, "receipt"), rows(&dir, "taken")), (0, 0));
}

#[tokio::test]
async fn in_a_full_database_a_message_and_its_receipt_change_together_or_not_at_all() {
    let limits = Limits { database_bytes_max: Some(1 << 20), ..Limits::default() };
    let (dir, store) = with_receipts(limits, 0).await;
    let mut kept = Vec::new();
    for raw in 101.. {
        match store.append(with_receipt(NewMessage { body: vec![7; 4096].into(), ..news(raw) })).await {
            Ok(_) => kept.push(raw),
            Err(error) => {
                assert_eq!(error, StoreError::NoRoom);
                break;
            }
        }
    }
    let mut settled = Vec::new();
    for raw in &kept {
        if store.erase(id(*raw), ALICE, DELIVERED, NOON).await.is_ok() {
            settled.push(*raw);
        }
    }
    assert!(settled.len() * 10 > kept.len() * 9, "what is settled makes room for its own receipt");
    let store = reopen(&dir, store, limits).await;
    let with_receipts: Vec<_> = receipts(&store, RECEIPTS).await.iter().map(|receipt| receipt.message.raw()).collect();
    assert_eq!(with_receipts, settled);
    kept.retain(|raw| !settled.contains(raw));
    assert_eq!(waiting(&store, ALICE, NOON).await, kept);
}

#[test]
fn a_batch_that_is_rolled_back_uses_up_no_number_and_no_count() {
    let limits = Limits { database_bytes_max: Some(1 << 20), receipts_per_subscription_max: 2, ..Limits::default() };
    let dir = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(dir.path(), limits).unwrap();
    let add = |raw| Write::AddReceipt {
        receipt_subscription: RECEIPTS,
        message: id(raw),
        agent: BOB,
        outcome: Outcome::Dropped,
        now: NOON,
    };
    let made = [
        Write::CreateReceiptSubscription { id: RECEIPTS, served: NOON },
        Write::CreateAgent { id: ALICE, served: NOON },
        Write::CreateSubscription(subscription(ALICE_NEWS, ALICE)),
        add(101),
    ];
    assert_eq!(engine.commit(&made).unwrap().len(), 4);
    let too_much = Write::Append(NewMessage { body: vec![7; 2 << 20].into(), ..news(300) });
    let refused = engine.commit(&[add(102), add(103), too_much]);
    assert!(matches!(refused, Err(CommitError::NoRoom(_))), "{refused:?}");

    let full = Err(StoreError::ReceiptsFull);
    assert_eq!(engine.commit(&[add(102), add(103)]), Ok(vec![Ok(Written::Created), full]));
    let receipts = engine.reader().unwrap().receipts(RECEIPTS, None, 10).unwrap().receipts;
    assert_eq!(receipts.iter().map(|receipt| receipt.seq).collect::<Vec<_>>(), [1, 2]);
}
