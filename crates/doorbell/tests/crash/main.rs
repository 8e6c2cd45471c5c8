//! Invariant 1 the hard way: `kill -9` while 64 application servers send, again and again on one state directory.
//!
//! Every message that was accepted must reach its user agent once the service runs again: nothing is lost, nothing that
//! a user agent has deleted comes back. Half of the senders' messages want receipts, which come once each, also to a
//! reader that the kill has interrupted; of two messages of one topic that were on their way together, one survives.
//! `cargo xtask crash` runs more rounds than CI has time for.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod letter;
mod load;
mod network;
mod receipts;
mod round;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "postgres")]
mod takeover;
mod tally;

use std::io::Write;

use load::{Load, drain, nothing_is_left};
use network::Network;
use support::Service;
use tally::Tally;

const SENDERS: usize = 64;
const ROUNDS_DEFAULT: u32 = 20;
/// After each kill, the next process waits for the lease of the one before.
#[cfg(feature = "postgres")]
const ROUNDS_ON_POSTGRES: u32 = 4;

/// How many messages are accepted in a round before the service is killed: never the same number, so that the kill
/// falls on every phase of a commit sooner or later.
fn accepted_before_the_kill(round: u32) -> usize {
    300 + (round as usize * 97) % 500
}

/// PS-8030-5-2, PS-8030-6.2-6, PS-8030-6.2-7, PS-8030-5.4-2, PS-8030-5.4-8, PS-8030-6.3-5, PS-8030-6.3-6, PS-8030-6.3-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_or_doubled_when_the_service_is_killed_under_load() {
    killed_under_load("crash", Service::start_with(&["--rate-per-subscription", "0"]), ROUNDS_DEFAULT).await;
}

/// The same.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_or_doubled_when_the_service_is_killed_and_stores_in_postgresql() {
    let Some(server) = doorbell_postgres_server::shared() else { return };
    let url = server.url(&server.create_database());
    let settings = ["--rate-per-subscription", "0", "--database", &url, "--allow-single-copy"];
    killed_under_load("crash on PostgreSQL", Service::start_with(&settings), ROUNDS_ON_POSTGRES).await;
}

async fn killed_under_load(what: &str, mut service: Service, rounds: u32) {
    let asked = std::env::var("DOORBELL_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = asked.unwrap_or(rounds);
    let network = Network::of(&service);
    let mailboxes = network.subscribe().await;
    let mut tally = Tally::default();
    for number in 1..=rounds {
        let mut load = Load::start(&network, &mailboxes, number, accepted_before_the_kill(number));
        load.is_enough().await;
        service.kill();
        let mut round = load.ends().await;
        service.start_again();
        round.add(drain(&network, &mailboxes).await);
        round.check();
        nothing_is_left(&network, &round).await;
        tally.add(&round);
    }
    writeln!(std::io::stderr(), "{what}: {rounds} rounds of kill -9 with {SENDERS} senders: {tally}").ok();
    assert!(tally.accepted > 0 && tally.delivered_before > 0 && tally.delivered_after > 0, "{tally}");
    assert!(tally.receipts_before > 0 && tally.receipts_after > 0, "{tally}");
    assert!(tally.replaced > 0 && tally.twins_one_stored > 0, "{tally}");
}
