//! How many messages a second the store commits: each writer waits for its append before the next one.
//!
//! `cargo run --release -p doorbell-store --example append_rate -- [WRITERS [SECONDS [SUBSCRIPTIONS [URL PID]]]]`
//!
//! Bodies of 1 KiB, in a fresh store under the system's temporary directory, or in the empty database at `URL` of a
//! PostgreSQL server on this machine, whose first process is `PID`. The second figure is for messages that are erased
//! after they are stored, as it happens when agents are connected.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics with its reason")]

mod bed;
mod clock;
mod cpu;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use doorbell_store::{Limits, NewMessage, PostgresOptions, Store, StoreError};

use bed::{FIRST_MESSAGE, NOON, make, message};

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let number = |place: usize, default| args.get(place).map_or(default, |arg| arg.parse().unwrap());
    let (writers, seconds, subscriptions) = (number(0, 64), number(1, 5), number(2, 100_000));
    let server = args.get(4).map(|pid| pid.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = match args.get(3) {
            Some(url) => {
                let options = PostgresOptions { url: url.clone(), password: None, allow_single_copy: true, cluster: None };
                Store::open_postgres(&options, Limits::default()).unwrap()
            }
            None => Store::open_sqlite(dir.path(), Limits::default()).unwrap(),
        };
        make(&store, subscriptions).await;
        let next_id = Arc::new(AtomicI64::new(FIRST_MESSAGE));
        for (erase, what) in [(false, "appends"), (true, "appends, each erased again,")] {
            let length = Duration::from_secs(seconds);
            let before = (cpu::own(), server.map_or(0.0, cpu::of_server));
            let mut waits = measure(&store, &next_id, writers, length, subscriptions, erase).await;
            waits.sort_unstable();
            let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            let rate = waits.len() as f64 / seconds as f64;
            let per_1000 = |seconds: f64| seconds / waits.len() as f64 * 1e3;
            let own = per_1000(cpu::own() - before.0);
            let served = per_1000(server.map_or(0.0, cpu::of_server) - before.1);
            println!(
                "{writers} writers: {rate:.0} {what} a second; p50 {:.1} ms, p99 {:.1} ms; CPU-seconds per 1,000: {own:.4} \
                 here, {served:.4} of the server",
                at(50),
                at(99)
            );
        }
        store.close().await.unwrap();
    });
}

/// The time that each append took.
async fn measure(
    store: &Store,
    next_id: &Arc<AtomicI64>,
    writers: u64,
    length: Duration,
    agents: u64,
    erase: bool,
) -> Vec<Duration> {
    let end = clock::now() + length;
    let write = |writer: u64| {
        let (store, next_id) = (store.clone(), Arc::clone(next_id));
        tokio::spawn(async move {
            let mut waits = Vec::new();
            let mut turn = writer;
            while clock::now() < end {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let begun = clock::now();
                let message = message(next_id.fetch_add(1, Ordering::Relaxed), (turn >> 33) % agents);
                store_one(&store, message, erase).await.unwrap();
                waits.push(begun.elapsed());
            }
            waits
        })
    };
    let tasks: Vec<_> = (0..writers).map(write).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

async fn store_one(store: &Store, message: NewMessage, erase: bool) -> Result<(), StoreError> {
    let (id, agent) = (message.id, message.agent);
    store.append(message).await?;
    if erase {
        store.erase(id, agent, Outcome::Delivered, NOON).await?;
    }
    Ok(())
}
