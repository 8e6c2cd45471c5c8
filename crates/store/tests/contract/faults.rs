//! Faults: a commit that fails never answers `Ok`, and after one of unknown outcome the store stops.

use std::future::Future;
use std::time::Duration;

use doorbell_store::{Appended, Damage, Erased, Limits, ReadError, Store, StoreError};
use tokio::time::timeout;

use crate::bed::*;
use crate::front::{Order, Puppeteer};

const KEPT: Result<Appended, StoreError> = Ok(Appended { replaced: None, receipts: Vec::new() });

async fn populated() -> (Store, Puppeteer) {
    let (store, puppeteer) = Puppeteer::start(Limits::default());
    puppeteer.let_through(populate(&store)).await;
    (store, puppeteer)
}

/// Awaits what must come soon, or fails instead of hanging.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("this should have come by now")
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_answers_unknown_to_all_and_stops_the_store() {
    for lost in [Order::LoseAnswer, Order::LoseBatch] {
        let (store, puppeteer) = populated().await;
        let first = store.append(news(101));
        puppeteer.next_batch();
        let batch: Vec<_> = (102..110).map(|raw| store.append(news(raw))).collect();
        puppeteer.order(Order::Commit);
        assert_eq!(soon(first).await, KEPT);
        puppeteer.next_batch();
        let behind = store.append(news(200));
        puppeteer.order(lost);

        for answer in batch {
            assert_eq!(soon(answer).await, Err(StoreError::Unknown));
        }
        assert_eq!(soon(store.append(news(201))).await, Err(StoreError::Unavailable), "it accepts no writes any more");
        assert_eq!(soon(behind).await, Err(StoreError::Unavailable), "it was not started");
        assert_eq!(soon(store.failed()).await.to_string(), "the store has stopped: fsync failed");
        assert!(soon(store.close()).await.is_err());
    }
}

#[tokio::test]
async fn a_batch_that_was_rolled_back_is_unavailable_and_later_ones_succeed() {
    let (store, puppeteer) = populated().await;
    let refused = store.append(news(101));
    puppeteer.next_batch();
    puppeteer.order(Order::RollBack);
    assert_eq!(soon(refused).await, Err(StoreError::Unavailable));

    let later = store.append(news(101));
    puppeteer.next_batch();
    puppeteer.order(Order::Commit);
    assert_eq!(soon(later).await, KEPT);
}

#[tokio::test]
async fn a_batch_whose_outcome_is_not_known_yet_is_unknown_and_later_ones_succeed() {
    let (store, puppeteer) = populated().await;
    let unknown = store.append(news(101));
    puppeteer.next_batch();
    puppeteer.order(Order::LeaveUnsettled);
    assert_eq!(soon(unknown).await, Err(StoreError::Unknown));

    let later = store.append(news(102));
    puppeteer.next_batch();
    puppeteer.order(Order::Commit);
    assert_eq!(soon(later).await, KEPT);
}

#[tokio::test]
async fn an_engine_whose_place_another_process_has_taken_stops_the_store_and_nothing_was_done() {
    let (store, puppeteer) = populated().await;
    let under_way = store.append(news(101));
    puppeteer.next_batch();
    let behind = store.append(news(102));
    puppeteer.order(Order::End);
    assert_eq!(soon(under_way).await, Err(StoreError::Unavailable), "certainly not done");
    assert_eq!(soon(behind).await, Err(StoreError::Unavailable));
    assert_eq!(soon(store.failed()).await.to_string(), "the store has stopped: as ordered");
}

#[tokio::test]
async fn on_a_full_disk_what_frees_room_is_done_without_what_needs_room() {
    let (store, puppeteer) = populated().await;
    let first = store.append(news(101));
    puppeteer.next_batch();
    let (erased, appended, swept) =
        (store.erase(id(101), ALICE, DELIVERED, NOON), store.append(news(102)), store.sweep(NOON, 10));
    puppeteer.order(Order::Commit);
    assert_eq!(soon(first).await, KEPT);
    assert_eq!(puppeteer.next_batch().len(), 3);
    puppeteer.order(Order::RollBack);
    assert_eq!(puppeteer.next_batch().len(), 2, "repeated once without the append");
    puppeteer.order(Order::Commit);
    assert_eq!(soon(appended).await, Err(StoreError::Unavailable));
    assert_eq!(soon(erased).await, Ok(Erased { existed: true, receipt: None }));
    assert!(soon(swept).await.is_ok());
}

