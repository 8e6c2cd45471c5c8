//! Expiry: of messages, and of idle agents and receipt subscriptions.

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use super::{AgentFact, Facts, IdleKind, Rules, Stop, each_once};
use crate::error::StoreError;
use crate::limits::{EXPIRE_MAX, SWEEP_MAX};
use crate::model::{IdleBounds, IdleRemoved, Swept, UnusedBounds};
use crate::totals::lower;

impl<F: Facts> Rules<'_, F> {
    pub(super) fn sweep(&mut self, now: UnixMs, max: u32) -> Result<Swept, Stop> {
        let max = max.min(SWEEP_MAX) as usize;
        let (mut expired, mut more) = bounded(self.facts.expired_exactly(now, max + 1)?, max);
        expired.iter().for_each(|message| self.remove(message));
        let left = max - expired.len();
        let (past, more_past) = bounded(self.facts.expired_spans(now, left + 1)?, left);
        past.iter().for_each(|message| self.remove(message));
        expired.extend(past);
        more |= more_past;
        let removed = u32::try_from(expired.len()).expect("a sweep removes at most SWEEP_MAX messages");
        Ok(Swept { removed, receipts: self.add_receipts(expired, Outcome::Expired, now)?, more })
    }

    pub(super) fn touch(&mut self, id: AgentId, served: UnixMs) -> Result<(), Stop> {
        let agent = self.facts.agent(id)?.ok_or(StoreError::NoAgent)?;
        if self.limits.is_later_use(agent.last_seen, served) {
            lower(&mut self.facts.totals().unused_agents, u64::from(!agent.used));
            self.facts.change_agent(id, AgentFact { last_seen: served, used: true, ..agent });
        }
        Ok(())
    }

    pub(super) fn expire_unused(&mut self, bounds: &UnusedBounds) -> Result<IdleRemoved, Stop> {
        let max = bounds.max.min(EXPIRE_MAX) as usize;
        let mut removed = IdleRemoved::default();
        if self.facts.totals().receipt_subscriptions_crowd(self.limits) {
            let before = bounds.unused_receipt_subscriptions_before;
            let unused = self.facts.idle_receipt_subscriptions(true, before, max + 1)?;
            self.remove_receipt_subscriptions(unused, max, &mut removed)?;
        }
        let empty = self.facts.idle_agents(IdleKind::Empty, bounds.empty_agents_before, max + 1)?;
        self.remove_agents(empty, max, bounds.now, &mut removed)?;
        if self.facts.totals().agents_crowd(self.limits) {
            let unused = self.facts.idle_agents(IdleKind::Unused, bounds.unused_agents_before, max + 1)?;
            self.remove_agents(unused, max, bounds.now, &mut removed)?;
        }
        removed.receipts = each_once(removed.receipts);
        Ok(removed)
    }

    pub(super) fn expire_idle(&mut self, bounds: &IdleBounds) -> Result<IdleRemoved, Stop> {
        let max = bounds.max.min(EXPIRE_MAX) as usize;
        let mut removed = IdleRemoved::default();
        // First, so that no receipt is added to a receipt subscription that is then removed.
        let before = bounds.receipt_subscriptions_before;
        let unused = self.facts.idle_receipt_subscriptions(false, before, max + 1)?;
        self.remove_receipt_subscriptions(unused, max, &mut removed)?;
        let unseen = self.facts.idle_agents(IdleKind::Any, bounds.agents_before, max + 1)?;
        let (unseen, more) = bounded(unseen, max);
        removed.more |= more;
        let (kept, unseen): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|id| bounds.keep.contains(id));
        for id in kept {
            let agent = self.facts.agent(id)?.expect("the search found it");
            self.facts.change_agent(id, AgentFact { last_seen: bounds.served, ..agent });
        }
        self.remove_agents(unseen, max, bounds.now, &mut removed)?;
        removed.receipts = each_once(removed.receipts);
        Ok(removed)
    }

    fn remove_receipt_subscriptions(
        &mut self,
        found: Vec<ReceiptSubscriptionId>,
        max: usize,
        removed: &mut IdleRemoved,
    ) -> Result<(), Stop> {
        let (ids, more) = bounded(found, max);
        removed.more |= more;
        for id in ids {
            self.delete_receipt_subscription(id)?;
            removed.receipt_subscriptions.push(id);
        }
        Ok(())
    }

    fn remove_agents(
        &mut self,
        found: Vec<AgentId>,
        max: usize,
        now: UnixMs,
        removed: &mut IdleRemoved,
    ) -> Result<(), Stop> {
        let (ids, more) = bounded(found, max);
        removed.more |= more;
        for id in ids {
            removed.receipts.extend(self.delete_agent(id, now)?.receipts);
            removed.agents.push(id);
        }
        Ok(())
    }
}

/// The first `max`, and whether there are more.
fn bounded<T>(mut found: Vec<T>, max: usize) -> (Vec<T>, bool) {
    let more = found.len() > max;
    found.truncate(max);
    (found, more)
}
