//! Writers that note what was answered, and the judge of what is there afterwards.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use doorbell_protocol::id::{AgentId, SubscriptionId};
use doorbell_store::{Contents, Limits, NewMessage, PostgresEngine, PostgresOptions, Store, StoreError};
use futures_util::future::join_all;

use crate::bed::*;

const WRITERS: i64 = 64;
/// So many that none has many messages: after each lost connection they are counted again.
const AGENTS: i64 = 1024;

/// What the writers were answered.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) stored: Vec<i64>,
    pub(super) erased: Vec<i64>,
    /// Appends of which the sender knows nothing.
    pub(super) unknown: Vec<i64>,
    /// Appends that certainly did not happen.
    pub(super) refused: Vec<i64>,
    /// What the engine counted, at the end.
    pub(super) counted: Contents,
}

pub(super) struct Ledger {
    pub(super) store: Store,
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Answers>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn agent(n: i64) -> AgentId {
    AgentId::from_raw(10_000 + n)
}

fn of(n: i64) -> SubscriptionId {
    SubscriptionId::from_raw(20_000 + n)
}

pub(super) fn limits() -> Limits {
    Limits { messages_per_agent_max: u32::MAX, bytes_per_agent_max: u64::MAX, ..Limits::default() }
}

impl Ledger {
    /// Starts writers, each of which waits for its answers; every other message is erased again.
    pub(super) async fn start(options: &PostgresOptions) -> Self {
        let store = Store::start(PostgresEngine::open(options, limits()).unwrap(), limits()).unwrap();
        let create = async |n| {
            store.create_agent(agent(n), NOON).await.unwrap();
            store.create_subscription(subscription(of(n), agent(n))).await.unwrap();
        };
        join_all((0..AGENTS).map(create)).await;
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Answers::default())));
        let next = Arc::new(AtomicI64::new(100_000));
        let write = |_| {
            let (store, stop, answers, next) =
                (store.clone(), Arc::clone(&stop), Arc::clone(&answers), Arc::clone(&next));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let raw = next.fetch_add(1, Ordering::Relaxed);
                    let n = raw % AGENTS;
                    let message = NewMessage { agent: agent(n), subscription: of(n), ..news(raw) };
                    let appended = store.append(message).await;
                    {
                        let mut answers = answers.lock().unwrap();
                        match appended {
                            Ok(_) => answers.stored.push(raw),
                            Err(StoreError::Unknown) => answers.unknown.push(raw),
                            Err(StoreError::Unavailable) => answers.refused.push(raw),
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    if appended.is_ok() && raw % 2 == 0 {
                        // `existed` is certain, so an answer that says it is gone without a trace is one of a repetition.
                        match store.erase(id(raw), agent(n), DELIVERED, NOON).await {
                            Ok(erased) => {
                                assert!(erased.existed, "{raw} was stored, and erased twice");
                                answers.lock().unwrap().erased.push(raw);
                            }
                            Err(StoreError::Unknown | StoreError::Unavailable) => {}
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                }
            })
        };
        let tasks = (0..WRITERS).map(write).collect();
        Self { store, stop, answers, tasks }
    }

    pub(super) fn count(&self, of: impl Fn(&Answers) -> usize) -> usize {
        of(&self.answers.lock().unwrap())
    }

    /// Ends the writers, and compares what is there with what they were answered. `sql` runs a statement on the database.
    pub(super) async fn judge(self, sql: impl Fn(&str) -> String) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let counted = self.store.figures().contents;
        self.store.close().await.unwrap();
        let rows = sql("SELECT id FROM message ORDER BY id");
        let rows: std::collections::HashSet<i64> = rows.lines().map(|line| line.parse().unwrap()).collect();
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        let erased: std::collections::HashSet<_> = answers.erased.iter().copied().collect();
        // One whose erasure failed may be gone, and may be there.
        let must_stay = answers.stored.iter().filter(|raw| **raw % 2 == 1);
        let lost: Vec<_> = must_stay.filter(|raw| !rows.contains(raw)).collect();
        assert!(lost.is_empty(), "{} messages were accepted and are lost: {lost:?}", lost.len());
        let back: Vec<_> = erased.iter().filter(|raw| rows.contains(raw)).collect();
        assert!(back.is_empty(), "{} messages were erased and are back: {back:?}", back.len());
        let ghosts: Vec<_> = answers.refused.iter().filter(|raw| rows.contains(raw)).collect();
        assert!(ghosts.is_empty(), "{} messages certainly failed and are there: {ghosts:?}", ghosts.len());
        Answers { counted, ..answers }
    }
}