#[tokio::test]
async fn what_frees_room_is_done_in_parts_if_the_disk_has_no_room_for_all_of_it() {
    let (store, puppeteer) = populated().await;
    let held = store.append(news(101));
    puppeteer.next_batch();
    let appended = store.append(news(102));
    let erased: Vec<_> = (0..4).map(|_| store.erase(id(101), ALICE, DELIVERED, NOON)).collect();
    puppeteer.order(Order::Commit);
    assert_eq!(soon(held).await, KEPT);
    let orders = [
        (5, Order::FindNoRoom),
        (4, Order::FindNoRoom),
        (2, Order::Commit),
        (2, Order::FindNoRoom),
        (1, Order::Commit),
        (1, Order::FindNoRoom),
    ];
    for (writes, order) in orders {
        assert_eq!(puppeteer.next_batch().len(), writes, "{order:?}");
        puppeteer.order(order);
    }
    assert_eq!(soon(appended).await, Err(StoreError::NoRoom));
    let mut outcomes = Vec::new();
    for answer in erased {
        outcomes.push(soon(answer).await.map(|erased| erased.existed));
    }
    assert_eq!(outcomes, [Ok(true), Ok(false), Ok(false), Err(StoreError::NoRoom)]);
}

#[tokio::test]
async fn a_failed_housekeeping_stops_the_store_after_the_answers() {
    let (store, puppeteer) = populated().await;
    let committed = store.append(news(101));
    puppeteer.next_batch();
    puppeteer.order(Order::CommitThenBreak);
    assert_eq!(soon(committed).await, KEPT);
    assert_eq!(
        soon(store.failed()).await.to_string(),
        "the store has stopped: moving the log into the database failed: as ordered"
    );
    assert_eq!(soon(store.append(news(102))).await, Err(StoreError::Unavailable));
}

#[tokio::test]
async fn an_engine_that_panics_leaves_no_caller_waiting() {
    let (store, puppeteer) = populated().await;
    let under_way = store.append(news(101));
    puppeteer.next_batch();
    let behind = store.append(news(102));
    puppeteer.order(Order::Panic);
    assert_eq!(soon(under_way).await, Err(StoreError::Unknown));
    assert!(soon(behind).await.is_err());
    soon(store.failed()).await;
    assert_eq!(soon(store.append(news(103))).await, Err(StoreError::Unavailable));
}

#[tokio::test]
async fn a_read_that_fails_is_unavailable_and_the_next_one_succeeds() {
    let (store, puppeteer) = populated().await;
    puppeteer.break_a_read(ReadError::Engine("as ordered".into()));
    assert_eq!(soon(store.agent_exists(ALICE)).await, Err(StoreError::Unavailable));
    puppeteer.release_reads(1);
    assert_eq!(soon(store.agent_exists(ALICE)).await, Ok(true));
}

#[tokio::test]
async fn a_damaged_row_is_not_a_store_that_cannot_be_read_now() {
    let (store, puppeteer) = populated().await;
    puppeteer.break_a_read(Damage { table: "subscription", column: "vapid_key".into() }.into());
    assert_eq!(soon(store.subscription(ALICE, ALICE_NEWS)).await, Err(StoreError::Damaged));
}

#[tokio::test]
async fn an_engine_that_answers_with_another_kind_or_another_number_stops_the_store_and_no_write_is_ok() {
    for (order, text) in [
        (Order::AnswerAnotherKind, "its answer to write 1 is of another kind than the write"),
        (Order::AnswerTooFew, "it gave 1 answers to 2 writes"),
        (Order::AnswerTooMany, "it gave 3 answers to 2 writes"),
    ] {
        let (store, puppeteer) = populated().await;
        let first = store.append(news(101));
        puppeteer.next_batch();
        let (second, third) = (store.append(news(102)), store.append(news(103)));
        puppeteer.order(Order::Commit);
        assert_eq!(soon(first).await, KEPT);
        puppeteer.next_batch();
        let behind = store.append(news(104));
        puppeteer.order(order);

        assert_eq!(
            soon(second).await,
            Err(StoreError::Unknown),
            "{order:?}: a right answer in a batch with a wrong one"
        );
        assert_eq!(soon(third).await, Err(StoreError::Unknown), "{order:?}");
        assert_eq!(soon(behind).await, Err(StoreError::Unavailable), "{order:?}");
        let failure = soon(store.failed()).await.to_string();
        assert_eq!(failure, format!("the store has stopped: the engine has a bug: {text}"));
    }
}

#[tokio::test]
async fn a_sound_store_never_reports_a_failure() {
    let bed = Bed::memory(Limits::default()).populate().await;
    let failed = bed.store.failed();
    assert_eq!(soon(bed.store.close()).await, Ok(()));
    assert!(timeout(Duration::ZERO, failed).await.is_err(), "an orderly end is not a failure");
}
