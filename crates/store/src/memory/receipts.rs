//! The receipts of the memory engine, and its idle expiry.

use std::collections::BTreeMap;

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use super::rows::Rows;
use crate::error::StoreError;
use crate::limits::{EXPIRE_MAX, Limits};
use crate::model::{Erased, IdleBounds, IdleRemoved, NewMessage, Receipt, UnusedBounds};
use crate::totals::lower;

pub(super) struct ReceiptSubscription {
    last_used: UnixMs,
    /// Whether a receipt was ever taken.
    pub(super) used: bool,
    pub(super) untaken: BTreeMap<i64, Receipt>,
}

impl Rows {
    pub(super) fn create_receipt_subscription(
        &mut self,
        limits: &Limits,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> Result<(), StoreError> {
        if self.receipt_subscriptions.contains_key(&id) {
            return Err(StoreError::IdTaken);
        }
        self.totals.check_receipt_subscription(limits)?;
        self.totals.receipt_subscriptions += 1;
        self.totals.unused_receipt_subscriptions += 1;
        let new = ReceiptSubscription { last_used: served, used: false, untaken: BTreeMap::new() };
        self.receipt_subscriptions.insert(id, new);
        self.greatest_id = self.greatest_id.max(id.raw());
        Ok(())
    }

    /// Refuses a write that needs a receipt in a receipt subscription without room for it.
    pub(super) fn check_receipts(&self, limits: &Limits, of: ReceiptSubscriptionId) -> Result<(), StoreError> {
        let subscription = self.receipt_subscriptions.get(&of).ok_or(StoreError::NoReceiptSubscription)?;
        if subscription.untaken.len() >= limits.receipts_per_subscription_max as usize {
            return Err(StoreError::ReceiptsFull);
        }
        Ok(())
    }

    /// Counts how removed messages ended, and adds the receipts of those that want one. Returns the receipt subscriptions, each once.
    pub(super) fn add_receipts(
        &mut self,
        mut removed: Vec<NewMessage>,
        outcome: Outcome,
        now: UnixMs,
    ) -> Vec<ReceiptSubscriptionId> {
        removed.sort_unstable_by_key(|message| message.id);
        let mut changed = Vec::new();
        for message in removed {
            let expired = message.expires_at <= now;
            let (outcome, at) = if expired { (Outcome::Expired, message.expires_at) } else { (outcome, now) };
            self.ended.add(outcome);
            let Some(of) = message.receipt else { continue };
            if self.insert_receipt(of, message.id, message.agent, outcome, at) {
                changed.push(of);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    pub(super) fn add_receipt(
        &mut self,
        limits: &Limits,
        of: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        self.check_receipts(limits, of)?;
        self.insert_receipt(of, message, agent, outcome, now);
        self.greatest_id = self.greatest_id.max(message.raw());
        Ok(())
    }

    /// `false`: the receipt subscription is gone.
    fn insert_receipt(
        &mut self,
        of: ReceiptSubscriptionId,
        message: MessageId,
        agent: AgentId,
        outcome: Outcome,
        at: UnixMs,
    ) -> bool {
        let Some(subscription) = self.receipt_subscriptions.get_mut(&of) else { return false };
        self.greatest_seq += 1;
        self.totals.receipts += 1;
        let seq = self.greatest_seq;
        subscription.untaken.insert(seq, Receipt { seq, message, agent, outcome, at });
        true
    }

    /// Records a use of a receipt subscription. `false`: it does not exist.
    pub(super) fn use_receipt_subscription(
        &mut self,
        limits: &Limits,
        id: ReceiptSubscriptionId,
        served: UnixMs,
    ) -> bool {
        let Some(subscription) = self.receipt_subscriptions.get_mut(&id) else { return false };
        if limits.is_later_use(subscription.last_used, served) {
            subscription.last_used = served;
        }
        true
    }

    pub(super) fn take_receipts(
        &mut self,
        limits: &Limits,
        of: ReceiptSubscriptionId,
        up_to: i64,
        served: UnixMs,
    ) -> Erased {
        let existed = self.use_receipt_subscription(limits, of, served);
        if let Some(subscription) = self.receipt_subscriptions.get_mut(&of) {
            if !std::mem::replace(&mut subscription.used, true) {
                lower(&mut self.totals.unused_receipt_subscriptions, 1);
            }
            let before = subscription.untaken.len();
            subscription.untaken.retain(|seq, _| *seq > up_to);
            lower(&mut self.totals.receipts, (before - subscription.untaken.len()) as u64);
        }
        Erased { existed, receipt: None }
    }

    pub(super) fn delete_receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> Erased {
        let removed = self.receipt_subscriptions.remove(&id);
        if let Some(subscription) = &removed {
            self.totals.remove_receipt_subscription(subscription.used);
            lower(&mut self.totals.receipts, subscription.untaken.len() as u64);
        }
        Erased { existed: removed.is_some(), receipt: None }
    }

    pub(super) fn receipts(&self, of: ReceiptSubscriptionId, after: Option<i64>, max: usize) -> Vec<Receipt> {
        let subscription = self.receipt_subscriptions.get(&of);
        let untaken = subscription.into_iter().flat_map(|subscription| &subscription.untaken);
        untaken.map(|(_, receipt)| *receipt).filter(|receipt| Some(receipt.seq) > after).take(max).collect()
    }

    pub(super) fn touch(&mut self, limits: &Limits, agent: AgentId, served: UnixMs) -> Result<(), StoreError> {
        let agent = self.agents.get_mut(&agent).ok_or(StoreError::NoAgent)?;
        if limits.is_later_use(agent.last_seen, served) {
            agent.last_seen = served;
            if !std::mem::replace(&mut agent.used, true) {
                lower(&mut self.totals.unused_agents, 1);
            }
        }
        Ok(())
    }

    pub(super) fn expire_unused(&mut self, limits: &Limits, bounds: &UnusedBounds) -> IdleRemoved {
        let max = bounds.max.min(EXPIRE_MAX) as usize;
        let mut removed = IdleRemoved::default();
        if self.totals.receipt_subscriptions_crowd(limits) {
            let unused = self.receipt_subscriptions.iter().filter(|(_, subscription)| !subscription.used);
            let used = unused.map(|(id, subscription)| (subscription.last_used, *id));
            let (unused, more) = idle(used, bounds.unused_receipt_subscriptions_before, max);
            removed.more |= more;
            for id in unused {
                self.delete_receipt_subscription(id);
                removed.receipt_subscriptions.push(id);
            }
        }
        let empty = self.agents.iter().filter(|(_, agent)| agent.subscriptions.is_empty());
        let (empty, more) = idle(empty.map(|(id, agent)| (agent.last_seen, *id)), bounds.empty_agents_before, max);
        removed.more |= more;
        self.remove_agents(empty, bounds.now, &mut removed);
        if self.totals.agents_crowd(limits) {
            let unused = self.agents.iter().filter(|(_, agent)| !agent.used);
            let (unused, more) =
                idle(unused.map(|(id, agent)| (agent.last_seen, *id)), bounds.unused_agents_before, max);
            removed.more |= more;
            self.remove_agents(unused, bounds.now, &mut removed);
        }
        removed.receipts.sort_unstable();
        removed.receipts.dedup();
        removed
    }

    fn remove_agents(&mut self, ids: Vec<AgentId>, now: UnixMs, removed: &mut IdleRemoved) {
        for id in ids {
            removed.receipts.extend(self.delete_agent(id, now).receipts);
            removed.agents.push(id);
        }
    }

    pub(super) fn expire_idle(&mut self, bounds: &IdleBounds) -> IdleRemoved {
        let max = bounds.max.min(EXPIRE_MAX) as usize;
        let mut removed = IdleRemoved::default();
        let used = self.receipt_subscriptions.iter().map(|(id, subscription)| (subscription.last_used, *id));
        let (unused, more_unused) = idle(used, bounds.receipt_subscriptions_before, max);
        for id in unused {
            self.delete_receipt_subscription(id);
            removed.receipt_subscriptions.push(id);
        }
        let seen = self.agents.iter().map(|(id, agent)| (agent.last_seen, *id));
        let (unseen, more_unseen) = idle(seen, bounds.agents_before, max);
        for id in unseen {
            if bounds.keep.contains(&id) {
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.last_seen = bounds.served;
                }
                continue;
            }
            removed.receipts.extend(self.delete_agent(id, bounds.now).receipts);
            removed.agents.push(id);
        }
        removed.receipts.sort_unstable();
        removed.receipts.dedup();
        removed.more = more_unused || more_unseen;
        removed
    }
}

/// The first `max` that were idle since before a moment, longest idle first, and whether there are more.
fn idle<T: Ord>(all: impl Iterator<Item = (UnixMs, T)>, before: UnixMs, max: usize) -> (Vec<T>, bool) {
    let mut idle: Vec<_> = all.filter(|(last, _)| *last < before).collect();
    idle.sort_unstable();
    let more = idle.len() > max;
    (idle.into_iter().take(max).map(|(_, id)| id).collect(), more)
}
