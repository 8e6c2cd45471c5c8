//! The child's side of the crash tests: it writes, and reports each write once it was acknowledged.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_store::{
    Appended, ClockRecord, CommitError, Engine, Erased, Limits, NewMessage, OpenError, Reader, Removed, SqliteEngine,
    Store, StoreError, Swept, Write, Written,
};

use crate::bed::*;

/// Where the child finds its store: a directory, or the URL of a database.
pub(crate) const DIR: &str = "DOORBELL_CRASH_DIR";

/// Agents, each with a task that writes to it.
pub(crate) const AGENTS: i64 = 32;

pub(crate) fn agent(n: i64) -> AgentId {
    AgentId::from_raw(1_000 + n)
}

/// The subscription for messages that stay.
fn plain_of(n: i64) -> SubscriptionId {
    SubscriptionId::from_raw(2_000 + n)
}

/// The subscription for messages of one topic.
pub(crate) fn topics_of(n: i64) -> SubscriptionId {
    SubscriptionId::from_raw(3_000 + n)
}

/// The receipt subscription of the agent's messages. All of its messages want a receipt.
pub(crate) fn receipts_of(n: i64) -> ReceiptSubscriptionId {
    ReceiptSubscriptionId::from_raw(4_000 + n)
}

pub(crate) fn limits() -> Limits {
    Limits {
        messages_per_agent_max: 1_000_000,
        bytes_per_agent_max: 1 << 40,
        receipts_per_subscription_max: 1_000_000,
        ..Limits::default()
    }
}

/// A write that was acknowledged, or a receipt that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// A message that stays.
    Kept { id: MessageId },
    /// A message with a topic.
    OnTopic { id: MessageId, subscription: SubscriptionId },
    /// A message that was stored and then ended.
    Ended { id: MessageId, outcome: Outcome },
    /// A receipt that an application server has read.
    Read { seq: i64, id: MessageId },
    /// The receipts that were taken up to a number.
    Taken { receipts: ReceiptSubscriptionId, up_to: i64 },
}

impl Report {
    /// One `write(2)` for each line, so that lines do not mix.
    fn print(self) {
        match self {
            Self::Kept { id } => println!("kept {} 0", id.raw()),
            Self::OnTopic { id, subscription } => println!("topic {} {}", id.raw(), subscription.raw()),
            Self::Ended { id, outcome } => println!("ended {} {}", id.raw(), outcome.code()),
            Self::Read { seq, id } => println!("read {seq} {}", id.raw()),
            Self::Taken { receipts, up_to } => println!("taken {} {up_to}", receipts.raw()),
        }
    }

    /// `None` for the lines of the test harness.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        let (first, second): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let id = MessageId::from_raw;
        match kind {
            "kept" => Some(Self::Kept { id: id(first) }),
            "topic" => Some(Self::OnTopic { id: id(first), subscription: SubscriptionId::from_raw(second) }),
            "ended" => {
                let outcome = Outcome::from_code(u8::try_from(second).ok()?)?;
                Some(Self::Ended { id: id(first), outcome })
            }
            "read" => Some(Self::Read { seq: first, id: id(second) }),
            "taken" => Some(Self::Taken { receipts: ReceiptSubscriptionId::from_raw(first), up_to: second }),
            _ => None,
        }
    }
}

fn dir() -> PathBuf {
    PathBuf::from(std::env::var_os(DIR).expect("only run by the tests of the parent"))
}

/// Runs one task for each agent until all of them have ended with an error.
async fn write_until_it_fails(store: &Store) -> Vec<StoreError> {
    for n in 0..AGENTS {
        // In later rounds they exist already.
        let _ = store.create_agent(agent(n), NOON).await;
        let _ = store.create_subscription(subscription(plain_of(n), agent(n))).await;
        let _ = store.create_subscription(subscription(topics_of(n), agent(n))).await;
        let _ = store.create_receipt_subscription(receipts_of(n), NOON).await;
    }
    let next_id = Arc::new(AtomicI64::new(store.greatest_id().max(10_000)));
    let tasks: Vec<_> = (0..AGENTS).map(|n| tokio::spawn(write_to(store.clone(), n, Arc::clone(&next_id)))).collect();
    let mut errors = Vec::new();
    for task in tasks {
        errors.push(task.await.unwrap().unwrap_err());
    }
    errors
}

