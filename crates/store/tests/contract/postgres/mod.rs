//! What only the engine on PostgreSQL guarantees: it continues after a restart, one process writes at a time, a batch
//! whose answer is lost is looked up, and a database that is not fit is refused.

mod hosts;
mod ledger;
mod lost;
mod migrate;
mod outage;
mod patroni;
mod proxy;
mod refused;
pub(crate) mod server;
mod takeover;
mod transfer;

use std::time::Duration;

use doorbell_protocol::id::AgentId;
use doorbell_store::{
    ClockReading, ClockRecord, Limits, MESSAGE_OVERHEAD_BYTES, NewMessage, PostgresEngine, PostgresOptions, Store,
    StoreError,
};

use crate::bed::*;
use server::Databases;

fn opened(options: &PostgresOptions, limits: Limits) -> Store {
    Store::open_postgres(options, limits).unwrap()
}

#[tokio::test]
async fn an_engine_can_be_dropped_in_a_runtime_and_its_life_is_over() {
    let Some(server) = server::shared() else { return };
    let options = server.fresh();
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());
    assert_eq!(server.sql(server::database(&options), "SELECT state FROM node"), "2");
}

async fn reopen(options: &PostgresOptions, store: Store, limits: Limits) -> Store {
    store.close().await.unwrap();
    opened(options, limits)
}

#[tokio::test]
async fn a_restart_finds_everything_as_it_was() {
    let Some(server) = server::shared() else { return };
    let options = server.fresh();
    let limits = Limits {
        messages_per_agent_max: 3,
        agents_max: 3,
        bytes_max: 5 * (MESSAGE_OVERHEAD_BYTES + 1),
        ..Limits::default()
    };
    let store = opened(&options, limits);
    assert_eq!(store.clock(), &ClockRecord::default());
    populate(&store).await;
    populate_with_receipts(&store).await;
    store.append(NewMessage { topic: topic("t"), ..with_receipt(news(101)) }).await.unwrap();
    store.append(NewMessage { expires_at: minutes(1), ..with_receipt(news(102)) }).await.unwrap();
    store.append(chat(103)).await.unwrap();
    store.append(with_receipt(to_bob(104))).await.unwrap();
    store.erase(id(104), BOB, DELIVERED, NOON).await.unwrap();
    let (boot, boot_id) = (Duration::from_millis(1_500), Some("run".to_owned()));
    let last = ClockReading { time: minutes(1), wall: minutes(-90), newest_wall: minutes(2), boot, boot_id };
    let record = ClockRecord { served: Some(minutes(3)), last: Some(last) };
    store.note_clock(record.clone()).await.unwrap();
    let before = (store.pending(ALICE, None, 10, NOON).await, store.receipts(RECEIPTS, 0, 10).await);

    let store = reopen(&options, store, limits).await;
    assert_eq!(store.clock(), &record);
    assert_eq!(store.greatest_id(), 104, "also if its row is gone");
    assert_eq!((store.pending(ALICE, None, 10, NOON).await, store.receipts(RECEIPTS, 0, 10).await), before);
    assert_eq!(store.append(news(105)).await, Err(StoreError::QuotaExceeded { messages: 3, bytes: 3 }));
    let replaced = store.append(NewMessage { topic: topic("t"), ..news(106) }).await.unwrap();
    assert_eq!(replaced.replaced, Some(id(101)));
    let roomy = store.append(NewMessage { now: minutes(2), ..news(107) }).await.unwrap();
    assert_eq!(roomy.receipts, [RECEIPTS], "the expired one made room, and its sender gets a receipt");
    assert_eq!(receipts(&store, RECEIPTS).await.last().map(|receipt| receipt.seq), Some(2), "numbers continue");
    store.create_agent(AgentId::from_raw(50), NOON).await.unwrap();
    assert_eq!(store.create_agent(AgentId::from_raw(51), NOON).await, Err(StoreError::StoreFull));
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_room_and_takes_what_frees_some() {
    let Some(server) = server::shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits::default());
    populate(&store).await;
    store.append(news(101)).await.unwrap();
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; \
        CREATE TRIGGER no_room BEFORE INSERT ON message FOR EACH STATEMENT EXECUTE FUNCTION no_room()";
    server.sql(server::database(&options), full);
    // Alone, and in one batch with what frees room.
    assert_eq!(store.append(news(102)).await, Err(StoreError::NoRoom));
    let (refused, erased) = tokio::join!(store.append(news(103)), store.erase(id(101), ALICE, DELIVERED, NOON));
    assert_eq!((refused, erased.map(|erased| erased.existed)), (Err(StoreError::NoRoom), Ok(true)));
    assert_eq!(store.receipt_room(), Err(StoreError::NoRoom), "until something new is stored");
    server.sql(server::database(&options), "DROP FUNCTION no_room CASCADE");
    store.append(news(104)).await.unwrap();
    assert_eq!(store.receipt_room(), Ok(()));
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let Some(server) = server::shared() else { return };
    let options = server.fresh();
    let database = server::database(&options);
    opened(&options, Limits::default()).close().await.unwrap();
    // Creating the indexes has scanned the empty tables.
    let before = scans(server, database);
    let store = opened(&options, Limits::default());
    populate(&store).await;
    populate_with_receipts(&store).await;
    for raw in 101..160 {
        store.append(NewMessage { topic: topic("t"), ..with_receipt(news(raw)) }).await.unwrap();
        store.append(with_receipt(to_bob(raw + 1_000))).await.unwrap();
    }
    store.close().await.unwrap();

    let limits = Limits { messages_per_agent_max: 59, ..Limits::default() };
    let store = opened(&options, limits);
    store.append(NewMessage { now: minutes(70), expires_at: minutes(90), ..to_bob(5_000) }).await.unwrap();
    store.erase(id(159), ALICE, DELIVERED, NOON).await.unwrap();
    store.take_receipts(RECEIPTS, 2, NOON).await.unwrap();
    store.sweep(minutes(90), 1_000).await.unwrap();
    store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await.unwrap();
    let channel = doorbell_store::Subscription { channel: Some("c".into()), ..subscription(ALICE_NEWS, ALICE) };
    store.create_subscription(channel).await.unwrap();
    assert!(store.subscription_of_channel(ALICE, "c".into()).await.unwrap().is_some());
    waiting(&store, BOB, NOON).await;
    receipts(&store, RECEIPTS).await;
    store.delete_agent(BOB, NOON).await.unwrap();
    store.delete_receipt_subscription(RECEIPTS).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(scans(server, database), before);
    let used = "SELECT min(idx_scan) > 0 FROM pg_stat_user_tables WHERE relname NOT IN ('cluster', 'clock', 'node', 'transfer')";
    assert_eq!(server.sql(database, used), "t", "the sessions have counted");
}

/// How often each table was scanned. A session has counted when it has ended.
fn scans(server: &server::Server, database: &str) -> String {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doorbell' AND \
        datname = current_database()";
    while server.sql(database, sessions) != "0" {
        std::thread::yield_now();
    }
    let scans = "SELECT string_agg(relname || ' ' || seq_scan, ' ' ORDER BY relname) FROM pg_stat_user_tables \
        WHERE relname NOT IN ('cluster', 'clock', 'node', 'transfer')";
    server.sql(database, scans)
}
