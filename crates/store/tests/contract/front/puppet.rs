//! An engine that a test controls: it stops before each commit and each read, and does what the test orders.

use std::future::Future;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use doorbell_store::{
    ClockRecord, CommitError, Engine, Limits, Lookup, MemoryEngine, OpenError, Page, ReadError, Reader, ReceiptPage,
    Store, StoreError, Subscription, TidyError, Write, Written,
};

/// How long a test waits before it fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the engine does with the batch before it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Commits it.
    Commit,
    /// Fails, and reports that nothing of it was done.
    RollBack,
    /// Fails because the disk is full.
    FindNoRoom,
    /// Commits it, and reports that the outcome is unknown.
    LoseAnswer,
    /// Fails, and reports that the outcome is unknown.
    LoseBatch,
    /// Commits it, and reports that the outcome is not known yet.
    LeaveUnsettled,
    /// Does nothing, because another process has taken over.
    End,
    /// Commits it and then fails at its housekeeping.
    CommitThenBreak,
    /// Commits it, and answers its last write with another kind of answer.
    AnswerAnotherKind,
    /// Commits it, and gives one answer too few.
    AnswerTooFew,
    /// Commits it, and gives one answer too many.
    AnswerTooMany,
    /// Panics.
    Panic,
}

/// The test's control of the engine. While it lives, the engine waits for orders.
pub(crate) struct Puppeteer {
    batches: Receiver<Vec<Write>>,
    orders: Sender<Order>,
    reads: Receiver<()>,
    releases: Sender<Result<(), ReadError>>,
}

type Answers = Vec<Result<Written, StoreError>>;

struct Puppet {
    engine: MemoryEngine,
    batches: Sender<Vec<Write>>,
    orders: Receiver<Order>,
    reads: Sender<()>,
    releases: Arc<Mutex<Receiver<Result<(), ReadError>>>>,
    broken: bool,
}

struct PuppetReader {
    reader: Box<dyn Reader>,
    reads: Sender<()>,
    releases: Arc<Mutex<Receiver<Result<(), ReadError>>>>,
}

impl Puppeteer {
    pub(crate) fn start(limits: Limits) -> (Store, Self) {
        let (batches_in, batches) = channel();
        let (orders, orders_out) = channel();
        let (reads_in, reads) = channel();
        let (releases, releases_out) = channel();
        let puppet = Puppet {
            engine: MemoryEngine::new(limits),
            batches: batches_in,
            orders: orders_out,
            reads: reads_in,
            releases: Arc::new(Mutex::new(releases_out)),
            broken: false,
        };
        (Store::start(puppet, limits).unwrap(), Self { batches, orders, reads, releases })
    }

    /// Waits until the engine is given a batch. It stays there until it is given an order.
    pub(crate) fn next_batch(&self) -> Vec<Write> {
        self.batches.recv_timeout(DEADLINE).unwrap()
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    /// Lets every commit pass while `work` goes on; `work` awaits each of its writes.
    pub(crate) async fn let_through<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::task::yield_now() => {
                    if self.batches.try_recv().is_ok() {
                        self.order(Order::Commit);
                    }
                }
            }
        }
    }

    /// Waits until a reader has begun a read. It stays there until it is released.
    pub(crate) fn next_read(&self) {
        self.reads.recv_timeout(DEADLINE).unwrap();
    }

    pub(crate) fn release_reads(&self, n: usize) {
        (0..n).for_each(|_| self.releases.send(Ok(())).unwrap());
    }

    pub(crate) fn break_a_read(&self, error: ReadError) {
        self.releases.send(Err(error)).unwrap();
    }
}

impl Puppet {
    fn commit_and(&mut self, batch: &[Write], change: impl FnOnce(&mut Answers)) -> Result<Answers, CommitError> {
        let mut answers = self.engine.commit(batch)?;
        change(&mut answers);
        Ok(answers)
    }
}

impl Engine for Puppet {
    fn commit(&mut self, batch: &[Write]) -> Result<Answers, CommitError> {
        // Both ends may be gone when a test is over.
        let _ = self.batches.send(batch.to_vec());
        match self.orders.recv().unwrap_or(Order::Commit) {
            Order::Commit => self.engine.commit(batch),
            Order::CommitThenBreak => {
                self.broken = true;
                self.engine.commit(batch)
            }
            Order::RollBack => Err(CommitError::RolledBack("as ordered".into())),
            Order::FindNoRoom => Err(CommitError::NoRoom("the disk is full".into())),
            Order::LoseAnswer => {
                self.engine.commit(batch)?;
                Err(CommitError::Unknown("fsync failed".into()))
            }
            Order::LeaveUnsettled => {
                self.engine.commit(batch)?;
                Err(CommitError::Unsettled("as ordered".into()))
            }
            Order::End => Err(CommitError::Ended("as ordered".into())),
            Order::LoseBatch => Err(CommitError::Unknown("fsync failed".into())),
            Order::AnswerAnotherKind => self.commit_and(batch, |answers| {
                answers.pop();
                answers.push(Ok(Written::Touched));
            }),
            Order::AnswerTooFew => self.commit_and(batch, |answers| drop(answers.pop())),
            Order::AnswerTooMany => self.commit_and(batch, |answers| answers.push(Ok(Written::Created))),
            Order::Panic => panic!("as ordered"),
        }
    }

    fn set_limits(&mut self, limits: Limits) {
        self.engine.set_limits(limits);
    }

    fn tidy(&mut self) -> Result<(), TidyError> {
        if self.broken { Err(TidyError::Checkpoint("as ordered".into())) } else { Ok(()) }
    }

    fn receipt_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        let reader = self.engine.reader()?;
        Ok(Box::new(PuppetReader { reader, reads: self.reads.clone(), releases: Arc::clone(&self.releases) }))
    }

    fn greatest_id(&self) -> i64 {
        self.engine.greatest_id()
    }

    fn clock(&self) -> ClockRecord {
        self.engine.clock()
    }
}

impl PuppetReader {
    fn wait(&self) -> Result<(), ReadError> {
        let _ = self.reads.send(());
        self.releases.lock().unwrap().recv().unwrap_or(Ok(()))
    }
}

impl Reader for PuppetReader {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, ReadError> {
        self.wait()?;
        self.reader.agent_exists(id)
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, ReadError> {
        self.wait()?;
        self.reader.subscription(id)
    }

    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, ReadError> {
        self.wait()?;
        self.reader.subscription_of_channel(agent, channel)
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, ReadError> {
        self.wait()?;
        self.reader.subscriptions_of(agent)
    }

    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, ReadError> {
        self.wait()?;
        self.reader.pending(agent, after, max, now)
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Lookup>, ReadError> {
        self.wait()?;
        self.reader.messages(ids, now)
    }

    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, ReadError> {
        self.wait()?;
        self.reader.receipt_subscription_exists(id)
    }

    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, ReadError> {
        self.wait()?;
        self.reader.receipts(of, after, max)
    }
}
