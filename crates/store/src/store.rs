//! The handle of the store: it takes operations in, in the order of the calls, and gives out futures of their outcome.

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

use crate::committer::{Committer, Done, Job};
use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{OpenError, StoreError};
use crate::failure::{self, Failure, FailureReceiver};
use crate::limits::Limits;
use crate::model::{
    Appended, Erased, IdleBounds, IdleRemoved, NewMessage, Page, ReceiptPage, Removed, StoredMessage, Subscription,
    Swept,
};
use crate::queue::{Haste, PushError, Queue};
use crate::readers::{self, ReadJob};
use crate::{MemoryEngine, SqliteEngine};

/// A store that is open. Clones share it.
///
/// Every method queues its operation before it returns, so the order of the calls is the order of the commits; the
/// [`Answer`] need not be awaited for that. A write's `Ok` means durable, and a read that is asked for after it sees it.
///
/// Dropping the last handle waits until everything queued is committed and the files are closed, which blocks the
/// thread: in async code, await [`Store::close`] first.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writes: Arc<Queue<Job>>,
    reads: Arc<Queue<ReadJob>>,
    failure: FailureReceiver,
    greatest_id: i64,
    writer: Option<JoinHandle<()>>,
    threads: Vec<ThreadId>,
}

/// The outcome of an operation that is under way. Dropping it does not call the operation off.
#[must_use = "an operation may fail"]
pub struct Answer<T> {
    receiver: Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>,
    /// What it means that the other side went away without an answer.
    lost: StoreError,
}

