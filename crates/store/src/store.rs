//! The handle of the store: it queues operations in the order of the calls, and returns futures of their outcomes.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle, ThreadId};

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use tokio::sync::oneshot;

use crate::committer::{Committer, Job, NewLimits};
use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{OpenError, ReadError, StoreError};
use crate::failure::{self, Failure, FailureReceiver};
use crate::figures::{Figures, Published};
use crate::limits::{Limits, PAGE_MAX};
use crate::model::{
    Appended, ClockRecord, Erased, IdleBounds, IdleRemoved, Lookup, NewMessage, Page, ReceiptPage, Removed,
    Subscription, Swept, UnusedBounds,
};
use crate::queue::{Priority, PushError, Queue};
use crate::readers::{self, ReadJob};
use crate::seldom::Seldom;
use crate::{MemoryEngine, SqliteEngine};

/// A store that is open. Clones share it.
///
/// Every method queues its operation before it returns, so the order of the calls is the order of the commits, even if
/// the [`Answer`] is not awaited. A write's `Ok` means durable, and a later read sees it.
///
/// Dropping the last handle blocks the thread until all queued writes are committed and the files are closed: in async
/// code, await [`Store::close`] first.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writes: Arc<Queue<Job>>,
    reads: Arc<Queue<ReadJob>>,
    failed_reads: Arc<Seldom>,
    failure: FailureReceiver,
    greatest_id: i64,
    clock: ClockRecord,
    recovers: bool,
    published: Published,
    new_limits: NewLimits,
    writer: Option<JoinHandle<()>>,
    threads: Vec<ThreadId>,
}

/// The outcome of a queued operation. Dropping it does not cancel the operation.
#[must_use = "an operation may fail"]
pub struct Answer<T> {
    receiver: Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>,
    /// The error if the store's thread ends without an answer.
    lost: StoreError,
}

