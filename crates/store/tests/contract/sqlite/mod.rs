//! What only the engine on SQLite guarantees: it continues after a restart, for one process at a time, on any disk.

mod damage;
mod disk;
mod receipts;

use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use doorbell_store::{ClockReading, ClockRecord, Limits, MESSAGE_OVERHEAD_BYTES, NewMessage, Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::bed::*;

async fn populated(limits: Limits) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), limits);
    populate(&store).await;
    (dir, store)
}

async fn reopen(dir: &TempDir, store: Store, limits: Limits) -> Store {
    store.close().await.unwrap();
    open(dir.path(), limits)
}

fn big(raw: i64) -> NewMessage {
    NewMessage { body: Bytes::from(vec![7; 4096]), ..news(raw) }
}

#[tokio::test]
async fn a_restart_finds_everything_as_it_was() {
    let (dir, store) = populated(Limits::default()).await;
    let sent = NewMessage { topic: topic("t"), urgency: Urgency::High, headers: vec![1, 2], ..big(101) };
    store.append(sent.clone()).await.unwrap();
    let before = (store.pending(ALICE, None, 10, NOON).await, store.messages(ALICE, vec![id(101)], NOON).await);
    let store = reopen(&dir, store, Limits::default()).await;
    let after = (store.pending(ALICE, None, 10, NOON).await, store.messages(ALICE, vec![id(101)], NOON).await);
    assert_eq!(before, after);
    assert_eq!(store.subscriptions_of(ALICE).await.unwrap().len(), 2);
    let successor = store.append(NewMessage { id: id(102), ..sent }).await.unwrap();
    assert_eq!(successor.replaced, Some(id(101)));
}

#[tokio::test]
async fn quota_is_right_after_a_restart() {
    let limits = Limits { messages_per_agent_max: 3, ..Limits::default() };
    let (dir, store) = populated(limits).await;
    for raw in [101, 102, 103] {
        store.append(NewMessage { expires_at: minutes(raw - 100), ..news(raw) }).await.unwrap();
    }
    let store = reopen(&dir, store, limits).await;
    assert_eq!(store.append(news(104)).await, Err(StoreError::QuotaExceeded { messages: 3, bytes: 3 }));
    store.erase(id(103), ALICE, DELIVERED, NOON).await.unwrap();
    store.append(news(104)).await.unwrap();
    let store = reopen(&dir, store, limits).await;
    store.append(NewMessage { now: minutes(2), ..news(105) }).await.unwrap();
    assert_eq!(waiting(&store, ALICE, NOON).await, [104, 105], "both that had expired made room");
}

#[tokio::test]
async fn the_bounds_of_the_whole_store_are_right_after_a_restart() {
    let limits = Limits {
        agents_max: 3,
        unused_agents_max: 2,
        subscriptions_max: 4,
        bytes_max: 2 * (MESSAGE_OVERHEAD_BYTES + 1),
        receipt_subscriptions_max: 2,
        ..Limits::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), limits);
    populate(&store).await;
    populate_with_receipts(&store).await;
    store.append(news(101)).await.unwrap();
    store.append(to_bob(102)).await.unwrap();
    store.erase(id(101), ALICE, DELIVERED, NOON).await.unwrap();
    let store = reopen(&dir, store, limits).await;
    let full = Err(StoreError::StoreFull);
    store.append(news(103)).await.unwrap();
    assert_eq!(store.append(news(104)).await, Err(StoreError::StoreFull));
    store.create_agent(AgentId::from_raw(50), NOON).await.unwrap();
    assert_eq!(store.create_agent(AgentId::from_raw(51), NOON).await, full);
    store.create_subscription(subscription(SubscriptionId::from_raw(60), BOB)).await.unwrap();
    assert_eq!(store.create_subscription(subscription(SubscriptionId::from_raw(70), BOB)).await, full);
    assert_eq!(store.create_receipt_subscription(ReceiptSubscriptionId::from_raw(80), NOON).await, full);
}

#[tokio::test]
async fn below_the_floor_no_receipt_is_promised_and_promised_ones_are_added() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Limits::default());
    populate(&store).await;
    populate_with_receipts(&store).await;
    assert_eq!(store.receipt_room(), Ok(()));
    let limits = Limits { disk_floor_bytes: 1 << 60, ..Limits::default() };
    let store = reopen(&dir, store, limits).await;
    assert_eq!(store.receipt_room(), Err(StoreError::NoRoom));
    store.add_receipt(RECEIPTS, id(101), BOB, DELIVERED, NOON).await.unwrap();
    assert_eq!(store.append(to_bob(102)).await, Err(StoreError::NoRoom));
    let store = reopen(&dir, store, Limits::default()).await;
    assert_eq!(receipts(&store, RECEIPTS).await.len(), 1);
}

#[tokio::test]
async fn the_clock_is_kept_and_a_new_store_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Limits::default());
    assert_eq!(store.clock(), &ClockRecord::default());
    let (boot, boot_id) = (Duration::from_millis(1_500), None);
    let last = ClockReading { time: minutes(1), wall: minutes(-90), newest_wall: minutes(2), boot, boot_id };
    let record = ClockRecord { served: Some(minutes(3)), last: Some(last) };
    store.note_clock(record.clone()).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(open(dir.path(), Limits::default()).clock(), &record);
}

