//! A database that is away, replaced, locked or cancelled: who waits, for how long, and that it ends.

use std::time::Duration;

use doorbell_store::{Limits, PostgresOptions, StoreError};
use futures_util::future::join_all;

use super::ledger::Ledger;
use super::lost::{until, until_ok};
use super::opened;
use super::server::{Databases, Server, database, shared};
use crate::bed::*;

/// Cancels the statement of the session that writes, again and again.
fn cancellations(times: usize) -> String {
    format!(
        "DO $$ BEGIN FOR i IN 1..{times} LOOP PERFORM pg_sleep(random() * 0.003); COMMIT; \
         PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'doorbell' \
         AND datname = current_database(); COMMIT; END LOOP; END $$"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_cancelled_at_any_moment_is_done_whole_or_not_at_all() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let ledger = Ledger::start(&options).await;
    tokio::task::block_in_place(|| server.sql(database(&options), &cancellations(2_000)));
    let before = ledger.count(|answers| answers.stored.len());
    until("more messages", || ledger.count(|answers| answers.stored.len()) > before + 200).await;
    let answers = ledger.judge(|text| server.sql(database(&options), text)).await;
    let (stored, erased) = (answers.stored.len() as u64, answers.erased.len() as u64);
    assert_eq!(answers.counted.messages, stored - erased, "each batch is counted once");
    println!("2,000 cancellations: {stored} accepted and {erased} erased, none lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_replaced_and_still_answers_is_left_for_the_new_one() {
    let Some(old) = Server::start("") else { return };
    let Some(new) = Server::standby_of(&old) else { return };
    old.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'");
    old.sql("postgres", "SELECT pg_reload_conf()");
    let direct = old.fresh();
    let name = database(&direct);
    let url = format!("postgres://doorbell:correct%20horse@{},{}/{name}", old.host(), new.host());
    let limits = Limits { readers: 1, ..Limits::default() };
    let store = opened(&PostgresOptions { url, ..direct.clone() }, limits);
    populate(&store).await;
    store.append(news(101)).await.unwrap();
    assert_eq!(waiting(&store, ALICE, NOON).await, [101], "the reader has its connection");
    // The old one takes connections and reads, and its commits wait for a standby that does not come.
    assert_eq!(new.sql("postgres", "SELECT pg_promote()"), "t");
    let mut ids = 102..;
    until_ok("a commit", async || store.append(news(ids.next().expect("ids do not end"))).await).await;
    let last = ids.start - 1;
    until("the new message", || waits_at(&new, name, last)).await;
    assert!(waiting(&store, ALICE, NOON).await.contains(&last), "the reader has left the old one too");
}

fn waits_at(server: &Server, database: &str, id: i64) -> bool {
    server.sql(database, &format!("SELECT count(*) FROM message WHERE id = {id}")) == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_queues_of_a_database_that_is_away_is_refused_in_time() {
    let Some(server) = Server::start("") else { return };
    // One write a batch, and one reader: behind the first few, nothing comes to its turn in time.
    let limits = Limits { readers: 1, batch_writes_max: 1, ..Limits::default() };
    let store = opened(&server.fresh(), limits);
    populate(&store).await;
    server.kill();
    let reads = join_all((0..500).map(|_| store.pending(ALICE, None, 10, NOON)));
    let writes = join_all((101..201).map(|raw| store.append(news(raw))));
    let both = async { tokio::join!(reads, writes) };
    let (reads, writes) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("all were answered");
    assert!(reads.iter().all(|read| *read == Err(StoreError::Unavailable)), "{reads:?}");
    let is_refused = |write: &Result<_, _>| matches!(write, Err(StoreError::Unavailable | StoreError::Unknown));
    assert!(writes.iter().all(is_refused), "{writes:?}");
    server.go();
    until_ok("a commit", async || store.append(news(301)).await).await;
    until_ok("a read", async || store.pending(ALICE, None, 10, NOON).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_table_that_is_locked_for_a_while_is_repeated() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits { readers: 1, ..Limits::default() });
    populate(&store).await;
    let lock = "BEGIN; LOCK TABLE subscription; SELECT pg_sleep(3); COMMIT";
    let is_locked = "SELECT count(*) FROM pg_locks WHERE relation = 'subscription'::regclass AND granted \
        AND mode = 'AccessExclusiveLock'";
    let name = database(&options).to_owned();
    let locked = std::thread::spawn(move || server.sql(&name, lock));
    until("the lock", || server.sql(database(&options), is_locked) == "1").await;
    assert!(store.subscription(ALICE, ALICE_NEWS).await.unwrap().is_some());
    locked.join().unwrap();
}

#[tokio::test]
async fn a_warning_that_is_not_about_the_standbys_keeps_no_commit_back() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits::default());
    populate(&store).await;
    let warn = "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE WARNING 'it must be vacuumed'; RETURN NEW; END $$; \
        CREATE TRIGGER warn BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION warn()";
    server.sql(database(&options), warn);
    store.append(news(101)).await.unwrap();
    assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
}

#[tokio::test]
async fn a_subscription_without_its_agent_is_refused_and_stops_nothing() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits::default());
    populate(&store).await;
    store.close().await.unwrap();
    server.sql(database(&options), &format!("DELETE FROM agent WHERE id = {}", ALICE.raw()));
    let store = opened(&options, Limits::default());
    assert_eq!(store.append(news(101)).await, Err(StoreError::NoSubscription));
    assert!(!store.delete_subscription(ALICE, ALICE_NEWS, NOON, NOON).await.unwrap().existed);
    store.append(to_bob(102)).await.unwrap();
}
