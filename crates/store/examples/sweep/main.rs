//! What a large backlog costs: how long a store takes to open and to read an agent's first page, and how long appends
//! wait while the whole backlog expires.
//!
//! `cargo run --release -p doorbell-store --example sweep -- [EXPIRING [SUBSCRIPTIONS [STEP]]]`
//!
//! Bodies of 1 KiB, in a fresh store under the system's temporary directory. Appends come fifty times a second. STEP
//! messages are swept at a time: by default as many as the service sweeps.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics with its reason")]

#[path = "../append_rate/bed.rs"]
mod bed;
#[path = "../append_rate/clock.rs"]
mod clock;

use std::time::{Duration, Instant};

use doorbell_protocol::time::UnixMs;
use doorbell_store::{Limits, Store};
use futures_util::future::join_all;

use bed::{FIRST_MESSAGE, NOON, make, message};

/// Appends that wait at a time while the store is filled.
const FILLING: u64 = 1_000;
/// Fifty appends a second.
const PACE: Duration = Duration::from_millis(20);
/// How many appends are timed before the sweep begins.
const BEFORE: usize = 1_000;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().unwrap());
    let (expiring, subscriptions) = (args.next().unwrap_or(1_000_000), args.next().unwrap_or(100_000));
    let step = u32::try_from(args.next().unwrap_or(100)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open_sqlite(dir.path(), Limits::default()).unwrap();
        make(&store, subscriptions).await;
        let begun = clock::now();
        fill(&store, expiring, subscriptions).await;
        println!("{expiring} messages stored in {:.0} s", begun.elapsed().as_secs_f64());
        store.close().await.unwrap();
        drop(store);

        let begun = clock::now();
        let store = Store::open_sqlite(dir.path(), Limits::default()).unwrap();
        println!("opened in {:.1} ms", ms(begun.elapsed()));
        let begun = clock::now();
        let page = store.pending(message(0, 0).agent, None, 1_000, NOON).await.unwrap();
        println!("the first page of an agent, {} messages, in {:.1} ms", page.entries.len(), ms(begun.elapsed()));

        let mut next = FIRST_MESSAGE + i64::try_from(expiring).unwrap();
        let mut waits = Vec::new();
        while waits.len() < BEFORE {
            waits.push(append(&store, &mut next, subscriptions).await);
        }
        report("before the sweep", waits);

        let later = NOON.plus(Duration::from_secs(7_200));
        let begun = clock::now();
        let sweeping = tokio::spawn(sweep(store.clone(), later, step));
        let mut waits = Vec::new();
        while !sweeping.is_finished() {
            waits.push(append(&store, &mut next, subscriptions).await);
        }
        let (swept, took) = (sweeping.await.unwrap(), begun.elapsed().as_secs_f64());
        println!("{swept} messages swept in {took:.1} s");
        report("during the sweep", waits);
        store.close().await.unwrap();
    });
}

async fn fill(store: &Store, messages: u64, agents: u64) {
    for first in (0..messages).step_by(usize::try_from(FILLING).unwrap()) {
        let append = |n: u64| store.append(message(FIRST_MESSAGE + i64::try_from(n).unwrap(), n % agents));
        for stored in join_all((first..messages.min(first + FILLING)).map(append)).await {
            stored.unwrap();
        }
    }
}

/// Stores one message at the next beat. Returns how long the write took.
async fn append(store: &Store, next: &mut i64, agents: u64) -> Duration {
    tokio::time::sleep(PACE).await;
    let begun: Instant = clock::now();
    let mut message = message(*next, u64::try_from(*next).unwrap() % agents);
    message.expires_at = NOON.plus(Duration::from_secs(86_400));
    *next += 1;
    store.append(message).await.unwrap();
    begun.elapsed()
}

/// As the service does it: until there is nothing more.
async fn sweep(store: Store, now: UnixMs, step: u32) -> u64 {
    let mut all = 0;
    loop {
        let swept = store.sweep(now, step).await.unwrap();
        all += u64::from(swept.removed);
        if !swept.more {
            return all;
        }
    }
}

fn report(when: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |percent: usize| ms(waits[(waits.len() - 1) * percent / 100]);
    println!("{} appends {when}: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", waits.len(), at(50), at(99), at(100));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
