//! The engine in memory: it gives the same answers as the other engines, and is lost with the process. It is also their
//! model in tests.

mod consistency;
mod facts;
mod rows;

use std::sync::{Arc, Mutex, MutexGuard};

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{CommitError, OpenError, ReadError, StoreError};
use crate::figures::Contents;
use crate::limits::{Held, Limits, PAGE_MAX};
use crate::model::{ClockRecord, Lookup, Page, ReceiptPage, Subscription};
use crate::rules::{self, Stop};
use rows::Rows;

/// An engine that stores everything in this process.
pub struct MemoryEngine {
    rows: Shared,
    limits: Limits,
}

/// The rows, which the engine and its readers share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Rows>>);

impl MemoryEngine {
    /// An empty engine.
    pub fn new(limits: Limits) -> Self {
        Self { rows: Shared::default(), limits }
    }

    /// Compares all indexes and counts with the rows. For tests: it scans everything.
    ///
    /// # Panics
    /// If they disagree, which is a bug.
    pub fn assert_consistent(&self) {
        self.rows.lock().assert_consistent();
    }
}

impl Engine for MemoryEngine {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        let mut rows = self.rows.lock();
        let decide = |write| match rules::apply(&mut *rows, &self.limits, write) {
            Ok(written) => Ok(written),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Missing) => unreachable!("this engine knows everything"),
        };
        Ok(batch.iter().map(decide).collect())
    }

    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn set_elsewhere(&mut self, elsewhere: Held) {
        self.limits.elsewhere = elsewhere;
    }

    fn receipt_room(&self) -> Result<(), StoreError> {
        self.rows.lock().totals.check_receipt(&self.limits)
    }

    fn contents(&self) -> Contents {
        let rows = self.rows.lock();
        rows.totals.contents(rows.ended, 0)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        Ok(Box::new(self.rows.clone()))
    }

    fn greatest_id(&self) -> i64 {
        self.rows.lock().greatest_id
    }

    fn clock(&self) -> ClockRecord {
        self.rows.lock().clock.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().expect("no batch panicked while it changed the rows")
    }
}

impl Reader for Shared {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, ReadError> {
        Ok(self.lock().agents.contains_key(&id))
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, ReadError> {
        Ok(self.lock().subscriptions.get(&id).cloned())
    }

    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, ReadError> {
        Ok(self.lock().subscription_of_channel(agent, channel).cloned())
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, ReadError> {
        let rows = self.lock();
        let ids = rows.agents.get(&agent).into_iter().flat_map(|agent| &agent.subscriptions);
        Ok(ids.map(|id| rows.subscriptions[id].clone()).collect())
    }

    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, ReadError> {
        let max = max.min(PAGE_MAX) as usize;
        let mut entries = self.lock().pending(agent, after, now, max + 1);
        let more = entries.len() > max;
        entries.truncate(max);
        Ok(Page { entries, damaged: Vec::new(), more })
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Lookup>, ReadError> {
        let rows = self.lock();
        Ok(ids.iter().map(|id| rows.message(*id, now).map_or(Lookup::Absent, Lookup::Stored)).collect())
    }

    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, ReadError> {
        Ok(self.lock().receipt_subscriptions.contains_key(&id))
    }

    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, ReadError> {
        let max = max.min(PAGE_MAX) as usize;
        let mut receipts = self.lock().receipts(of, after, max + 1);
        let more = receipts.len() > max;
        receipts.truncate(max);
        Ok(ReceiptPage { receipts, more })
    }
}