impl Store {
    /// A store in memory, which is lost with the process: for tests and trials.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub fn open_memory(limits: Limits) -> Result<Self, OpenError> {
        Self::start(MemoryEngine::new(limits), limits)
    }

    /// The store in the directory `dir`, which is created if it is missing. Blocks while it reads and, if needed,
    /// migrates.
    ///
    /// # Errors
    /// [`OpenError`], above all [`OpenError::InUse`].
    pub fn open_sqlite(dir: &Path, limits: Limits) -> Result<Self, OpenError> {
        Self::start(SqliteEngine::open(dir, limits)?, limits)
    }

    /// The store in a database. Blocks while it connects, and up to six seconds for a process that was killed while it
    /// held the database.
    ///
    /// # Errors
    /// [`OpenError`], above all [`OpenError::Database`] and [`OpenError::DatabaseInUse`].
    #[cfg(feature = "postgres")]
    pub fn open_postgres(options: &crate::PostgresOptions, limits: Limits) -> Result<Self, OpenError> {
        Self::start(crate::PostgresEngine::open(options, limits)?, limits)
    }

    /// Whether the directory `dir` holds a store.
    pub fn exists(dir: &Path) -> bool {
        SqliteEngine::exists(dir)
    }

    /// A store on `engine`.
    ///
    /// # Errors
    /// [`OpenError::Thread`], or that a reader could not be opened.
    pub fn start(engine: impl Engine, limits: Limits) -> Result<Self, OpenError> {
        let (greatest_id, clock, recovers) = (engine.greatest_id(), engine.clock(), engine.recovers());
        let published = Published::new(engine.receipt_room(), engine.contents());
        let (sender, failure) = failure::channel();
        let writes = Queue::new(limits.queued_writes_max, limits.queued_bytes_max);
        let writes = Arc::new(writes.with_deferral(limits.deferral_max, limits.deferred_writes_max));
        let reads = Arc::new(Queue::new(limits.queued_reads_max, usize::MAX));
        let connections = (0..limits.readers.max(1)).map(|_| engine.reader()).collect::<Result<_, _>>()?;
        let readers = readers::spawn(connections, &reads, &sender).map_err(OpenError::Thread)?;
        let mut threads: Vec<_> = readers.iter().map(|reader| reader.thread().id()).collect();
        let (engine, queue) = (Box::new(engine), Arc::clone(&writes));
        let published_there = published.clone();
        let new_limits = NewLimits::default();
        let mut committer = Committer {
            engine,
            queue,
            failure: sender,
            limits,
            new_limits: new_limits.clone(),
            published: published_there,
            rollbacks: Seldom::default(),
            unsettled: Seldom::default(),
        };
        let readers_end = Arc::clone(&reads);
        let run = move || {
            committer.run();
            // The writer's connection closes last, so that it can leave a single file.
            readers_end.close();
            readers.into_iter().for_each(|reader| drop(reader.join()));
        };
        let writer = thread::Builder::new().name("store-writer".into()).spawn(run).map_err(|error| {
            reads.close();
            OpenError::Thread(error)
        })?;
        threads.push(writer.thread().id());
        let failed_reads = Arc::default();
        let writer = Some(writer);
        let inner = Inner {
            writes,
            reads,
            failed_reads,
            failure,
            greatest_id,
            clock,
            recovers,
            published,
            new_limits,
            writer,
            threads,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The greatest id that the store had ever stored when it was opened: the service's mint continues after it.
    pub fn greatest_id(&self) -> i64 {
        self.inner.greatest_id
    }

    /// The last record of the service's clock when the store was opened.
    pub fn clock(&self) -> &ClockRecord {
        &self.inner.clock
    }

    /// Whether what is `Unavailable` now may succeed later without a restart ([`Engine::recovers`]).
    pub fn recovers(&self) -> bool {
        self.inner.recovers
    }

    /// Whether there was room after the last commit for one more message that is not stored (TTL 0) and wants a receipt.
    /// The caller asks before it accepts one: [`Store::add_receipt`] does not refuse for lack of room, until the disk is
    /// full.
    ///
    /// # Errors
    /// `NoRoom` or `StoreFull`.
    pub fn receipt_room(&self) -> Result<(), StoreError> {
        self.inner.published.receipt_room()
    }

    /// What the store knows of itself, for an operator.
    pub fn figures(&self) -> Figures {
        self.inner.published.figures(self.inner.writes.len())
    }

    /// Replaces the bounds of what may be stored: every write that is queued from now on is judged by them. Nothing that
    /// is stored goes. The bounds of queues, batches, threads and files stay as they were when the store was opened.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.new_limits.set(limits);
    }

    /// Records the service's clock.
    pub fn note_clock(&self, record: ClockRecord) -> Answer<()> {
        self.write(Write::NoteClock(record), Written::noted)
    }

    /// Creates an agent, or refuses with `IdTaken`.
    pub fn create_agent(&self, id: AgentId, served: UnixMs) -> Answer<()> {
        self.write(Write::CreateAgent { id, served }, Written::created)
    }

    /// Creates a subscription, or refuses with `NoAgent`, `IdTaken`, `ChannelTaken` or `TooManySubscriptions`.
    pub fn create_subscription(&self, subscription: Subscription) -> Answer<()> {
        self.write(Write::CreateSubscription(subscription), Written::created)
    }

    /// Stores a message, which replaces the one with the same topic on the same subscription.
    ///
    /// Refuses with `NoSubscription`, `IdTaken`, `NoReceiptSubscription`, `ReceiptsFull` or `QuotaExceeded`. Then
    /// nothing has changed, and the message that it would have replaced is still there.
    pub fn append(&self, message: NewMessage) -> Answer<Appended> {
        self.write(Write::Append(message), Written::appended)
    }

    /// Removes a message of this agent. If it wanted a receipt, the receipt has this `outcome`.
    ///
    /// An expired message no longer exists: its receipt has [`Outcome::Expired`].
    pub fn erase(&self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Answer<Erased> {
        self.write(Write::Erase { id, agent, outcome, now }, Written::erased)
    }

    /// Like [`Store::erase`], for an acknowledgement that no caller waits for: it waits up to `Limits::deferral_max`
    /// for another write to share the commit. If a crash prevents it, the message is delivered again.
    pub fn erase_deferred(&self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Answer<Erased> {
        self.write_with(Priority::Deferred, Write::Erase { id, agent, outcome, now }, Written::erased)
    }

    /// Removes a subscription of this agent and its messages, whose outcome is [`Outcome::Unsubscribed`].
    ///
    /// An agent that loses its last subscription counts as seen now, whatever `Limits::seen_precision_ms`.
    pub fn delete_subscription(
        &self,
        agent: AgentId,
        id: SubscriptionId,
        now: UnixMs,
        served: UnixMs,
    ) -> Answer<Removed> {
        self.write(Write::DeleteSubscription { id, agent, now, served }, Written::removed)
    }

    /// Removes an agent, its subscriptions and their messages, whose outcome is [`Outcome::Unsubscribed`].
    pub fn delete_agent(&self, id: AgentId, now: UnixMs) -> Answer<Removed> {
        self.write(Write::DeleteAgent { id, now }, Written::removed)
    }

    /// Deletes up to `max` expired messages (at most 1,000): those that want a receipt at once, with the outcome
    /// [`Outcome::Expired`], and the others about ten minutes later.
    pub fn sweep(&self, now: UnixMs, max: u32) -> Answer<Swept> {
        self.write(Write::Sweep { now, max }, Written::swept)
    }

    /// Creates a receipt subscription, or refuses with `IdTaken`.
    pub fn create_receipt_subscription(&self, id: ReceiptSubscriptionId, served: UnixMs) -> Answer<()> {
        self.write(Write::CreateReceiptSubscription { id, served }, Written::created)
    }

    /// Adds the receipt of a message that was never stored, or refuses with `NoReceiptSubscription` or
    /// `ReceiptsFull`. The caller adds only one for each message.
    pub fn add_receipt(
        &self,
        receipt_subscription: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        now: UnixMs,
    ) -> Answer<()> {
        self.write(Write::AddReceipt { receipt_subscription, message, agent, outcome, now }, Written::created)
    }

    /// Removes the receipts up to the number `up_to`, because the application server has them, and records that the
    /// receipt subscription is in use. `existed`: whether the receipt subscription exists.
    pub fn take_receipts(
        &self,
        receipt_subscription: ReceiptSubscriptionId,
        up_to: i64,
        served: UnixMs,
    ) -> Answer<Erased> {
        self.write(Write::TakeReceipts { receipt_subscription, up_to, served }, Written::erased)
    }

    /// Removes a receipt subscription and its receipts. Messages that named it stay and get no receipt.
    pub fn delete_receipt_subscription(&self, id: ReceiptSubscriptionId) -> Answer<Erased> {
        self.write(Write::DeleteReceiptSubscription { id }, Written::erased)
    }

    /// Records that an agent is in use, or refuses with `NoAgent`. Writes nothing within `Limits::seen_precision_ms` of
    /// the last record, and is deferred like [`Store::erase_deferred`].
    pub fn touch(&self, agent: AgentId, served: UnixMs) -> Answer<()> {
        self.write_with(Priority::Deferred, Write::Touch { agent, served }, Written::touched)
    }

    /// Removes agents and receipt subscriptions that were idle for long. The agents' messages end with
    /// [`Outcome::Unsubscribed`].
    pub fn expire_idle(&self, bounds: IdleBounds) -> Answer<IdleRemoved> {
        self.write(Write::ExpireIdle(bounds), Written::idle_removed)
    }

    /// Removes agents without a subscription, and what was never used where its share of the store is nearly full.
    pub fn expire_unused(&self, bounds: UnusedBounds) -> Answer<IdleRemoved> {
        self.write(Write::ExpireUnused(bounds), Written::idle_removed)
    }

    /// Whether the agent exists.
    pub fn agent_exists(&self, id: AgentId) -> Answer<bool> {
        self.read(move |reader| reader.agent_exists(id))
    }

    /// The subscription, if it exists.
    pub fn subscription(&self, id: SubscriptionId) -> Answer<Option<Subscription>> {
        self.read(move |reader| reader.subscription(id))
    }

    /// The agent's subscription with this channel, if there is one.
    pub fn subscription_of_channel(&self, agent: AgentId, channel: String) -> Answer<Option<Subscription>> {
        self.read(move |reader| reader.subscription_of_channel(agent, &channel))
    }

    /// All subscriptions of an agent, oldest first.
    pub fn subscriptions_of(&self, agent: AgentId) -> Answer<Vec<Subscription>> {
        self.read(move |reader| reader.subscriptions_of(agent))
    }

    /// Up to `max` (at most 1,000) unexpired messages of an agent with an id above `after`, oldest first, and the
    /// damaged ones among them. A page that has more after it is full.
    pub fn pending(&self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Answer<Page> {
        self.read(move |reader| {
            let page = reader.pending(agent, after, max, now)?;
            debug_assert!(page.is_sorted_after(after), "a page has the ids above `after`, in their order");
            debug_assert!(page.entries.len() <= max.min(PAGE_MAX) as usize, "a page is bounded");
            Ok(page)
        })
    }

    /// What is stored under these ids, in their order. A message that has expired is absent.
    pub fn messages(&self, ids: Vec<MessageId>, now: UnixMs) -> Answer<Vec<Lookup>> {
        self.read(move |reader| {
            let found = reader.messages(&ids, now)?;
            debug_assert_eq!(found.len(), ids.len(), "each id has an answer");
            Ok(found)
        })
    }

    /// Whether the receipt subscription exists.
    pub fn receipt_subscription_exists(&self, id: ReceiptSubscriptionId) -> Answer<bool> {
        self.read(move |reader| reader.receipt_subscription_exists(id))
    }

    /// Up to `max` (at most 1,000) untaken receipts with a number above `after`, oldest first; none if the receipt
    /// subscription does not exist. A page that has more after it is full.
    pub fn receipts(&self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Answer<ReceiptPage> {
        self.read(move |reader| {
            let page = reader.receipts(of, after, max)?;
            debug_assert!(page.is_sorted_after(after), "a page has the numbers above `after`, in their order");
            debug_assert!(page.receipts.len() <= max.min(PAGE_MAX) as usize, "a page is bounded");
            Ok(page)
        })
    }

    /// Completes when the store has stopped because of an error, and never otherwise. The process should exit then.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + use<> {
        self.inner.failure.clone().failed()
    }

    /// Refuses further operations from all handles, commits what is queued and closes the files.
    ///
    /// # Errors
    /// [`Failure`] if the store stopped before all writes were committed.
    pub async fn close(&self) -> Result<(), Failure> {
        self.inner.close();
        self.inner.failure.clone().ended().await
    }

    fn write<T: Send + 'static>(&self, write: Write, open: fn(Written) -> Option<T>) -> Answer<T> {
        self.write_with(Priority::Immediate, write, open)
    }

    fn write_with<T: Send + 'static>(
        &self,
        priority: Priority,
        write: Write,
        open: fn(Written) -> Option<T>,
    ) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let bytes = write.held_bytes();
        let reply = Box::new(move |outcome: Result<Written, StoreError>| {
            let open = |written| open(written).expect("the committer checked the kind of each answer");
            // The caller may have stopped waiting, which does not undo the write.
            let _ = sender.send(outcome.map(open));
        });
        let pushed = self.inner.writes.push(Job { write, reply }, bytes, priority);
        Answer { receiver: pushed.map(|()| receiver).map_err(StoreError::from), lost: StoreError::Unknown }
    }

    fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut dyn Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let failed_reads = Arc::clone(&self.inner.failed_reads);
        let job = Box::new(move |reader: &mut dyn Reader| {
            if sender.is_closed() {
                return;
            }
            let outcome = run(reader).map_err(|error| {
                if let Some(times) = failed_reads.count(1) {
                    tracing::error!(reason = %error, times, "a read of the store failed");
                }
                StoreError::from(error)
            });
            let _ = sender.send(outcome);
        });
        let pushed = self.inner.reads.push(job, 0, Priority::Immediate);
        Answer { receiver: pushed.map(|()| receiver).map_err(StoreError::from), lost: StoreError::Unavailable }
    }
}

