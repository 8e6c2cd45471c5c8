//! What each write decides, once for the engines that hold what they need to know in memory.
//!
//! A write is decided over [`Facts`]: what the engine knows of the rows that the write names, with all that the writes
//! before it in the batch have changed. It checks before it changes anything, so a refused write leaves nothing to undo.
//! The engine in memory changes its rows at once; the one on PostgreSQL collects the changes and writes them together.
//! SQLite decides in its own statements (`sqlite/batch.rs`), and a differential test compares all engines.

mod expiry;
mod facts;
mod receipts;

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::engine::{Write, Written};
use crate::error::StoreError;
use crate::limits::Limits;
use crate::model::{Appended, Erased, NewMessage, Removed, Subscription};
use crate::quota::Usage;
use crate::totals::lower;

pub(crate) use facts::{AgentFact, Facts, IdleKind, MessageFact, Missing, ReceiptSubscriptionFact, SubscriptionFact};

/// Why a write was not decided in its favour.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It is refused.
    Refused(StoreError),
    /// A fact that it needs must be read first. The decisions since the last reading count for nothing then.
    Missing,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Missing> for Stop {
    fn from(_: Missing) -> Self {
        Self::Missing
    }
}

/// Decides one write.
pub(crate) fn apply(facts: &mut impl Facts, limits: &Limits, write: &Write) -> Result<Written, Stop> {
    let mut rules = Rules { facts, limits };
    match write {
        Write::CreateAgent { id, served } => rules.create_agent(*id, *served).map(|()| Written::Created),
        Write::CreateSubscription(new) => rules.create_subscription(new).map(|()| Written::Created),
        Write::Append(message) => rules.append(message).map(Written::Appended),
        Write::Erase { id, agent, outcome, now } => Ok(Written::Erased(rules.erase(*id, *agent, *outcome, *now)?)),
        Write::DeleteSubscription { id, agent, now, served } => {
            Ok(Written::Removed(rules.delete_subscription(*id, *agent, *now, *served)?))
        }
        Write::DeleteAgent { id, now } => Ok(Written::Removed(rules.delete_agent(*id, *now)?)),
        Write::Sweep { now, max } => Ok(Written::Swept(rules.sweep(*now, *max)?)),
        Write::CreateReceiptSubscription { id, served } => {
            rules.create_receipt_subscription(*id, *served).map(|()| Written::Created)
        }
        Write::AddReceipt { receipt_subscription, message, agent, outcome, now } => {
            rules.add_receipt(*receipt_subscription, *message, *agent, *outcome, *now).map(|()| Written::Created)
        }
        Write::TakeReceipts { receipt_subscription, up_to, served } => {
            Ok(Written::Erased(rules.take_receipts(*receipt_subscription, *up_to, *served)?))
        }
        Write::JoinReceiptSubscription { id, served } => {
            rules.join_receipt_subscription(*id, *served).map(|()| Written::Created)
        }
        Write::UseReceiptSubscription { id, served } => {
            let existed = rules.use_receipt_subscription(*id, *served)?.is_some();
            Ok(Written::Erased(Erased { existed, receipt: None }))
        }
        Write::DeleteReceiptSubscription { id } => Ok(Written::Erased(rules.delete_receipt_subscription(*id)?)),
        Write::Touch { agent, served } => rules.touch(*agent, *served).map(|()| Written::Touched),
        Write::NoteClock(record) => {
            rules.facts.note_clock(record);
            Ok(Written::Noted)
        }
        Write::ExpireIdle(bounds) => Ok(Written::IdleRemoved(rules.expire_idle(bounds)?)),
        Write::ExpireUnused(bounds) => Ok(Written::IdleRemoved(rules.expire_unused(bounds)?)),
    }
}

struct Rules<'a, F> {
    facts: &'a mut F,
    limits: &'a Limits,
}

