//! Expiry, as part of a transaction: of messages, and of idle agents and receipt subscriptions.

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use rusqlite::{Connection, OptionalExtension, params};

use super::batch::{Batch, WriteError};
use super::open::PAGE_BYTES;
use super::sql;
use crate::engine::expiry_bucket;
use crate::error::StoreError;
use crate::limits::{EXPIRE_MAX, SWEEP_MAX};
use crate::model::{IdleBounds, IdleRemoved, Swept, UnusedBounds};

/// Free pages are returned to the disk once they are more than a quarter of the file and more than this (16 MiB): until
/// then the next messages use them.
const FREE_BYTES_KEPT: u64 = 16 << 20;

impl Batch<'_> {
    pub(super) fn sweep(&mut self, now: UnixMs, max: u32) -> rusqlite::Result<Swept> {
        let max = max.min(SWEEP_MAX);
        let count =
            |deleted: &[_]| u32::try_from(deleted.len()).expect("each statement deletes at most SWEEP_MAX rows");
        let (at, bucket) = (now.as_millis(), expiry_bucket(now));
        let mut deleted = self.delete_messages(sql::SWEEP_EXACTLY, params![at, max])?;
        deleted.extend(self.delete_messages(sql::SWEEP, params![bucket, max - count(&deleted)])?);
        let removed = count(&deleted);
        debug_assert!(removed <= max, "a sweep is bounded");
        let receipts = self.add_receipts(deleted, Outcome::Expired, now)?;
        let more_taken = self.sweep_taken(max - removed)?;
        self.return_free_pages()?;
        let more =
            more_taken || self.exists(sql::SWEEP_EXACTLY_MORE, [at])? || self.exists(sql::SWEEP_MORE, [bucket])?;
        Ok(Swept { removed, receipts, more })
    }

    pub(super) fn touch(&mut self, agent: AgentId, served: UnixMs) -> Result<(), WriteError> {
        let mut read = self.conn.prepare_cached(sql::AGENT_LAST_SEEN)?;
        let last_seen = read.query_row([agent.raw()], |row| row.get(0)).optional()?;
        let last_seen = last_seen.map(UnixMs::from_millis).ok_or(StoreError::NoAgent)?;
        if self.limits.is_later_use(last_seen, served) {
            self.run(sql::SEE_AGENT, [agent.raw(), served.as_millis()])?;
            self.use_agent(agent)?;
        }
        Ok(())
    }

    pub(super) fn expire_unused(&mut self, bounds: &UnusedBounds) -> rusqlite::Result<IdleRemoved> {
        let max = bounds.max.min(EXPIRE_MAX);
        let mut removed = IdleRemoved::default();
        if self.totals.receipt_subscriptions_crowd(self.limits) {
            let before = bounds.unused_receipt_subscriptions_before;
            let (unused, more) = self.idle(sql::UNUSED_RECEIPT_SUBSCRIPTIONS, before, max)?;
            self.remove_receipt_subscriptions(unused, &mut removed)?;
            removed.more |= more;
        }
        let (empty, more) = self.idle(sql::EMPTY_AGENTS, bounds.empty_agents_before, max)?;
        removed.more |= more;
        self.remove_agents(empty, bounds.now, &mut removed)?;
        if self.totals.agents_crowd(self.limits) {
            let (unused, more) = self.idle(sql::UNUSED_AGENTS, bounds.unused_agents_before, max)?;
            removed.more |= more;
            self.remove_agents(unused, bounds.now, &mut removed)?;
        }
        removed.receipts.sort_unstable();
        removed.receipts.dedup();
        Ok(removed)
    }

    fn remove_receipt_subscriptions(&mut self, ids: Vec<i64>, removed: &mut IdleRemoved) -> rusqlite::Result<()> {
        for id in ids.into_iter().map(ReceiptSubscriptionId::from_raw) {
            self.delete_receipt_subscription(id)?;
            removed.receipt_subscriptions.push(id);
        }
        Ok(())
    }

    fn remove_agents(&mut self, ids: Vec<i64>, now: UnixMs, removed: &mut IdleRemoved) -> rusqlite::Result<()> {
        for agent in ids.into_iter().map(AgentId::from_raw) {
            removed.receipts.extend(self.delete_agent(agent, now)?.receipts);
            removed.agents.push(agent);
        }
        Ok(())
    }

    pub(super) fn expire_idle(&mut self, bounds: &IdleBounds) -> rusqlite::Result<IdleRemoved> {
        let max = bounds.max.min(EXPIRE_MAX);
        let mut removed = IdleRemoved::default();
        // First, so that no receipt is added to a receipt subscription that is then removed.
        let (unused, more) = self.idle(sql::IDLE_RECEIPT_SUBSCRIPTIONS, bounds.receipt_subscriptions_before, max)?;
        removed.more = more;
        self.remove_receipt_subscriptions(unused, &mut removed)?;
        let (unseen, more) = self.idle(sql::IDLE_AGENTS, bounds.agents_before, max)?;
        removed.more |= more;
        for agent in unseen.into_iter().map(AgentId::from_raw) {
            if bounds.keep.contains(&agent) {
                self.run(sql::SEE_AGENT, [agent.raw(), bounds.served.as_millis()])?;
                continue;
            }
            removed.receipts.extend(self.delete_agent(agent, bounds.now)?.receipts);
            removed.agents.push(agent);
        }
        removed.receipts.sort_unstable();
        removed.receipts.dedup();
        Ok(removed)
    }

    /// The first `max` of those idle since before a moment, and whether there are more.
    fn idle(&self, sql: &str, before: UnixMs, max: u32) -> rusqlite::Result<(Vec<i64>, bool)> {
        let mut list = self.conn.prepare_cached(sql)?;
        let ids = list.query_map(params![before.as_millis(), max + 1], |row| row.get(0))?;
        let mut ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
        let more = ids.len() > max as usize;
        ids.truncate(max as usize);
        Ok((ids, more))
    }

    fn return_free_pages(&self) -> rusqlite::Result<()> {
        let pragma = |name| self.conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        let (free, all) = (pragma("freelist_count")?, pragma("page_count")?);
        if u64::from(free) * PAGE_BYTES > FREE_BYTES_KEPT && free > all / 4 {
            return_pages(self.conn)?;
        }
        Ok(())
    }
}

/// Moves pages from the end of the file to free places, and makes the file shorter.
pub(super) fn return_pages(conn: &Connection) -> rusqlite::Result<()> {
    // One step returns one page.
    let mut vacuum = conn.prepare_cached(sql::RETURN_FREE_PAGES)?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}