impl Inner {
    fn close(&self) {
        self.writes.close();
        self.reads.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
        // An answer can drop the task with the last handle on a thread of the store, which must not join itself.
        if !self.threads.contains(&thread::current().id())
            && let Some(writer) = self.writer.take()
        {
            // A panic was already declared as a failure.
            let _ = writer.join();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = self.lost;
        match &mut self.receiver {
            // The thread dropped the sender without an answer: it has ended.
            Ok(receiver) => Pin::new(receiver).poll(cx).map(|sent| sent.unwrap_or(Err(lost))),
            Err(error) => Poll::Ready(Err(*error)),
        }
    }
}

impl From<PushError> for StoreError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::Overloaded,
            PushError::Closed => Self::Unavailable,
        }
    }
}

/// The content of each kind of answer; `None` for one of another kind.
impl Written {
    fn created(self) -> Option<()> {
        matches!(self, Self::Created).then_some(())
    }

    fn appended(self) -> Option<Appended> {
        if let Self::Appended(appended) = self { Some(appended) } else { None }
    }

    fn erased(self) -> Option<Erased> {
        if let Self::Erased(erased) = self { Some(erased) } else { None }
    }

    fn removed(self) -> Option<Removed> {
        if let Self::Removed(removed) = self { Some(removed) } else { None }
    }

    fn touched(self) -> Option<()> {
        matches!(self, Self::Touched).then_some(())
    }

    fn noted(self) -> Option<()> {
        matches!(self, Self::Noted).then_some(())
    }

    fn idle_removed(self) -> Option<IdleRemoved> {
        if let Self::IdleRemoved(removed) = self { Some(removed) } else { None }
    }

    fn swept(self) -> Option<Swept> {
        if let Self::Swept(swept) = self { Some(swept) } else { None }
    }
}