impl<F: Facts> Rules<'_, F> {
    fn create_agent(&mut self, id: AgentId, served: UnixMs) -> Result<(), Stop> {
        if self.facts.agent(id)?.is_some() {
            return Err(StoreError::IdTaken.into());
        }
        let totals = self.facts.totals();
        totals.check_agent(self.limits)?;
        totals.agents += 1;
        totals.unused_agents += 1;
        self.facts.insert_agent(id, AgentFact { last_seen: served, used: false, subscriptions: 0 });
        self.facts.note_id(id.raw());
        Ok(())
    }

    fn create_subscription(&mut self, new: &Subscription) -> Result<(), Stop> {
        let agent = self.facts.agent(new.agent)?.ok_or(StoreError::NoAgent)?;
        if self.facts.subscription(new.id)?.is_some() {
            return Err(StoreError::IdTaken.into());
        }
        if agent.subscriptions >= self.limits.subscriptions_per_agent_max {
            return Err(StoreError::TooManySubscriptions.into());
        }
        if let Some(channel) = &new.channel
            && self.facts.channel_is_taken(new.agent, channel)?
        {
            return Err(StoreError::ChannelTaken.into());
        }
        let totals = self.facts.totals();
        totals.check_subscription(self.limits)?;
        totals.subscriptions += 1;
        self.facts.change_agent(new.agent, AgentFact { subscriptions: agent.subscriptions + 1, ..agent });
        self.facts.insert_subscription(new);
        self.facts.note_id(new.id.raw());
        Ok(())
    }

    fn append(&mut self, new: &NewMessage) -> Result<Appended, Stop> {
        if self.facts.subscription(new.subscription)?.is_none_or(|known| known.agent != new.agent) {
            return Err(StoreError::NoSubscription.into());
        }
        // One that lost its agent, by a hand at the tables, is refused as if it were gone too.
        let agent = self.facts.agent(new.agent)?.ok_or(StoreError::NoSubscription)?;
        if self.facts.message(new.id)?.is_some() {
            return Err(StoreError::IdTaken.into());
        }
        if let Some(receipt) = new.receipt {
            self.check_receipts(receipt)?;
        }
        self.facts.totals().check_message(self.limits, new.size())?;
        let old = match &new.topic {
            Some(topic) => self.facts.message_of_topic(new.subscription, topic)?,
            None => None,
        };
        let outstanding = old.as_ref().filter(|old| old.expires_at > new.now);
        self.check_share(new, outstanding)?;
        let mut ended = self.make_room(new, old.as_ref())?;
        let replaced = outstanding.map(|old| old.id);
        self.facts.ended().replaced += u64::from(replaced.is_some());
        // It may have expired, and made room already.
        if let Some(old) = old.filter(|old| !ended.iter().any(|ended| ended.id == old.id)) {
            self.remove(&old);
            ended.extend((replaced != Some(old.id)).then_some(old));
        }
        let receipts = self.add_receipts(ended, Outcome::Expired, new.now)?;
        if let Some(receipt) = new.receipt {
            self.use_receipt_subscription(receipt, new.served)?;
        }
        self.facts.usage(new.agent)?.add(new.size(), new.expires_at);
        self.facts.totals().add_message(new.size());
        if !agent.used {
            lower(&mut self.facts.totals().unused_agents, 1);
            self.facts.change_agent(new.agent, AgentFact { used: true, ..agent });
        }
        self.facts.insert_message(new);
        self.facts.note_id(new.id.raw());
        Ok(Appended { replaced, receipts })
    }

    /// Refuses a message that would take its subscription over its share. A subscription has no more than its agent, so
    /// a count is rarely needed.
    fn check_share(&mut self, new: &NewMessage, outstanding: Option<&MessageFact>) -> Result<(), Stop> {
        if self.facts.usage(new.agent)?.check_share(self.limits, new.size(), None).is_ok() {
            return Ok(());
        }
        let is_counted = |m: &&MessageFact| m.subscription == new.subscription && m.expires_at > new.now;
        let usage = sum(self.facts.messages_of(new.agent)?.iter().filter(is_counted));
        Ok(usage.check_share(self.limits, new.size(), outstanding.map(|old| old.size))?)
    }

    /// Checks that the agent may store `new`. If it may not yet, and only if that helps, removes and returns its expired
    /// messages.
    fn make_room(&mut self, new: &NewMessage, old: Option<&MessageFact>) -> Result<Vec<MessageFact>, Stop> {
        let usage = *self.facts.usage(new.agent)?;
        let Err(refusal) = usage.check(self.limits, new.size(), old.map(|old| old.size)) else {
            return Ok(Vec::new());
        };
        if usage.expires_from > new.now {
            return Err(refusal.into());
        }
        let all = self.facts.messages_of(new.agent)?;
        let (expired, unexpired): (Vec<_>, Vec<_>) = all.into_iter().partition(|m| m.expires_at <= new.now);
        let left = sum(unexpired.iter());
        let outstanding = old.filter(|old| old.expires_at > new.now);
        left.check(self.limits, new.size(), outstanding.map(|old| old.size))?;
        expired.iter().for_each(|message| self.remove(message));
        *self.facts.usage(new.agent)? = left;
        Ok(expired)
    }

    fn erase(&mut self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Result<Erased, Stop> {
        let Some(message) = self.facts.message(id)?.filter(|message| message.agent == agent) else {
            return Ok(Erased::default());
        };
        self.remove(&message);
        let existed = message.expires_at > now;
        Ok(Erased { existed, receipt: self.add_receipts(vec![message], outcome, now)?.pop() })
    }

    /// Removes a stored message.
    fn remove(&mut self, message: &MessageFact) {
        self.facts.remove_message(message);
        self.facts.totals().remove_message(message.size);
        if let Some(usage) = self.facts.usage_if_known(message.agent) {
            usage.remove(message.size);
        }
    }

    fn delete_subscription(
        &mut self,
        id: SubscriptionId,
        of: AgentId,
        now: UnixMs,
        served: UnixMs,
    ) -> Result<Removed, Stop> {
        let Some(subscription) = self.facts.subscription(id)?.filter(|known| known.agent == of) else {
            return Ok(Removed::default());
        };
        let Some(mut agent) = self.facts.agent(of)? else {
            return Ok(Removed::default());
        };
        let mut messages = self.facts.messages_of(of)?;
        messages.retain(|message| message.subscription == id);
        agent.subscriptions -= 1;
        if agent.subscriptions == 0 {
            agent.last_seen = agent.last_seen.max(served);
        }
        self.facts.remove_subscription(id, &subscription);
        self.facts.change_agent(of, agent);
        lower(&mut self.facts.totals().subscriptions, 1);
        messages.iter().for_each(|message| self.remove(message));
        Ok(Removed { existed: true, receipts: self.add_receipts(messages, Outcome::Unsubscribed, now)? })
    }

    fn delete_agent(&mut self, id: AgentId, now: UnixMs) -> Result<Removed, Stop> {
        let Some(agent) = self.facts.agent(id)? else {
            return Ok(Removed::default());
        };
        let (messages, subscriptions) = (self.facts.messages_of(id)?, self.facts.subscriptions_of(id)?);
        debug_assert_eq!(subscriptions.len(), agent.subscriptions as usize, "an agent's subscriptions are counted");
        messages.iter().for_each(|message| self.remove(message));
        lower(&mut self.facts.totals().subscriptions, subscriptions.len() as u64);
        for (id, subscription) in &subscriptions {
            self.facts.remove_subscription(*id, subscription);
        }
        self.facts.totals().remove_agent(agent.used);
        self.facts.remove_agent(id);
        Ok(Removed { existed: true, receipts: self.add_receipts(messages, Outcome::Unsubscribed, now)? })
    }
}

fn sum<'a>(messages: impl Iterator<Item = &'a MessageFact>) -> Usage {
    let mut usage = Usage::default();
    messages.for_each(|message| usage.add(message.size, message.expires_at));
    usage
}

/// Each once, in order.
fn each_once(mut ids: Vec<ReceiptSubscriptionId>) -> Vec<ReceiptSubscriptionId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
