//! The group-commit front: what shares a commit, what is refused, and how a store ends.

mod puppet;

use std::time::Duration;

use bytes::Bytes;
use doorbell_store::{Appended, BATCH_WRITES, Limits, NewMessage, REMOVAL_COST_BYTES, Store, StoreError};

use crate::bed::*;
pub(crate) use puppet::{Order, Puppeteer};

const KEPT: Result<Appended, StoreError> = Ok(Appended { replaced: None, receipts: Vec::new() });

/// A populated store whose engine is in a commit: the next operations have to wait.
async fn busy(limits: Limits) -> (Store, Puppeteer) {
    let (store, puppeteer) = Puppeteer::start(limits);
    puppeteer.let_through(populate(&store)).await;
    drop(store.append(news(100)));
    puppeteer.next_batch();
    (store, puppeteer)
}

#[tokio::test]
async fn what_waits_shares_one_commit() {
    let (store, puppeteer) = busy(Limits::default()).await;
    let answers: Vec<_> = (101..164).map(|raw| store.append(news(raw))).collect();
    puppeteer.order(Order::Commit);
    assert_eq!(puppeteer.next_batch().len(), 63);
    puppeteer.order(Order::Commit);
    for answer in answers {
        assert_eq!(answer.await, KEPT);
    }
}

#[tokio::test]
async fn the_figures_show_what_waits_and_what_each_commit_had() {
    let (store, puppeteer) = busy(Limits::default()).await;
    let before = store.figures();
    let answers: Vec<_> = (101..164).map(|raw| store.append(news(raw))).collect();
    assert_eq!(store.figures().queued_writes, 63);
    puppeteer.order(Order::Commit);
    puppeteer.next_batch();
    puppeteer.order(Order::Commit);
    for answer in answers {
        assert_eq!(answer.await, KEPT);
    }
    let after = store.figures();
    let (old, new) = (before.commits.batch_writes, after.commits.batch_writes);
    assert_eq!((new.count - old.count, new.sum - old.sum), (2, 64));
    let bucket = BATCH_WRITES.iter().position(|bound| *bound == 64).unwrap();
    assert_eq!(new.buckets[bucket] - old.buckets[bucket], 1, "the batch of 63");
    assert_eq!(after.commits.duration_micros.count, new.count, "each commit is timed");
    assert_eq!((after.queued_writes, after.commits.rolled_back), (0, 0));
}

#[tokio::test]
async fn a_commit_carries_a_bounded_number_of_writes_and_bytes() {
    let limits = Limits { batch_writes_max: 3, batch_bytes_max: 10_000, ..Limits::default() };
    let (store, puppeteer) = busy(limits).await;
    let big = |raw| NewMessage { body: Bytes::from(vec![0; 9_000]), ..news(raw) };
    let _ = [news(101), news(102), news(103), news(104), big(105), big(106)].map(|message| store.append(message));
    puppeteer.order(Order::Commit);
    for expected in [3, 2, 1] {
        assert_eq!(puppeteer.next_batch().len(), expected);
        puppeteer.order(Order::Commit);
    }
}

