//! Several cells as one store: where each operation goes, and what concerns all cells.
//!
//! Everything of an agent is in one cell, with the receipts of its messages: a message ends, and its receipt is written,
//! in one commit of that cell. So a receipt subscription has a row in its *home*, the cell of its own id, and one in each
//! other cell with messages that name it ([`Routes::join`]). The home decides whether it exists: it is removed there
//! first, and then in the other cells.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId};
use doorbell_protocol::time::UnixMs;
use tokio::sync::oneshot;

use super::plan::CellPlan;
use crate::answer::Answer;
use crate::committer::Job;
use crate::engine::{Write, Written};
use crate::error::StoreError;
use crate::limits::Limits;
use crate::model::{Erased, IdleRemoved};
use crate::queue::{Priority, Queue};
use crate::recent::RecentCache;

/// How long a receipt subscription that has joined a cell is not looked at again, in milliseconds of service. Less than
/// the precision with which its uses are recorded, so that it does not expire while messages name it.
const JOINED_FOR_MS: u128 = 3_600_000;

/// Receipt subscriptions that are known to have joined a cell, in each of two generations: about 5 MiB in all.
const JOINED_GENERATION_MAX: usize = 32_768;

type Done = oneshot::Sender<Result<(), StoreError>>;

/// What the writers of the cells share.
pub(crate) struct Routes {
    plan: CellPlan,
    queues: Vec<Arc<Queue<Job>>>,
    /// By receipt subscription and cell: when that was last checked, as a time of service.
    joined: Mutex<RecentCache<(ReceiptSubscriptionId, usize), UnixMs>>,
    bytes_max: AtomicU64,
}

impl Routes {
    pub(crate) fn new(plan: CellPlan, queues: Vec<Arc<Queue<Job>>>, limits: &Limits) -> Self {
        let joined = Mutex::new(RecentCache::new(JOINED_GENERATION_MAX));
        Self { plan, queues, joined, bytes_max: AtomicU64::new(limits.bytes_max) }
    }

    /// The cell of an agent.
    pub(crate) fn of(&self, agent: AgentId) -> usize {
        self.plan.cell_of(agent.raw())
    }

    /// The cell that decides whether a receipt subscription exists.
    pub(crate) fn home(&self, id: ReceiptSubscriptionId) -> usize {
        self.plan.cell_of(id.raw())
    }

    /// Makes a receipt subscription ready for the messages of an agent.
    ///
    /// First its row is made in the agent's cell, and then the home is asked. A removal that the home commits after that
    /// also finds the new row; one that it committed before is seen, and the row is removed. A crash in between leaves a
    /// row that no message can name, and that expires.
    pub(crate) fn join(self: &Arc<Self>, agent: AgentId, id: ReceiptSubscriptionId, served: UnixMs) -> Answer<()> {
        let cell = self.of(agent);
        if cell == self.home(id) || self.has_joined(id, cell, served) {
            return Answer::joined(std::future::ready(Ok(())));
        }
        let (done, receiver) = oneshot::channel();
        let routes = Arc::clone(self);
        self.push(cell, Write::JoinReceiptSubscription { id, served }, move |joined| match joined {
            Ok(_) => routes.check_home(id, cell, served, done),
            Err(error) => drop(done.send(Err(error))),
        });
        // A full queue drops the chain of writes: nothing that counts was done.
        Answer::queued(Ok(()), receiver, StoreError::Overloaded)
    }

    fn check_home(self: Arc<Self>, id: ReceiptSubscriptionId, cell: usize, served: UnixMs, done: Done) {
        let routes = Arc::clone(&self);
        self.push(self.home(id), Write::UseReceiptSubscription { id, served }, move |used| match used.map(existed) {
            Ok(true) => {
                routes.with_joined(|joined| joined.insert((id, cell), served));
                let _ = done.send(Ok(()));
            }
            Ok(false) => routes.push(cell, Write::DeleteReceiptSubscription { id }, |_| {
                let _ = done.send(Err(StoreError::NoReceiptSubscription));
            }),
            Err(error) => drop(done.send(Err(error))),
        });
    }

    /// The home has removed a receipt subscription: removes it in the other cells, which hold `token` until they have. A
    /// cell whose queue is full keeps its row, until a message names it or it expires.
    pub(crate) fn removed_at_home(&self, id: ReceiptSubscriptionId, token: &Arc<oneshot::Sender<()>>) {
        let home = self.home(id);
        for cell in (0..self.queues.len()).filter(|cell| *cell != home) {
            self.with_joined(|joined| joined.forget((id, cell)));
            let token = Arc::clone(token);
            self.push(cell, Write::DeleteReceiptSubscription { id }, move |_| drop(token));
        }
    }

    /// A cell has removed receipt subscriptions that were idle or never used. Those that go on in their homes are not
    /// reported.
    pub(crate) fn expired_in(&self, cell: usize, removed: &mut IdleRemoved) {
        let token = Arc::new(oneshot::channel().0);
        removed.receipt_subscriptions.retain(|id| {
            let is_home = self.home(*id) == cell;
            if is_home {
                self.removed_at_home(*id, &token);
            } else {
                self.with_joined(|joined| joined.forget((*id, cell)));
            }
            is_home
        });
    }

    /// The bytes that the whole store may hold, as they were set last.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.bytes_max.store(limits.bytes_max, Ordering::Relaxed);
    }

    fn has_joined(&self, id: ReceiptSubscriptionId, cell: usize, served: UnixMs) -> bool {
        let checked = self.with_joined(|joined| joined.get((id, cell)).copied());
        checked.is_some_and(|checked| served.since(checked).as_millis() < JOINED_FOR_MS)
    }

    fn with_joined<T>(&self, change: impl FnOnce(&mut RecentCache<(ReceiptSubscriptionId, usize), UnixMs>) -> T) -> T {
        change(&mut self.joined.lock().expect("a change of the cache does not panic"))
    }

    /// Queues a write. If there is no room for it, `reply` is dropped.
    fn push(&self, cell: usize, write: Write, reply: impl FnOnce(Result<Written, StoreError>) + Send + 'static) {
        let bytes = write.held_bytes();
        if let Err(error) = self.queues[cell].push(Job { write, reply: Box::new(reply) }, bytes, Priority::Immediate) {
            tracing::debug!(?error, cell, "a write of one cell to another was not queued");
        }
    }
}

fn existed(written: Written) -> bool {
    matches!(written, Written::Erased(Erased { existed: true, .. }))
}
