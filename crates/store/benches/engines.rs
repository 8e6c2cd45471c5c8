//! What the engines cost: batches of messages that are stored and erased, and a page of an agent's messages.
//!
//! `cargo bench -p doorbell-store`; SQLite's files are in the system's temporary directory (TMPDIR).

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that cannot go on has failed")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Engine, Limits, MemoryEngine, NewMessage, PAGE_MAX, SqliteEngine, Subscription, Write};

const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);
const LATER: UnixMs = UnixMs::from_secs(1_800_003_600);
const AGENT: AgentId = AgentId::from_raw(1);
const SUBSCRIPTION: SubscriptionId = SubscriptionId::from_raw(2);
const FIRST_MESSAGE: i64 = 1_000;
const BATCHES: [i64; 2] = [1, 64];

fn memory(c: &mut Criterion) {
    measure(c, "memory", || MemoryEngine::new(limits()));
}

fn sqlite(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    // Each engine has its own directory.
    let fresh = || {
        let own = tempfile::tempdir_in(dir.path()).unwrap().keep();
        SqliteEngine::open(&own, limits()).unwrap()
    };
    measure(c, "SQLite", fresh);
}

/// One agent may have more than a page.
fn limits() -> Limits {
    let many = 2 * PAGE_MAX;
    Limits { messages_per_agent_max: many, messages_per_subscription_max: many, ..Limits::default() }
}

fn measure<E: Engine>(c: &mut Criterion, name: &str, engine: impl Fn() -> E) {
    let mut group = c.benchmark_group(name);
    for batch in BATCHES {
        let (mut engine, mut next) = (prepared(engine()), FIRST_MESSAGE);
        group.throughput(Throughput::Elements(batch.unsigned_abs()));
        group.bench_function(format!("{batch} stored by one commit, erased by another"), |b| {
            b.iter(|| {
                let ids = next..next + batch;
                next = ids.end;
                commit(&mut engine, &ids.clone().map(append).collect::<Vec<_>>());
                commit(&mut engine, &ids.map(erase).collect::<Vec<_>>());
                engine.tidy().unwrap();
            });
        });
    }
    let mut engine = prepared(engine());
    let page = i64::from(PAGE_MAX);
    commit(&mut engine, &(FIRST_MESSAGE..=FIRST_MESSAGE + page).map(append).collect::<Vec<_>>());
    let mut reader = engine.reader().unwrap();
    group.throughput(Throughput::Elements(page.unsigned_abs()));
    group.bench_function("a page of an agent's messages", |b| {
        b.iter(|| assert!(reader.pending(AGENT, None, PAGE_MAX, NOW).unwrap().more));
    });
}

/// With one agent and one subscription.
fn prepared<E: Engine>(mut engine: E) -> E {
    let subscription = Subscription { id: SUBSCRIPTION, agent: AGENT, vapid_key: None, channel: None, created: NOW };
    commit(&mut engine, &[Write::CreateAgent { id: AGENT, served: NOW }, Write::CreateSubscription(subscription)]);
    engine
}

fn commit(engine: &mut impl Engine, batch: &[Write]) {
    assert!(engine.commit(batch).unwrap().iter().all(Result::is_ok));
}

fn erase(id: i64) -> Write {
    Write::Erase { id: MessageId::from_raw(id), agent: AGENT, outcome: Outcome::Delivered, now: NOW }
}

fn append(id: i64) -> Write {
    Write::Append(NewMessage {
        id: MessageId::from_raw(id),
        agent: AGENT,
        subscription: SUBSCRIPTION,
        now: NOW,
        served: NOW,
        expires_at: LATER,
        topic: None,
        urgency: Urgency::Normal,
        receipt: None,
        headers: b"\x01\x00\x09aes128gcm".to_vec(),
        body: Bytes::from_static(&[7; 1024]),
    })
}

criterion_group!(benches, memory, sqlite);
criterion_main!(benches);