#[tokio::test]
async fn few_removals_share_a_commit_because_each_may_delete_much() {
    let limits = Limits::default();
    let (store, puppeteer) = busy(limits).await;
    for _ in 0..100 {
        drop(store.delete_agent(BOB, NOON));
    }
    puppeteer.order(Order::Commit);
    assert_eq!(puppeteer.next_batch().len(), limits.batch_bytes_max / REMOVAL_COST_BYTES);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_again_later() {
    let (store, puppeteer) = busy(Limits { queued_writes_max: 2, ..Limits::default() }).await;
    let waiting = [store.append(news(101)), store.append(news(102))];
    assert_eq!(store.append(news(103)).await, Err(StoreError::Overloaded));
    puppeteer.order(Order::Commit);
    puppeteer.order(Order::Commit);
    for answer in waiting {
        assert_eq!(answer.await, KEPT);
    }
    let later = store.append(news(103));
    puppeteer.order(Order::Commit);
    assert_eq!(later.await, KEPT);
}

#[tokio::test]
async fn bytes_fill_the_queue_too() {
    let (store, _puppeteer) = busy(Limits { queued_bytes_max: 10_000, ..Limits::default() }).await;
    let big = |raw| NewMessage { body: Bytes::from(vec![0; 9_000]), ..news(raw) };
    let _waits = store.append(big(101));
    assert_eq!(store.append(big(102)).await, Err(StoreError::Overloaded));
}

#[tokio::test]
async fn too_many_waiting_reads_are_refused_at_once() {
    let (store, puppeteer) = Puppeteer::start(Limits { queued_reads_max: 2, readers: 1, ..Limits::default() });
    let under_way = store.agent_exists(ALICE);
    puppeteer.next_read();
    let waiting = [store.agent_exists(ALICE), store.agent_exists(ALICE)];
    assert_eq!(store.agent_exists(ALICE).await, Err(StoreError::Overloaded));
    puppeteer.release_reads(3);
    assert_eq!(under_way.await, Ok(false));
    for answer in waiting {
        assert_eq!(answer.await, Ok(false));
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_dropped_is_done_nevertheless() {
    let bed = Bed::memory(Limits::default()).populate().await;
    drop(bed.store.append(news(101)));
    bed.store.append(news(102)).await.unwrap();
    assert_eq!(bed.waiting(ALICE, NOON).await, [101, 102]);
}

#[tokio::test]
async fn dropping_the_last_handle_commits_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Limits::default());
    populate(&store).await;
    let answers: Vec<_> = (101..601).map(|raw| store.append(news(raw))).collect();
    drop(store);
    for answer in answers {
        assert_eq!(answer.await, KEPT);
    }
    let store = open(dir.path(), Limits::default());
    assert_eq!(waiting(&store, ALICE, NOON).await, (101..601).collect::<Vec<_>>());
}

#[tokio::test]
async fn closing_commits_what_is_queued_and_refuses_the_rest_from_every_handle() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Limits::default());
    populate(&store).await;
    let other_handle = store.clone();
    let _unawaited: Vec<_> = (101..601).map(|raw| store.append(news(raw))).collect();
    assert_eq!(store.close().await, Ok(()));
    assert_eq!(other_handle.append(news(900)).await, Err(StoreError::Unavailable));
    assert_eq!(other_handle.agent_exists(ALICE).await, Err(StoreError::Unavailable));
    assert_eq!(other_handle.close().await, Ok(()), "closing twice is no error");

    let reopened = open(dir.path(), Limits::default());
    assert_eq!(waiting(&reopened, ALICE, NOON).await, (101..601).collect::<Vec<_>>());
}

#[tokio::test]
async fn deferred_writes_share_the_next_commit_or_have_their_own_after_a_while() {
    let deferring = Limits { deferral_max: Duration::from_secs(86_400), deferred_writes_max: 3, ..Limits::default() };
    let (store, puppeteer) = Puppeteer::start(deferring);
    puppeteer.let_through(populate(&store)).await;
    let erased = store.erase_deferred(id(101), ALICE, DELIVERED, NOON);
    let touched = store.touch(ALICE, NOON);
    let appended = store.append(news(102));
    assert_eq!(puppeteer.next_batch().len(), 3, "the append takes the others along");
    puppeteer.order(Order::Commit);
    appended.await.unwrap();
    assert!(erased.await.is_ok() && touched.await.is_ok());

    let enough: Vec<_> = (0..3).map(|_| store.touch(ALICE, NOON)).collect();
    assert_eq!(puppeteer.next_batch().len(), 3, "so many get a commit of their own");
    puppeteer.order(Order::Commit);
    for touch in enough {
        touch.await.unwrap();
    }

    let (store, puppeteer) = Puppeteer::start(Limits { deferral_max: Duration::from_millis(1), ..deferring });
    puppeteer.let_through(populate(&store)).await;
    let alone = store.touch(ALICE, NOON);
    assert_eq!(puppeteer.next_batch().len(), 1);
    puppeteer.order(Order::Commit);
    alone.await.unwrap();
}
