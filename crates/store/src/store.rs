//! The handle of the store: it queues operations in the order of the calls, and returns futures of their outcomes.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::cells::{self, CELLS_MAX, Cell, CellPlan, ReceiptPosition, Routes};
use crate::engine::{Engine, Write, Written};
use crate::error::{OpenError, StoreError};
use crate::failure::{self, Failure, FailureReceiver};
use crate::figures::{Figures, Published};
use crate::limits::{Held, Limits, PAGE_MAX, RECEIPT_BYTES};
use crate::model::{
    Appended, ClockRecord, Erased, IdleBounds, IdleRemoved, Lookup, NewMessage, Page, ReceiptPage, Removed,
    Subscription, Swept, UnusedBounds,
};
use crate::queue::Priority;
use crate::{MemoryEngine, SqliteEngine};

/// A store that is open. Clones share it.
///
/// Every method queues its operation before it returns, so the order of the calls is the order of the commits in each
/// cell, even if the [`Answer`] is not awaited. A write's `Ok` means durable, and a later read sees it.
///
/// Dropping the last handle blocks the thread until all queued writes are committed and the files are closed: in async
/// code, await [`Store::close`] first.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    first: Cell,
    others: Vec<Cell>,
    /// `None`: there is one cell.
    routes: Option<Arc<Routes>>,
    failure: FailureReceiver,
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

    /// Whether the store of a service with this state directory has several cells.
    pub fn has_cells(state_dir: &Path) -> bool {
        cells::has_plan(state_dir)
    }

    /// A store on `engine`.
    ///
    /// # Errors
    /// [`OpenError::Thread`], or that a reader could not be opened.
    pub fn start(engine: impl Engine, limits: Limits) -> Result<Self, OpenError> {
        Self::start_all(vec![Box::new(engine)], None, limits)
    }

    /// A store of several cells, each on an engine, to which `plan` distributes the agents. The bounds of what is stored
    /// are those of all cells together: each may hold what the others leave. The bounds of writes that wait are divided.
    ///
    /// # Errors
    /// [`OpenError::Thread`], or that a reader could not be opened.
    ///
    /// # Panics
    /// Without an engine, with more than [`CELLS_MAX`], or if the plan names a cell that has none.
    pub fn start_cells(engines: Vec<Box<dyn Engine>>, plan: CellPlan, limits: Limits) -> Result<Self, OpenError> {
        assert!((1..=CELLS_MAX).contains(&engines.len()), "a store has 1 to {CELLS_MAX} cells");
        assert!(plan.cells() <= engines.len(), "each cell of the plan has an engine");
        let plan = (engines.len() > 1).then_some(plan);
        Self::start_all(engines, plan, limits)
    }

    fn start_all(engines: Vec<Box<dyn Engine>>, plan: Option<CellPlan>, limits: Limits) -> Result<Self, OpenError> {
        let ((sender, failure), count) = (failure::channel(), engines.len());
        let [queued_writes_max, queued_bytes_max] =
            [limits.queued_writes_max, limits.queued_bytes_max].map(|max| max.div_ceil(count));
        let limits = Limits { queued_writes_max, queued_bytes_max, ..limits };
        let publish = |engine: &dyn Engine| Published::new(engine.receipt_room(), engine.contents());
        let published: Vec<_> = engines.iter().map(|engine| publish(&**engine)).collect();
        let mut cells = Vec::with_capacity(count);
        for (place, engine) in engines.into_iter().enumerate() {
            let others = published.iter().enumerate().filter(|(other, _)| *other != place);
            let others = others.map(|(_, other)| other.clone()).collect();
            cells.push(Cell::start(engine, published[place].clone(), others, limits, sender.clone())?);
        }
        let queues = cells.iter().map(|cell| Arc::clone(&cell.writes)).collect();
        let routes = plan.map(|plan| Arc::new(Routes::new(plan, queues, &limits)));
        let first = cells.remove(0);
        Ok(Self { inner: Arc::new(Inner { first, others: cells, routes, failure }) })
    }

    /// The greatest id that the store had ever stored when it was opened: the service's mint continues after it.
    pub fn greatest_id(&self) -> i64 {
        self.inner.cells().map(|cell| cell.greatest_id).max().expect("there is a first cell")
    }

    /// The last record of the service's clock when the store was opened.
    pub fn clock(&self) -> &ClockRecord {
        &self.inner.first.clock
    }

    /// Whether what is `Unavailable` for this agent may succeed later without a restart ([`Engine::recovers`]).
    pub fn recovers(&self, agent: AgentId) -> bool {
        self.inner.of(agent).recovers
    }

    /// Whether that is so for some agents.
    pub fn recovers_somewhere(&self) -> bool {
        self.inner.cells().any(|cell| cell.recovers)
    }

    /// Whether there was room after the last commit for one more message that is not stored (TTL 0) and wants a receipt.
    /// The caller asks before it accepts one: [`Store::add_receipt`] does not refuse for lack of room, until the disk is
    /// full. Of several cells, each has room.
    ///
    /// # Errors
    /// `NoRoom` or `StoreFull`.
    pub fn receipt_room(&self) -> Result<(), StoreError> {
        self.inner.cells().try_for_each(|cell| self.inner.receipt_room(cell))
    }

    /// The same for the receipt subscription `id`.
    ///
    /// # Errors
    /// `NoRoom` or `StoreFull`.
    pub fn receipt_room_of(&self, id: ReceiptSubscriptionId) -> Result<(), StoreError> {
        self.inner.receipt_room(self.inner.home(id))
    }

    /// What the store knows of itself, for an operator: all cells together.
    pub fn figures(&self) -> Figures {
        self.cell_figures().reduce(|sum, cell| sum.plus(&cell)).expect("there is a first cell")
    }

    /// The same of each cell, in their order.
    pub fn cell_figures(&self) -> impl Iterator<Item = Figures> {
        self.inner.cells().map(|cell| cell.published.figures(cell.writes.len()))
    }

    /// Replaces the bounds of what may be stored: every write that is queued from now on is judged by them. Nothing that
    /// is stored goes. The bounds of queues, batches, threads and files stay as they were when the store was opened.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.cells().for_each(|cell| cell.new_limits.set(limits));
        if let Some(routes) = &self.inner.routes {
            routes.set_limits(&limits);
        }
    }

    /// Records the service's clock.
    pub fn note_clock(&self, record: ClockRecord) -> Answer<()> {
        self.inner.first.note_clock(record)
    }

    /// The same in every cell, in their order: shows whether each commits.
    pub fn note_clock_in_each(&self, record: &ClockRecord) -> Vec<Answer<()>> {
        self.inner.cells().map(|cell| cell.note_clock(record.clone())).collect()
    }

    /// Creates an agent, or refuses with `IdTaken`.
    pub fn create_agent(&self, id: AgentId, served: UnixMs) -> Answer<()> {
        self.write(id, Write::CreateAgent { id, served }, Written::created)
    }

    /// Creates a subscription, or refuses with `NoAgent`, `IdTaken`, `ChannelTaken` or `TooManySubscriptions`.
    pub fn create_subscription(&self, subscription: Subscription) -> Answer<()> {
        self.write(subscription.agent, Write::CreateSubscription(subscription), Written::created)
    }

    /// Stores a message, which replaces the one with the same topic on the same subscription.
    ///
    /// Refuses with `NoSubscription`, `IdTaken`, `NoReceiptSubscription`, `ReceiptsFull` or `QuotaExceeded`. Then
    /// nothing has changed, and the message that it would have replaced is still there. A receipt subscription must have
    /// joined the agent's cell before ([`Store::join_receipts`]).
    pub fn append(&self, message: NewMessage) -> Answer<Appended> {
        self.write(message.agent, Write::Append(message), Written::appended)
    }

    /// Removes a message of this agent. If it wanted a receipt, the receipt has this `outcome`.
    ///
    /// An expired message no longer exists: its receipt has [`Outcome::Expired`].
    pub fn erase(&self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Answer<Erased> {
        self.write(agent, Write::Erase { id, agent, outcome, now }, Written::erased)
    }

    /// Like [`Store::erase`], for an acknowledgement that no caller waits for: it waits up to `Limits::deferral_max`
    /// for another write to share the commit. If a crash prevents it, the message is delivered again.
    pub fn erase_deferred(&self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Answer<Erased> {
        let write = Write::Erase { id, agent, outcome, now };
        self.inner.of(agent).write(Priority::Deferred, write, Written::erased)
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
        self.write(agent, Write::DeleteSubscription { id, agent, now, served }, Written::removed)
    }

    /// Removes an agent, its subscriptions and their messages, whose outcome is [`Outcome::Unsubscribed`].
    pub fn delete_agent(&self, id: AgentId, now: UnixMs) -> Answer<Removed> {
        self.write(id, Write::DeleteAgent { id, now }, Written::removed)
    }

    /// Deletes up to `max` expired messages (at most 1,000): those that want a receipt at once, with the outcome
    /// [`Outcome::Expired`], and the others about ten minutes later.
    pub fn sweep(&self, now: UnixMs, max: u32) -> Answer<Swept> {
        let swept = |cell: &Cell| cell.write(Priority::Immediate, Write::Sweep { now, max }, Written::swept);
        cells::merged(self.inner.cells().map(swept), Swept::merge)
    }

    /// Creates a receipt subscription, or refuses with `IdTaken`.
    pub fn create_receipt_subscription(&self, id: ReceiptSubscriptionId, served: UnixMs) -> Answer<()> {
        let write = Write::CreateReceiptSubscription { id, served };
        self.inner.home(id).write(Priority::Immediate, write, Written::created)
    }

    /// Makes a receipt subscription ready for messages of this agent, or refuses with `NoReceiptSubscription` or
    /// `StoreFull`. With one cell there is nothing to do. With several, the outcome and the receipt of a message are one
    /// commit of its agent's cell, so the receipt subscription needs a row there; the answer is awaited before the message
    /// is appended.
    ///
    /// It holds for an hour of service, and is checked again by the next call.
    pub fn join_receipts(&self, agent: AgentId, id: ReceiptSubscriptionId, served: UnixMs) -> Option<Answer<()>> {
        Some(self.inner.routes.as_ref()?.join(agent, id, served))
    }

    /// Whether messages of this agent need no [`Store::join_receipts`] for a receipt subscription with the id `id`.
    pub fn is_home(&self, agent: AgentId, id: ReceiptSubscriptionId) -> bool {
        self.inner.routes.as_ref().is_none_or(|routes| routes.of(agent) == routes.home(id))
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
        let write = Write::AddReceipt { receipt_subscription, message, agent, outcome, now };
        self.inner.home(receipt_subscription).write(Priority::Immediate, write, Written::created)
    }

    /// Removes the receipts up to the position `up_to`, because the application server has them, and records that the
    /// receipt subscription is in use. `existed`: whether the receipt subscription exists.
    pub fn take_receipts(
        &self,
        receipt_subscription: ReceiptSubscriptionId,
        up_to: impl Into<ReceiptPosition>,
        served: UnixMs,
    ) -> Answer<Erased> {
        let (id, position) = (receipt_subscription, up_to.into());
        let take = |cell: &Cell, up_to| {
            let write = Write::TakeReceipts { receipt_subscription, up_to, served };
            cell.write(Priority::Immediate, write, Written::erased)
        };
        let Some(routes) = &self.inner.routes else { return take(&self.inner.first, position.in_cell(0)) };
        let home = routes.home(id);
        // Where nothing is taken, a use is recorded only if nothing is taken anywhere.
        let is_concerned = |cell: usize| cell != home && (position.in_cell(cell) > 0 || position.is_start());
        let others = self.inner.cells().enumerate().filter(|(cell, _)| is_concerned(*cell));
        let others: Vec<_> = others.map(|(cell, at)| take(at, position.in_cell(cell))).collect();
        let taken = take(self.inner.home(id), position.in_cell(home));
        Answer::joined(async move {
            for other in others {
                other.await?;
            }
            taken.await
        })
    }

    /// Removes a receipt subscription and its receipts. Messages that named it stay and get no receipt.
    pub fn delete_receipt_subscription(&self, id: ReceiptSubscriptionId) -> Answer<Erased> {
        let (home, write) = (self.inner.home(id), Write::DeleteReceiptSubscription { id });
        let Some(routes) = self.inner.routes.clone() else {
            return home.write(Priority::Immediate, write, Written::erased);
        };
        let (token, elsewhere) = oneshot::channel();
        let removed = home.write_then(Priority::Immediate, write, Written::erased, move |removed| {
            if removed.is_ok() {
                routes.removed_at_home(id, &Arc::new(token));
            }
        });
        Answer::joined(async move {
            let removed = removed.await;
            // The other cells drop the token.
            let _ = elsewhere.await;
            removed
        })
    }

    /// Records that an agent is in use, or refuses with `NoAgent`. Writes nothing within `Limits::seen_precision_ms` of
    /// the last record, and is deferred like [`Store::erase_deferred`].
    pub fn touch(&self, agent: AgentId, served: UnixMs) -> Answer<()> {
        self.inner.of(agent).write(Priority::Deferred, Write::Touch { agent, served }, Written::touched)
    }

    /// Removes agents and receipt subscriptions that were idle for long. The agents' messages end with
    /// [`Outcome::Unsubscribed`].
    pub fn expire_idle(&self, bounds: IdleBounds) -> Answer<IdleRemoved> {
        self.expire(|| Write::ExpireIdle(bounds.clone()))
    }

    /// Removes agents without a subscription, and what was never used where its share of the store is nearly full.
    pub fn expire_unused(&self, bounds: UnusedBounds) -> Answer<IdleRemoved> {
        self.expire(|| Write::ExpireUnused(bounds))
    }

    /// Whether the agent exists.
    pub fn agent_exists(&self, id: AgentId) -> Answer<bool> {
        self.inner.of(id).read(move |reader| reader.agent_exists(id))
    }

    /// The subscription, if it exists. `agent` is its agent, which names the cell.
    pub fn subscription(&self, agent: AgentId, id: SubscriptionId) -> Answer<Option<Subscription>> {
        self.inner.of(agent).read(move |reader| reader.subscription(id))
    }

    /// The agent's subscription with this channel, if there is one.
    pub fn subscription_of_channel(&self, agent: AgentId, channel: String) -> Answer<Option<Subscription>> {
        self.inner.of(agent).read(move |reader| reader.subscription_of_channel(agent, &channel))
    }

    /// All subscriptions of an agent, oldest first.
    pub fn subscriptions_of(&self, agent: AgentId) -> Answer<Vec<Subscription>> {
        self.inner.of(agent).read(move |reader| reader.subscriptions_of(agent))
    }

    /// Up to `max` (at most 1,000) unexpired messages of an agent with an id above `after`, oldest first, and the
    /// damaged ones among them. A page that has more after it is full.
    pub fn pending(&self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Answer<Page> {
        self.inner.of(agent).read(move |reader| {
            let page = reader.pending(agent, after, max, now)?;
            debug_assert!(page.is_sorted_after(after), "a page has the ids above `after`, in their order");
            debug_assert!(page.entries.len() <= max.min(PAGE_MAX) as usize, "a page is bounded");
            Ok(page)
        })
    }

    /// What is stored under these ids, in their order. A message that has expired is absent. `agent` is their agent, which
    /// names the cell.
    pub fn messages(&self, agent: AgentId, ids: Vec<MessageId>, now: UnixMs) -> Answer<Vec<Lookup>> {
        self.inner.of(agent).read(move |reader| {
            let found = reader.messages(&ids, now)?;
            debug_assert_eq!(found.len(), ids.len(), "each id has an answer");
            Ok(found)
        })
    }

    /// Whether the receipt subscription exists.
    pub fn receipt_subscription_exists(&self, id: ReceiptSubscriptionId) -> Answer<bool> {
        self.inner.home(id).read(move |reader| reader.receipt_subscription_exists(id))
    }

    /// Up to `max` (at most 1,000) untaken receipts after a position, oldest first; none if the receipt subscription does
    /// not exist. A page that has more after it is full. Of several cells, each keeps its order, and between them the times
    /// decide.
    pub fn receipts(
        &self,
        of: ReceiptSubscriptionId,
        after: impl Into<ReceiptPosition>,
        max: u32,
    ) -> Answer<ReceiptPage> {
        let position = after.into();
        let page = |cell: &Cell, after: i64| {
            // Receipts are numbered from 1.
            let after = (after > 0).then_some(after);
            cell.read(move |reader| {
                let page = reader.receipts(of, after, max)?;
                debug_assert!(page.is_sorted_after(after), "a page has the numbers above `after`, in their order");
                debug_assert!(page.receipts.len() <= max.min(PAGE_MAX) as usize, "a page is bounded");
                Ok(page)
            })
        };
        if self.inner.routes.is_none() {
            return page(&self.inner.first, position.in_cell(0));
        }
        let pages = self.inner.cells().enumerate().map(|(cell, at)| page(at, position.in_cell(cell)));
        cells::receipts(pages.collect(), max.min(PAGE_MAX))
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

    fn expire(&self, write: impl Fn() -> Write) -> Answer<IdleRemoved> {
        let Some(routes) = &self.inner.routes else {
            return self.inner.first.write(Priority::Immediate, write(), Written::idle_removed);
        };
        let expired = |(place, cell): (usize, &Cell)| {
            let routes = Arc::clone(routes);
            cell.write_then(Priority::Immediate, write(), Written::idle_removed, move |removed| {
                if let Ok(removed) = removed {
                    routes.expired_in(place, removed);
                }
            })
        };
        cells::merged(self.inner.cells().enumerate().map(expired), IdleRemoved::merge)
    }

    /// A write for one agent.
    fn write<T: Send + 'static>(&self, agent: AgentId, write: Write, open: fn(Written) -> Option<T>) -> Answer<T> {
        self.inner.of(agent).write(Priority::Immediate, write, open)
    }
}

impl Inner {
    fn cells(&self) -> impl Iterator<Item = &Cell> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The cell of an agent.
    fn of(&self, agent: AgentId) -> &Cell {
        self.routes.as_ref().map_or(&self.first, |routes| self.at(routes.of(agent)))
    }

    /// The cell that decides whether a receipt subscription exists.
    fn home(&self, id: ReceiptSubscriptionId) -> &Cell {
        self.routes.as_ref().map_or(&self.first, |routes| self.at(routes.home(id)))
    }

    fn at(&self, place: usize) -> &Cell {
        place.checked_sub(1).map_or(&self.first, |other| &self.others[other])
    }

    fn receipt_room(&self, cell: &Cell) -> Result<(), StoreError> {
        match (&self.routes, cell.published.receipt_room()) {
            // The others have committed since this cell has looked at what they hold.
            (Some(routes), Ok(()) | Err(StoreError::StoreFull)) => {
                let held = self.cells().fold(Held::default(), |held, cell| held.plus(&cell.published.contents()));
                let after = held.bytes.saturating_add(RECEIPT_BYTES);
                if after > routes.bytes_max() { Err(StoreError::StoreFull) } else { Ok(()) }
            }
            (_, room) => room,
        }
    }

    fn close(&self) {
        self.cells().for_each(Cell::close);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // All of them, before the first is waited for.
        self.close();
    }
}