#[tokio::test]
async fn the_mint_continues_after_the_greatest_id_even_if_its_row_is_gone() {
    let (dir, store) = populated(Limits::default()).await;
    store.append(news(900)).await.unwrap();
    store.append(news(500)).await.unwrap();
    store.erase(id(900), ALICE, DELIVERED, NOON).await.unwrap();
    let store = reopen(&dir, store, Limits::default()).await;
    assert_eq!(store.greatest_id(), 900);
    store.delete_agent(ALICE, NOON).await.unwrap();
    let store = reopen(&dir, store, Limits::default()).await;
    assert_eq!(store.greatest_id(), 900);
}

#[tokio::test]
async fn a_full_database_refuses_what_needs_room_and_continues_once_there_is_room_again() {
    let limits = Limits { database_bytes_max: Some(1 << 20), ..Limits::default() };
    let (dir, store) = populated(limits).await;
    let mut kept = Vec::new();
    let refusal = loop {
        let raw = 101 + i64::try_from(kept.len()).unwrap();
        match store.append(big(raw)).await {
            Ok(_) => kept.push(raw),
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, StoreError::NoRoom);
    assert!(kept.len() > 100, "a MiB holds more than {} messages of 4 KiB", kept.len());
    assert_eq!(waiting(&store, ALICE, NOON).await, kept, "the stored messages are still there, the refused one is not");

    for raw in kept.drain(..20) {
        store.erase(id(raw), ALICE, DELIVERED, NOON).await.unwrap();
    }
    store.append(big(900)).await.unwrap();
    kept.push(900);
    let store = reopen(&dir, store, limits).await;
    assert_eq!(waiting(&store, ALICE, NOON).await, kept);
}

#[tokio::test]
async fn a_full_database_can_still_be_swept_under_a_load_of_appends() {
    let limits = Limits { database_bytes_max: Some(1 << 20), batch_writes_max: 64, ..Limits::default() };
    let (_dir, store) = populated(limits).await;
    let fill: Vec<_> = (101..601).map(|raw| store.append(big(raw))).collect();
    let swept = store.sweep(minutes(120), 1_000);
    let more: Vec<_> = (601..651).map(|raw| store.append(big(raw))).collect();
    let mut refused = 0;
    for answer in fill {
        refused += usize::from(answer.await == Err(StoreError::NoRoom));
    }
    assert!(refused > 0);
    assert!(swept.await.unwrap().removed > 0);
    drop(more);
    store.append(big(900)).await.unwrap();
}

#[tokio::test]
async fn sweeps_return_the_room_of_deleted_messages_to_the_disk() {
    let limits = Limits { messages_per_agent_max: 10_000, bytes_per_agent_max: 1 << 30, ..Limits::default() };
    let (dir, store) = populated(limits).await;
    let writes: Vec<_> = (1_000..7_000).map(|raw| store.append(big(raw))).collect();
    for write in writes {
        write.await.unwrap();
    }
    let pages = || -> i64 {
        let conn = Connection::open(dir.path().join("doorbell.db")).unwrap();
        conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    };
    let full = pages();
    while store.sweep(minutes(120), 1_000).await.unwrap().more {}
    for _ in 0..20 {
        store.sweep(minutes(120), 1_000).await.unwrap();
    }
    assert!(full > 6_000 && pages() < 4_200, "{full} pages, and then {}: 16 MiB may stay free", pages());
}

#[tokio::test]
async fn the_log_is_moved_into_the_database_again_and_again() {
    let (dir, store) = populated(Limits::default()).await;
    for round in 0..200 {
        let writes: Vec<_> = (0..20).map(|n| store.append(big(1_000 + round * 20 + n))).collect();
        let erased: Vec<_> = (0..20).map(|n| store.erase(id(1_000 + round * 20 + n), ALICE, DELIVERED, NOON)).collect();
        for write in writes {
            write.await.unwrap();
        }
        for erase in erased {
            erase.await.unwrap();
        }
    }
    let log = dir.path().join("doorbell.db-wal").metadata().unwrap().len();
    assert!(log < 16 << 20, "the log has grown to {log} bytes");
}

#[tokio::test]
async fn commits_wait_for_fsync_and_the_log_is_checkpointed_by_the_engine_itself() {
    let (dir, store) = populated(Limits::default()).await;
    store.close().await.unwrap();
    assert!(!dir.path().join("doorbell.db-wal").exists(), "an orderly end leaves one file behind");
    let conn = Connection::open(dir.path().join("doorbell.db")).unwrap();
    let text = |name| conn.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(number("auto_vacuum"), 2, "incremental");
    assert_eq!(number("application_id"), 0x446f_6f72);
    assert_eq!(text("integrity_check"), "ok");
}

#[tokio::test]
async fn a_read_sees_every_write_that_was_answered_before() {
    let (_dir, store) = populated(Limits { readers: 4, ..Limits::default() }).await;
    for raw in 101..301 {
        store.append(news(raw)).await.unwrap();
        assert!(stored(&store.messages(ALICE, vec![id(raw)], NOON).await.unwrap()[0]).is_some());
        store.erase(id(raw), ALICE, DELIVERED, NOON).await.unwrap();
        assert!(waiting(&store, ALICE, UnixMs::from_millis(0)).await.is_empty());
    }
}

#[tokio::test]
async fn only_this_user_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("made/by/the/store");
    let store = open(&dir, Limits::default());
    populate(&store).await;
    let mode = |name: &str| dir.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    for file in ["doorbell.db", "doorbell.db-wal", "doorbell.db-shm", "doorbell.lock"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}
