//! Damaged rows: a row with an invalid value hides no other row, and is reported where the caller can settle it.

use std::io;
use std::sync::{Arc, Mutex};

use doorbell_protocol::id::{AgentId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_store::{
    Engine, Erased, Limits, Lookup, NewMessage, Receipt, SqliteEngine, Store, StoreError, Subscription, Swept, Write,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::populated;
use crate::bed::*;

const ALICE_THIRD: SubscriptionId = SubscriptionId::from_raw(13);

/// Runs statements on the database of a store that is closed, and opens it again.
async fn damage(dir: &TempDir, store: Store, sql: &str) -> Store {
    store.close().await.unwrap();
    drop(store);
    Connection::open(dir.path().join("doorbell.db")).unwrap().execute_batch(sql).unwrap();
    open(dir.path(), Limits::default())
}

async fn pending(store: &Store, max: u32) -> (Vec<i64>, Vec<i64>, bool) {
    let page = store.pending(ALICE, None, max, NOON).await.unwrap();
    let entries = page.entries.iter().map(|entry| entry.id.raw()).collect();
    (entries, page.damaged.iter().map(|id| id.raw()).collect(), page.more)
}

#[tokio::test]
async fn a_damaged_message_is_reported_and_the_others_of_its_agent_are_read() {
    for damaged in ["urgency = 4", "urgency = -1", "size = -1", "size = 4294967296"] {
        let (dir, store) = populated(Limits::default()).await;
        for raw in 101..105 {
            store.append(news(raw)).await.unwrap();
        }
        let store = damage(&dir, store, &format!("UPDATE message SET {damaged} WHERE id IN (101, 103)")).await;
        assert_eq!(pending(&store, 10).await, (vec![102, 104], vec![101, 103], false), "{damaged}");
        assert_eq!(pending(&store, 1).await, (vec![102], vec![101], true), "a page that has more is full: {damaged}");
    }
}

#[tokio::test]
async fn a_page_of_damaged_messages_only_does_not_hide_those_after_it() {
    let (dir, store) = populated(Limits::default()).await;
    for raw in 101..110 {
        store.append(news(raw)).await.unwrap();
    }
    let store = damage(&dir, store, "UPDATE message SET urgency = 9 WHERE id < 108").await;
    assert_eq!(pending(&store, 2).await, (vec![108, 109], vec![101, 102], false));
    assert_eq!(pending(&store, 1).await, (vec![108], vec![101], true));
}

#[tokio::test]
async fn a_damaged_message_is_looked_up_as_damaged_and_can_be_dropped_with_its_receipt() {
    let (dir, store) = populated(Limits::default()).await;
    populate_with_receipts(&store).await;
    for raw in [101, 102] {
        store.append(with_receipt(news(raw))).await.unwrap();
    }
    let store = damage(&dir, store, "UPDATE message SET urgency = 4, size = -5 WHERE id = 101").await;
    let found = store.messages(ALICE, vec![id(100), id(101), id(102)], NOON).await.unwrap();
    assert!(matches!(&found[..], [Lookup::Absent, Lookup::Damaged, Lookup::Stored(_)]), "{found:?}");

    let dropped = store.erase(id(101), ALICE, Outcome::Dropped, NOON).await;
    assert_eq!(dropped, Ok(Erased { existed: true, receipt: Some(RECEIPTS) }));
    assert_eq!(pending(&store, 10).await, (vec![102], vec![], false));
    assert_eq!(receipts(&store, RECEIPTS).await.len(), 1);
}

#[tokio::test]
async fn a_damaged_size_counts_for_nothing_and_stops_no_write() {
    let (dir, store) = populated(Limits::default()).await;
    for raw in [101, 102, 103] {
        store.append(NewMessage { topic: topic(&raw.to_string()), expires_at: minutes(1), ..news(raw) }).await.unwrap();
    }
    let sizes = "UPDATE message SET size = 9000000000000000000 WHERE id IN (101, 102); \
        UPDATE message SET size = -7 WHERE id = 103;";
    let store = damage(&dir, store, sizes).await;
    store.append(news(104)).await.unwrap();
    let replaced = store.append(NewMessage { topic: topic("101"), ..news(105) }).await.unwrap().replaced;
    assert_eq!(replaced, Some(id(101)));
    let erased = store.erase(id(102), ALICE, DELIVERED, NOON).await.unwrap();
    assert!(erased.existed);
    assert_eq!(store.sweep(minutes(30), 10).await, Ok(Swept { removed: 1, ..Swept::default() }));
    assert_eq!(waiting(&store, ALICE, NOON).await, [104, 105]);
}

#[tokio::test]
async fn a_damaged_subscription_is_an_error_alone_and_is_left_out_of_a_list() {
    for damaged in ["channel = CAST(x'ff' AS TEXT)", "vapid_key = x'04', channel = CAST(x'ff' AS TEXT)"] {
        let (dir, store) = populated(Limits::default()).await;
        let restricted = Subscription { vapid_key: Some(vec![4; 65]), ..subscription(ALICE_THIRD, ALICE) };
        store.create_subscription(restricted).await.unwrap();
        let store = damage(&dir, store, &format!("UPDATE subscription SET {damaged} WHERE id = 13")).await;
        assert_eq!(store.subscription(ALICE, ALICE_THIRD).await, Err(StoreError::Damaged), "{damaged}");
        let others = vec![subscription(ALICE_NEWS, ALICE), subscription(ALICE_CHAT, ALICE)];
        assert_eq!(store.subscriptions_of(ALICE).await, Ok(others), "{damaged}");
        assert!(store.delete_subscription(ALICE, ALICE_THIRD, NOON, NOON).await.unwrap().existed, "{damaged}");
    }
}

/// The caller reads the key, so that the rest of the subscription stays usable; it never reads "unrestricted".
#[tokio::test]
async fn a_key_of_another_length_is_returned_as_it_is_stored() {
    for length in [0, 1, 64, 66] {
        let (dir, store) = populated(Limits::default()).await;
        let channel = || "d9b74644-4f97-46aa-b8fa-9393985cd6cd".to_owned();
        let named = Subscription { channel: Some(channel()), ..subscription(ALICE_THIRD, ALICE) };
        let restricted = Subscription { vapid_key: Some(vec![4; 65]), ..named.clone() };
        store.create_subscription(restricted).await.unwrap();
        let sql = format!("UPDATE subscription SET vapid_key = zeroblob({length}) WHERE id = 13");
        let store = damage(&dir, store, &sql).await;
        let damaged = Subscription { vapid_key: Some(vec![0; length]), ..named };
        assert_eq!(store.subscription(ALICE, ALICE_THIRD).await, Ok(Some(damaged.clone())));
        assert_eq!(store.subscription_of_channel(ALICE, channel()).await, Ok(Some(damaged.clone())));
        let all = vec![subscription(ALICE_NEWS, ALICE), subscription(ALICE_CHAT, ALICE), damaged];
        assert_eq!(store.subscriptions_of(ALICE).await, Ok(all));
        assert!(store.delete_subscription(ALICE, ALICE_THIRD, NOON, NOON).await.unwrap().existed);
    }
}

#[tokio::test]
async fn a_damaged_receipt_is_left_out_and_goes_with_those_that_are_taken() {
    let (dir, store) = populated(Limits::default()).await;
    populate_with_receipts(&store).await;
    for raw in [101, 102, 103] {
        store.add_receipt(RECEIPTS, id(raw), ALICE, DELIVERED, NOON).await.unwrap();
    }
    let store = damage(&dir, store, "UPDATE receipt SET outcome = 7 * seq WHERE seq < 3").await;
    let page = store.receipts(RECEIPTS, 0, 1).await.unwrap();
    let third = Receipt { seq: 3, cell: 0, message: id(103), agent: ALICE, outcome: DELIVERED, at: NOON };
    assert_eq!((page.receipts, page.more), (vec![third], false));
    store.take_receipts(RECEIPTS, 3, NOON).await.unwrap();
    store.close().await.unwrap();
    let conn = Connection::open(dir.path().join("doorbell.db")).unwrap();
    let rows: i64 = conn.query_row("SELECT count(*) FROM receipt", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

/// Invariant 8: an id is half of a URL.
#[test]
fn the_log_names_the_column_and_neither_the_row_nor_what_it_holds_ps_8030_8_5_1() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = SqliteEngine::open(dir.path(), Limits::default()).unwrap();
    let (secret, channel) = (700_001, "wp:https://private.example");
    let subscribed = Subscription {
        channel: Some(channel.to_owned()),
        ..subscription(SubscriptionId::from_raw(secret), AgentId::from_raw(secret))
    };
    let made = [
        Write::CreateAgent { id: AgentId::from_raw(secret), served: NOON },
        Write::CreateSubscription(subscribed.clone()),
        Write::Append(NewMessage { agent: subscribed.agent, subscription: subscribed.id, ..news(secret) }),
    ];
    assert!(engine.commit(&made).unwrap().iter().all(Result::is_ok));
    let rows = "UPDATE subscription SET channel = channel || '700001' || CAST(x'ff' AS TEXT); \
        UPDATE message SET urgency = 700001;";
    Connection::open(dir.path().join("doorbell.db")).unwrap().execute_batch(rows).unwrap();

    let log = Log::default();
    let writer = log.clone();
    let collect = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let error = tracing::subscriber::with_default(collect, || {
        let mut reader = engine.reader().unwrap();
        assert_eq!(reader.pending(subscribed.agent, None, 10, NOON).unwrap().damaged, [id(secret)]);
        assert_eq!(reader.messages(&[id(secret)], NOON), Ok(vec![Lookup::Damaged]));
        drop((reader, engine));
        // An engine logs damage once a minute, whatever the column.
        let engine = SqliteEngine::open(dir.path(), Limits::default()).unwrap();
        let mut reader = engine.reader().unwrap();
        assert_eq!(reader.subscriptions_of(subscribed.agent), Ok(vec![]));
        reader.subscription(subscribed.id).unwrap_err()
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for column in ["column=\"urgency\"", "column=\"channel\""] {
        assert!(text.contains(column), "{text}");
    }
    assert_eq!(error.to_string(), "a row of the table subscription holds no valid channel", "the front logs this text");
    for secret in ["700001", channel] {
        assert!(!text.contains(secret) && !error.to_string().contains(secret), "{text}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