async fn write_to(store: Store, n: i64, next_id: Arc<AtomicI64>) -> Result<(), StoreError> {
    let next = || next_id.fetch_add(1, Ordering::Relaxed) + 1;
    let message = |subscription, topic, len| NewMessage {
        id: id(next()),
        agent: agent(n),
        subscription,
        topic,
        receipt: Some(receipts_of(n)),
        body: Bytes::from(vec![7; len]),
        ..news(0)
    };
    loop {
        let kept = message(plain_of(n), None, 700);
        let id = kept.id;
        store.append(kept).await?;
        Report::Kept { id }.print();

        let on_topic = message(topics_of(n), topic("score"), 3_000);
        let id = on_topic.id;
        store.append(on_topic).await?;
        Report::OnTopic { id, subscription: topics_of(n) }.print();

        let settled = message(plain_of(n), None, 20);
        let id = settled.id;
        store.append(settled).await?;
        store.erase(id, agent(n), DELIVERED, NOON).await?;
        Report::Ended { id, outcome: DELIVERED }.print();

        let passing = SubscriptionId::from_raw(next());
        let unread = message(passing, None, 20);
        let id = unread.id;
        store.create_subscription(subscription(passing, agent(n))).await?;
        store.append(unread).await?;
        store.delete_subscription(agent(n), passing, NOON, NOON).await?;
        Report::Ended { id, outcome: Outcome::Unsubscribed }.print();

        let short = NewMessage { expires_at: minutes(1), ..message(plain_of(n), None, 20) };
        let id = short.id;
        store.append(short).await?;
        store.sweep(minutes(1), 1_000).await?;
        Report::Ended { id, outcome: Outcome::Expired }.print();

        take_some(&store, n).await?;
    }
}

/// Reads the two oldest receipts and takes them; others stay.
async fn take_some(store: &Store, n: i64) -> Result<(), StoreError> {
    let page = store.receipts(receipts_of(n), None, 2).await?;
    page.receipts.iter().for_each(|receipt| Report::Read { seq: receipt.seq, id: receipt.message }.print());
    if let Some(last) = page.receipts.last() {
        let (receipts, up_to) = (receipts_of(n), last.seq);
        store.take_receipts(receipts, up_to, NOON).await?;
        Report::Taken { receipts, up_to }.print();
    }
    Ok(())
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("this should have come by now")
}

#[tokio::test]
#[ignore = "the child of a crash test"]
async fn child_that_writes() {
    let store = open(&dir(), limits());
    write_until_it_fails(&store).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
#[ignore = "the child of a crash test"]
async fn child_that_writes_to_a_database() {
    let url = std::env::var(DIR).expect("only run by the tests of the parent");
    let options = doorbell_store::PostgresOptions { url, password: None, allow_single_copy: true, cluster: None };
    let store = Store::open_postgres(&options, limits()).unwrap();
    let errors = write_until_it_fails(&store).await;
    println!("over {} {}", errors.len(), i64::from(errors.iter().all(|error| *error == StoreError::Unavailable)));
}

#[tokio::test]
#[ignore = "the child of a crash test"]
async fn child_on_a_failing_disk() {
    let store = open(&dir(), Limits { reserve_bytes: 0, ..limits() });
    let errors = write_until_it_fails(&store).await;
    assert!(errors.contains(&StoreError::Unknown), "{errors:?}");
    assert!(errors.iter().all(|e| matches!(e, StoreError::Unknown | StoreError::Unavailable)), "{errors:?}");
    let failure = soon(store.failed()).await;
    assert!(failure.to_string().contains("disk I/O error"), "{failure}");
    assert_eq!(soon(store.append(news(1))).await, Err(StoreError::Unavailable));
}

#[tokio::test]
#[ignore = "the child of a crash test"]
async fn child_with_an_engine_that_answers_early() {
    let engine = EarlyAnswers { engine: SqliteEngine::open(&dir(), limits()).unwrap(), held: Vec::new(), commits: 0 };
    let store = Store::start(engine, limits()).unwrap();
    write_until_it_fails(&store).await;
}

/// A planted bug: it answers at once and commits many batches together later. It is killed before its third commit.
struct EarlyAnswers {
    engine: SqliteEngine,
    held: Vec<Write>,
    commits: u32,
}

impl Engine for EarlyAnswers {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        self.held.extend_from_slice(batch);
        if self.held.len() >= 300 && self.commits < 2 {
            self.commits += 1;
            self.engine.commit(&std::mem::take(&mut self.held))?;
        }
        Ok(batch.iter().map(|write| Ok(guess(write))).collect())
    }

    fn set_limits(&mut self, limits: Limits) {
        self.engine.set_limits(limits);
    }

    fn receipt_room(&self) -> Result<(), StoreError> {
        self.engine.receipt_room()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        self.engine.reader()
    }

    fn greatest_id(&self) -> i64 {
        self.engine.greatest_id()
    }

    fn clock(&self) -> ClockRecord {
        self.engine.clock()
    }
}

fn guess(write: &Write) -> Written {
    match write {
        Write::Append(_) => Written::Appended(Appended::default()),
        Write::Erase { .. } | Write::TakeReceipts { .. } => Written::Erased(Erased { existed: true, receipt: None }),
        Write::DeleteSubscription { .. } => Written::Removed(Removed { existed: true, receipts: Vec::new() }),
        Write::Sweep { .. } => Written::Swept(Swept::default()),
        _ => Written::Created,
    }
}
