//! The engine in memory: the same answers as the others, gone with the process. It is also their model in tests.

mod rows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use doorbell_protocol::{
    id::{AgentId, MessageId, SubscriptionId},
    time::UnixMs,
};

use crate::{
    engine::{CommitError, Engine, Reader, Write, Written},
    error::{OpenError, StoreError},
    limits::{Limits, PAGE_MAX},
    model::{Erased, Page, StoredMessage, Subscription},
};
use rows::Rows;

/// An engine that keeps everything in this process.
pub struct MemoryEngine {
    rows: Shared,
    limits: Limits,
}

/// What the engine and its readers share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Rows>>);

impl MemoryEngine {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self { rows: Shared::default(), limits }
    }
}

impl Engine for MemoryEngine {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        let mut rows = self.rows.lock();
        Ok(batch.iter().map(|write| apply(&mut rows, &self.limits, write)).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        Ok(Box::new(self.rows.clone()))
    }

    fn greatest_id(&self) -> i64 {
        self.rows.lock().greatest_id
    }
}

fn apply(rows: &mut Rows, limits: &Limits, write: &Write) -> Result<Written, StoreError> {
    let erased = |existed| Ok(Written::Erased(Erased { existed }));
    match write {
        Write::CreateAgent { id, .. } => rows.create_agent(*id).map(|()| Written::Created),
        Write::CreateSubscription(new) => rows.create_subscription(limits, new).map(|()| Written::Created),
        Write::Append(message) => rows.append(limits, message).map(Written::Appended),
        Write::Erase { id, agent } => erased(rows.erase(*id, *agent)),
        Write::DeleteSubscription { id, agent } => erased(rows.delete_subscription(*id, *agent)),
        Write::DeleteAgent { id } => erased(rows.delete_agent(*id)),
        Write::Sweep { now, max } => Ok(Written::Swept(rows.sweep(*now, *max))),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for Shared {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, String> {
        Ok(self.lock().agents.contains_key(&id))
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, String> {
        Ok(self.lock().subscriptions.get(&id).cloned())
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, String> {
        let rows = self.lock();
        let ids = rows.agents.get(&agent).into_iter().flat_map(|agent| &agent.subscriptions);
        Ok(ids.filter_map(|id| rows.subscriptions.get(id).cloned()).collect())
    }

    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, String> {
        let max = max.min(PAGE_MAX) as usize;
        let mut entries = self.lock().pending(agent, after, now, max + 1);
        let more = entries.len() > max;
        entries.truncate(max);
        Ok(Page { entries, more })
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Option<StoredMessage>>, String> {
        let rows = self.lock();
        Ok(ids.iter().map(|id| rows.message(*id, now)).collect())
    }
}