impl Store {
    /// A store that forgets everything at the end of the process, for tests and for trying things out.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub fn open_memory(limits: Limits) -> Result<Self, OpenError> {
        Self::start(MemoryEngine::new(limits), limits)
    }

    /// The store in the directory `dir`, made if it is missing. Blocks while it reads and, if need be, migrates.
    ///
    /// # Errors
    /// [`OpenError`], above all [`OpenError::InUse`].
    pub fn open_sqlite(dir: &Path, limits: Limits) -> Result<Self, OpenError> {
        Self::start(SqliteEngine::open(dir, limits)?, limits)
    }

    /// A store on `engine`.
    ///
    /// # Errors
    /// [`OpenError::Thread`], or that a reader could not be opened.
    pub fn start(engine: impl Engine, limits: Limits) -> Result<Self, OpenError> {
        let greatest_id = engine.greatest_id();
        let (sender, failure) = failure::channel();
        let writes = Queue::new(limits.queued_writes_max, limits.queued_bytes_max);
        let writes = Arc::new(writes.with_patience(limits.patience, limits.patient_writes_max));
        let reads = Arc::new(Queue::new(limits.queued_reads_max, usize::MAX));
        let connections = (0..limits.readers.max(1)).map(|_| engine.reader()).collect::<Result<_, _>>()?;
        let readers = readers::spawn(connections, &reads, &sender).map_err(OpenError::Thread)?;
        let mut threads: Vec<_> = readers.iter().map(|reader| reader.thread().id()).collect();
        let (engine, queue) = (Box::new(engine), Arc::clone(&writes));
        let mut committer = Committer { engine, queue, failure: sender, limits, done: Done::default() };
        let readers_end = Arc::clone(&reads);
        let run = move || {
            committer.run();
            // The writer's connection is the last to be closed, so that it can leave one tidy file behind.
            readers_end.close();
            readers.into_iter().for_each(|reader| drop(reader.join()));
        };
        let writer = thread::Builder::new().name("store-writer".into()).spawn(run).map_err(|error| {
            reads.close();
            OpenError::Thread(error)
        })?;
        threads.push(writer.thread().id());
        let inner = Inner { writes, reads, failure, greatest_id, writer: Some(writer), threads };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The greatest id that the store had ever kept when it was opened: the service's mint continues after it.
    pub fn greatest_id(&self) -> i64 {
        self.inner.greatest_id
    }

    /// Makes an agent, or refuses with `IdTaken`.
    pub fn create_agent(&self, id: AgentId, now: UnixMs) -> Answer<()> {
        self.write(Write::CreateAgent { id, now }, Written::created)
    }

    /// Makes a subscription, or refuses with `NoAgent`, `IdTaken`, `ChannelTaken` or `TooManySubscriptions`.
    pub fn create_subscription(&self, subscription: Subscription) -> Answer<()> {
        self.write(Write::CreateSubscription(subscription), Written::created)
    }

    /// Keeps a message, in place of the one with the same topic on the same subscription.
    ///
    /// Refuses with `NoSubscription`, `IdTaken`, `NoReceiptSubscription`, `ReceiptsFull` or `QuotaExceeded`; then
    /// nothing has changed, and what it would have replaced is still there.
    pub fn append(&self, message: NewMessage) -> Answer<Appended> {
        self.write(Write::Append(message), Written::appended)
    }

    /// Removes a message of this agent; if it wanted a receipt, that says `outcome`.
    ///
    /// A message that has expired did not exist any more: its receipt says [`Outcome::Expired`].
    pub fn erase(&self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Answer<Erased> {
        self.write(Write::Erase { id, agent, outcome, now }, Written::erased)
    }

    /// The same for a message that its agent has, when nobody waits to hear so: it waits up to `Limits::patience` for
    /// a write to share the commit with. A message whose erasure a crash prevents is delivered again.
    pub fn erase_patiently(&self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Answer<Erased> {
        self.write_with(Haste::Patient, Write::Erase { id, agent, outcome, now }, Written::erased)
    }

    /// Removes a subscription of this agent and the messages that were sent to it: [`Outcome::Unsubscribed`].
    pub fn delete_subscription(&self, agent: AgentId, id: SubscriptionId, now: UnixMs) -> Answer<Removed> {
        self.write(Write::DeleteSubscription { id, agent, now }, Written::removed)
    }

    /// Removes an agent, its subscriptions and their messages: [`Outcome::Unsubscribed`].
    pub fn delete_agent(&self, id: AgentId, now: UnixMs) -> Answer<Removed> {
        self.write(Write::DeleteAgent { id, now }, Written::removed)
    }

    /// Frees the room of up to `max` expired messages (at most 1,000): of those that want a receipt at once, and that
    /// receipt says [`Outcome::Expired`]; of the others some ten minutes later.
    pub fn sweep(&self, now: UnixMs, max: u32) -> Answer<Swept> {
        self.write(Write::Sweep { now, max }, Written::swept)
    }

    /// Makes a receipt subscription, or refuses with `IdTaken`.
    pub fn create_receipt_subscription(&self, id: ReceiptSubscriptionId, now: UnixMs) -> Answer<()> {
        self.write(Write::CreateReceiptSubscription { id, now }, Written::created)
    }

    /// Adds the receipt of a message that was never stored, or refuses with `NoReceiptSubscription` or
    /// `ReceiptsFull`. That it happens once for each message is up to the caller.
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

    /// Removes the receipts up to the number `up_to`, because the application server has them, and notes that the
    /// receipt subscription is in use. `existed`: there is such a receipt subscription.
    pub fn take_receipts(
        &self,
        receipt_subscription: ReceiptSubscriptionId,
        up_to: i64,
        now: UnixMs,
    ) -> Answer<Erased> {
        self.write(Write::TakeReceipts { receipt_subscription, up_to, now }, Written::erased)
    }

    /// Removes a receipt subscription and its receipts. Messages that named it go on without.
    pub fn delete_receipt_subscription(&self, id: ReceiptSubscriptionId) -> Answer<Erased> {
        self.write(Write::DeleteReceiptSubscription { id }, Written::erased)
    }

    /// Notes that an agent is in use, or refuses with `NoAgent`. Cheap when that is known already
    /// (`Limits::seen_precision_ms`), and it waits for company like [`Store::erase_patiently`].
    pub fn touch(&self, agent: AgentId, now: UnixMs) -> Answer<()> {
        self.write_with(Haste::Patient, Write::Touch { agent, now }, Written::touched)
    }

    /// Removes agents and receipt subscriptions that nobody has used for long; messages that waited for the agents
    /// have [`Outcome::Unsubscribed`].
    pub fn expire_idle(&self, bounds: IdleBounds) -> Answer<IdleRemoved> {
        self.write(Write::ExpireIdle(bounds), Written::idle_removed)
    }

    /// Whether the agent exists.
    pub fn agent_exists(&self, id: AgentId) -> Answer<bool> {
        self.read(move |reader| reader.agent_exists(id))
    }

    /// The subscription, if it exists.
    pub fn subscription(&self, id: SubscriptionId) -> Answer<Option<Subscription>> {
        self.read(move |reader| reader.subscription(id))
    }

    /// The subscription that the agent calls `channel`, if there is one.
    pub fn subscription_of_channel(&self, agent: AgentId, channel: String) -> Answer<Option<Subscription>> {
        self.read(move |reader| reader.subscription_of_channel(agent, &channel))
    }

    /// All subscriptions of an agent, oldest first.
    pub fn subscriptions_of(&self, agent: AgentId) -> Answer<Vec<Subscription>> {
        self.read(move |reader| reader.subscriptions_of(agent))
    }

    /// Up to `max` (at most 1,000) unexpired messages of an agent with an id above `after`, oldest first.
    pub fn pending(&self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Answer<Page> {
        self.read(move |reader| reader.pending(agent, after, max, now))
    }

    /// The messages with these ids, in their order; `None` where it is not stored or has expired.
    pub fn messages(&self, ids: Vec<MessageId>, now: UnixMs) -> Answer<Vec<Option<StoredMessage>>> {
        self.read(move |reader| reader.messages(&ids, now))
    }

    /// Whether the receipt subscription exists.
    pub fn receipt_subscription_exists(&self, id: ReceiptSubscriptionId) -> Answer<bool> {
        self.read(move |reader| reader.receipt_subscription_exists(id))
    }

    /// Up to `max` (at most 1,000) receipts that were not taken with a number above `after`, oldest first; none if
    /// there is no such receipt subscription.
    pub fn receipts(&self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Answer<ReceiptPage> {
        self.read(move |reader| reader.receipts(of, after, max))
    }

    /// Completes when the store has stopped because of an error, and never otherwise. The process should exit then.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + use<> {
        self.inner.failure.clone().failed()
    }

    /// Takes no more operations from any handle, commits what is queued and closes the files.
    ///
    /// # Errors
    /// [`Failure`] if the store stopped before all was committed.
    pub async fn close(&self) -> Result<(), Failure> {
        self.inner.close();
        self.inner.failure.clone().ended().await
    }

    fn write<T: Send + 'static>(&self, write: Write, open: fn(Written) -> Result<T, StoreError>) -> Answer<T> {
        self.write_with(Haste::Urgent, write, open)
    }

    fn write_with<T: Send + 'static>(
        &self,
        haste: Haste,
        write: Write,
        open: fn(Written) -> Result<T, StoreError>,
    ) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let bytes = write.held_bytes();
        let reply = Box::new(move |outcome: Result<Written, StoreError>| {
            // Nobody may be waiting any more, which does not undo the write.
            let _ = sender.send(outcome.and_then(open));
        });
        let pushed = self.inner.writes.push(Job { write, reply }, bytes, haste);
        Answer { receiver: pushed.map(|()| receiver).map_err(StoreError::from), lost: StoreError::Unknown }
    }

    fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut dyn Reader) -> Result<T, String> + Send + 'static,
    ) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move |reader: &mut dyn Reader| {
            if sender.is_closed() {
                return;
            }
            let outcome = run(reader).map_err(|reason| {
                tracing::error!(reason, "a read of the store failed");
                StoreError::Unavailable
            });
            let _ = sender.send(outcome);
        });
        let pushed = self.inner.reads.push(job, 0, Haste::Urgent);
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
        // An answer can drop the task that held the last handle, on the store's own thread: that must not join itself.
        if !self.threads.contains(&thread::current().id())
            && let Some(writer) = self.writer.take()
        {
            // A panic has been declared as a failure already.
            let _ = writer.join();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = self.lost;
        match &mut self.receiver {
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

/// What a kind of write answers. An engine that answers another kind did who knows what.
impl Written {
    fn created(self) -> Result<(), StoreError> {
        if let Self::Created = self { Ok(()) } else { Err(StoreError::Unknown) }
    }

    fn appended(self) -> Result<Appended, StoreError> {
        if let Self::Appended(appended) = self { Ok(appended) } else { Err(StoreError::Unknown) }
    }

    fn erased(self) -> Result<Erased, StoreError> {
        if let Self::Erased(erased) = self { Ok(erased) } else { Err(StoreError::Unknown) }
    }

    fn removed(self) -> Result<Removed, StoreError> {
        if let Self::Removed(removed) = self { Ok(removed) } else { Err(StoreError::Unknown) }
    }

    fn touched(self) -> Result<(), StoreError> {
        if let Self::Touched = self { Ok(()) } else { Err(StoreError::Unknown) }
    }

    fn idle_removed(self) -> Result<IdleRemoved, StoreError> {
        if let Self::IdleRemoved(removed) = self { Ok(removed) } else { Err(StoreError::Unknown) }
    }

    fn swept(self) -> Result<Swept, StoreError> {
        if let Self::Swept(swept) = self { Ok(swept) } else { Err(StoreError::Unknown) }
    }
}
