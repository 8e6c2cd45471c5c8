//! Lost connections and a lost server: what was answered is there, and what was not is found out.

use std::time::Duration;

use doorbell_store::{Limits, PostgresOptions, StoreError};

use super::ledger::Ledger;
use super::opened;
use super::proxy::Proxy;
use super::server::{Databases, Server, database, shared};
use crate::bed::*;

/// Ends all of our sessions, again and again after up to 300 ms, each time in a transaction of its own: one that lasted
/// would keep every version of the node's row.
fn interruptions(times: usize) -> String {
    format!(
        "DO $$ BEGIN FOR i IN 1..{times} LOOP PERFORM pg_sleep(random() * 0.3); COMMIT; \
         PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doorbell' \
         AND datname = current_database(); COMMIT; END LOOP; END $$"
    )
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what} should have come"));
}

/// Repeats what fails while the database is away.
pub(super) async fn until_ok<T, E>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) {
    let wait = async {
        while attempt().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} should have succeeded"));
}

/// How often each test interrupts: a number for the long form, or `default`.
fn times(default: usize) -> usize {
    std::env::var("DOORBELL_INTERRUPTIONS").map_or(default, |times| times.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_neither_lost_nor_stored_twice() {
    let Some(server) = shared() else { return };
    interrupt(server, "alone").await;
}

/// A commit that waits for its standbys is often interrupted after it has happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_wait_for_the_standbys_was_ended_is_neither_lost_nor_stored_twice() {
    let Some(server) = Server::start("") else { return };
    let Some(_standby) = Server::standby_of(&server) else { return };
    server.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'");
    server.sql("postgres", "SELECT pg_reload_conf()");
    interrupt(&server, "ANY 1").await;
}

async fn interrupt(server: &Server, what: &str) {
    let options = server.fresh();
    let ledger = Ledger::start(&options).await;
    let times = times(40);
    tokio::task::block_in_place(|| server.sql(database(&options), &interruptions(times)));
    let answers = ledger.judge(|text| server.sql(database(&options), text)).await;
    let resolved = answers.counted.resolved;
    assert!(answers.unknown.is_empty() && answers.refused.is_empty(), "within its patience the engine finds out");
    let (stored, erased) = (answers.stored.len() as u64, answers.erased.len() as u64);
    let counted = (answers.counted.messages, answers.counted.ended.of(DELIVERED));
    assert_eq!(counted, (stored - erased, erased), "each batch is counted once");
    println!(
        "{what}: {times} times all sessions ended: {} accepted and {} erased, none lost; unknown outcomes: {} had happened, {} had not",
        answers.stored.len(),
        answers.erased.len(),
        resolved.happened,
        resolved.not_happened,
    );
    assert!(times < 40 || resolved.happened + resolved.not_happened > 0, "some answers must have been lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_happened_although_its_answer_was_lost_is_answered_as_done() {
    let Some(server) = shared() else { return };
    let direct = server.fresh();
    let proxy = Proxy::start(server.host());
    let url = format!("postgres://doorbell:correct%20horse@{}/{}", proxy.address, database(&direct));
    let ledger = Ledger::start(&PostgresOptions { url, ..direct.clone() }).await;
    let times = times(40);
    for time in 0..times {
        let before = ledger.count(|answers| answers.stored.len());
        // At different moments of a batch.
        until("more messages", || ledger.count(|answers| answers.stored.len()) > before + time % 97).await;
        proxy.lose();
        until("a lost answer", || proxy.has_lost()).await;
    }
    let before = ledger.count(|answers| answers.stored.len());
    until("more messages", || ledger.count(|answers| answers.stored.len()) > before).await;
    let answers = ledger.judge(|text| server.sql(database(&direct), text)).await;
    let resolved = answers.counted.resolved;
    assert!(answers.unknown.is_empty() && answers.refused.is_empty(), "within its patience the engine finds out");
    println!(
        "{times} answers lost: {} accepted and {} erased, none lost; unknown outcomes: {} had happened, {} had not",
        answers.stored.len(),
        answers.erased.len(),
        resolved.happened,
        resolved.not_happened,
    );
    assert!(resolved.happened > 0, "some batches must have happened without an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_and_the_store_goes_on_by_itself() {
    let Some(server) = Server::start("") else { return };
    let options = server.fresh();
    let ledger = Ledger::start(&options).await;
    for round in 0..3 {
        let before = ledger.count(|answers| answers.stored.len());
        until("more messages", || ledger.count(|answers| answers.stored.len()) > before + 200).await;
        server.kill();
        if round == 0 {
            // So long that the writers get errors.
            until("an error", || ledger.count(|answers| answers.unknown.len() + answers.refused.len()) > 0).await;
        }
        server.go();
    }
    let before = ledger.count(|answers| answers.stored.len());
    until("more messages", || ledger.count(|answers| answers.stored.len()) > before + 200).await;
    let answers = ledger.judge(|text| server.sql(database(&options), text)).await;
    println!(
        "3 kills: {} accepted, none lost; {} unanswered, {} refused; {:?}",
        answers.stored.len(),
        answers.unknown.len(),
        answers.refused.len(),
        answers.counted.resolved,
    );
}

#[tokio::test]
async fn reads_survive_the_end_of_their_session() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits { readers: 1, ..Limits::default() });
    populate(&store).await;
    store.append(news(101)).await.unwrap();
    assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
    let end = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE application_name = 'doorbell' \
        AND datname = current_database()";
    assert_eq!(server.sql(database(&options), end), "t");
    assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
    store.append(news(102)).await.unwrap();
    assert_eq!(waiting(&store, ALICE, NOON).await, [101, 102]);
    assert_eq!(store.append(news(102)).await, Err(StoreError::IdTaken));
}
