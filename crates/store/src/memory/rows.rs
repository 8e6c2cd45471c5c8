//! The rows of the memory engine and their indexes.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use super::receipts::ReceiptSubscription;
use crate::engine::expiry_bucket;
use crate::error::StoreError;
use crate::figures::Ended;
use crate::limits::{Limits, SWEEP_MAX};
use crate::model::{Appended, ClockRecord, Erased, NewMessage, Pending, Removed, StoredMessage, Subscription, Swept};
use crate::quota::Usage;
use crate::totals::{Totals, lower};

#[derive(Default)]
pub(super) struct Rows {
    pub(super) agents: HashMap<AgentId, Agent>,
    pub(super) subscriptions: HashMap<SubscriptionId, Subscription>,
    pub(super) messages: HashMap<MessageId, NewMessage>,
    pub(super) topics: HashMap<(SubscriptionId, Topic), MessageId>,
    pub(super) by_expiry: BTreeSet<(i64, MessageId)>,
    /// Messages that want a receipt.
    pub(super) by_exact_expiry: BTreeSet<(UnixMs, MessageId)>,
    pub(super) receipt_subscriptions: HashMap<ReceiptSubscriptionId, ReceiptSubscription>,
    pub(super) greatest_id: i64,
    pub(super) greatest_seq: i64,
    pub(super) clock: ClockRecord,
    pub(super) totals: Totals,
    pub(super) ended: Ended,
}

#[derive(Default)]
pub(super) struct Agent {
    pub(super) last_seen: UnixMs,
    /// Whether a message was sent to it, or it was seen again.
    pub(super) used: bool,
    pub(super) subscriptions: BTreeSet<SubscriptionId>,
    pub(super) messages: BTreeSet<MessageId>,
    pub(super) usage: Usage,
}

impl Rows {
    pub(super) fn create_agent(&mut self, limits: &Limits, id: AgentId, served: UnixMs) -> Result<(), StoreError> {
        if self.agents.contains_key(&id) {
            return Err(StoreError::IdTaken);
        }
        self.totals.check_agent(limits)?;
        self.totals.agents += 1;
        self.totals.unused_agents += 1;
        self.agents.insert(id, Agent { last_seen: served, ..Agent::default() });
        self.greatest_id = self.greatest_id.max(id.raw());
        Ok(())
    }

    pub(super) fn create_subscription(&mut self, limits: &Limits, new: &Subscription) -> Result<(), StoreError> {
        let agent = self.agents.get_mut(&new.agent).ok_or(StoreError::NoAgent)?;
        if self.subscriptions.contains_key(&new.id) {
            return Err(StoreError::IdTaken);
        }
        if agent.subscriptions.len() >= limits.subscriptions_per_agent_max as usize {
            return Err(StoreError::TooManySubscriptions);
        }
        let is_taken = |id: &SubscriptionId| self.subscriptions[id].channel == new.channel;
        if new.channel.is_some() && agent.subscriptions.iter().any(is_taken) {
            return Err(StoreError::ChannelTaken);
        }
        self.totals.check_subscription(limits)?;
        self.totals.subscriptions += 1;
        agent.subscriptions.insert(new.id);
        self.subscriptions.insert(new.id, new.clone());
        self.greatest_id = self.greatest_id.max(new.id.raw());
        Ok(())
    }

    pub(super) fn subscription_of_channel(&self, agent: AgentId, channel: &str) -> Option<&Subscription> {
        let ids = &self.agents.get(&agent)?.subscriptions;
        let mut subscriptions = ids.iter().map(|id| &self.subscriptions[id]);
        subscriptions.find(|subscription| subscription.channel.as_deref() == Some(channel))
    }

    pub(super) fn append(&mut self, limits: &Limits, new: &NewMessage) -> Result<Appended, StoreError> {
        let known = self.subscriptions.get(&new.subscription).is_some_and(|s| s.agent == new.agent);
        if !known {
            return Err(StoreError::NoSubscription);
        }
        if self.messages.contains_key(&new.id) {
            return Err(StoreError::IdTaken);
        }
        if let Some(receipt) = new.receipt {
            self.check_receipts(limits, receipt)?;
        }
        self.totals.check_message(limits, new.size())?;
        self.check_share(limits, new)?;
        let mut expired = self.make_room(limits, new)?;
        let old = self.same_topic(new).map(|id| self.remove(id));
        let replaced = old.as_ref().filter(|old| old.expires_at > new.now).map(|old| old.id);
        self.ended.replaced += u64::from(replaced.is_some());
        expired.extend(old.filter(|old| old.expires_at <= new.now));
        let receipts = self.add_receipts(expired, Outcome::Expired, new.now);
        if let Some(receipt) = new.receipt {
            self.use_receipt_subscription(limits, receipt, new.served);
        }
        self.insert(new);
        Ok(Appended { replaced, receipts })
    }

    /// Refuses a message that would take its subscription over its share.
    fn check_share(&self, limits: &Limits, new: &NewMessage) -> Result<(), StoreError> {
        let mut usage = Usage::default();
        self.messages_of(new.agent)
            .filter(|message| message.subscription == new.subscription && message.expires_at > new.now)
            .for_each(|message| usage.add(message.size(), message.expires_at));
        let replaced = self.same_topic(new).map(|id| &self.messages[&id]);
        let replaced = replaced.filter(|replaced| replaced.expires_at > new.now);
        usage.check_share(limits, new.size(), replaced.map(NewMessage::size))
    }

    /// Checks that the agent may store `new`. If it may not yet, and only if that helps, removes and returns its
    /// expired messages.
    fn make_room(&mut self, limits: &Limits, new: &NewMessage) -> Result<Vec<NewMessage>, StoreError> {
        let replaced = self.same_topic(new).map(|id| &self.messages[&id]);
        if self.agents[&new.agent].usage.check(limits, new.size(), replaced.map(NewMessage::size)).is_ok() {
            return Ok(Vec::new());
        }
        let (expired, unexpired): (Vec<_>, Vec<_>) =
            self.messages_of(new.agent).partition(|message| message.expires_at <= new.now);
        let mut usage = Usage::default();
        unexpired.iter().for_each(|message| usage.add(message.size(), message.expires_at));
        let replaced = replaced.filter(|replaced| replaced.expires_at > new.now);
        usage.check(limits, new.size(), replaced.map(NewMessage::size))?;
        let expired: Vec<_> = expired.into_iter().map(|message| message.id).collect();
        Ok(expired.into_iter().map(|id| self.remove(id)).collect())
    }

    /// The messages of an agent that exists, in the order of their ids.
    fn messages_of(&self, agent: AgentId) -> impl Iterator<Item = &NewMessage> {
        self.agents[&agent].messages.iter().map(|id| &self.messages[id])
    }

    fn same_topic(&self, new: &NewMessage) -> Option<MessageId> {
        self.topics.get(&(new.subscription, new.topic.clone()?)).copied()
    }

    fn insert(&mut self, new: &NewMessage) {
        let agent = self.agents.get_mut(&new.agent).expect("the subscription of `append` has an agent");
        if !std::mem::replace(&mut agent.used, true) {
            lower(&mut self.totals.unused_agents, 1);
        }
        self.totals.add_message(new.size());
        agent.messages.insert(new.id);
        agent.usage.add(new.size(), new.expires_at);
        if let Some(topic) = &new.topic {
            self.topics.insert((new.subscription, topic.clone()), new.id);
        }
        self.by_expiry.insert((expiry_bucket(new.expires_at), new.id));
        if new.receipt.is_some() {
            self.by_exact_expiry.insert((new.expires_at, new.id));
        }
        self.messages.insert(new.id, new.clone());
        self.greatest_id = self.greatest_id.max(new.id.raw());
    }

    pub(super) fn erase(&mut self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> Erased {
        let is_its_own = self.messages.get(&id).is_some_and(|message| message.agent == agent);
        let removed = is_its_own.then(|| self.remove(id));
        let existed = removed.as_ref().is_some_and(|message| message.expires_at > now);
        Erased { existed, receipt: self.add_receipts(removed.into_iter().collect(), outcome, now).pop() }
    }

    /// Removes a stored message from the rows and all indexes.
    fn remove(&mut self, id: MessageId) -> NewMessage {
        let message = self.messages.remove(&id).expect("the caller found the id in an index");
        self.by_expiry.remove(&(expiry_bucket(message.expires_at), id));
        self.by_exact_expiry.remove(&(message.expires_at, id));
        if let Some(topic) = &message.topic {
            self.topics.remove(&(message.subscription, topic.clone()));
        }
        let agent = self.agents.get_mut(&message.agent).expect("an agent is removed after its messages");
        agent.messages.remove(&id);
        agent.usage.remove(message.size());
        self.totals.remove_message(message.size());
        message
    }

    pub(super) fn delete_subscription(
        &mut self,
        id: SubscriptionId,
        agent: AgentId,
        now: UnixMs,
        served: UnixMs,
    ) -> Removed {
        if self.subscriptions.get(&id).is_none_or(|s| s.agent != agent) {
            return Removed::default();
        }
        self.subscriptions.remove(&id);
        let owner = self.agents.get_mut(&agent).expect("an agent is removed with its subscriptions");
        owner.subscriptions.remove(&id);
        if owner.subscriptions.is_empty() {
            owner.last_seen = owner.last_seen.max(served);
        }
        lower(&mut self.totals.subscriptions, 1);
        let removed = self.remove_where(agent, |message| message.subscription == id);
        Removed { existed: true, receipts: self.add_receipts(removed, Outcome::Unsubscribed, now) }
    }

    pub(super) fn delete_agent(&mut self, id: AgentId, now: UnixMs) -> Removed {
        if !self.agents.contains_key(&id) {
            return Removed::default();
        }
        let removed = self.remove_where(id, |_| true);
        let agent = self.agents.remove(&id).expect("it was looked up above");
        self.totals.remove_agent(agent.used);
        lower(&mut self.totals.subscriptions, agent.subscriptions.len() as u64);
        for subscription in agent.subscriptions {
            self.subscriptions.remove(&subscription);
        }
        Removed { existed: true, receipts: self.add_receipts(removed, Outcome::Unsubscribed, now) }
    }

    fn remove_where(&mut self, agent: AgentId, choose: impl Fn(&NewMessage) -> bool) -> Vec<NewMessage> {
        let chosen: Vec<_> =
            self.messages_of(agent).filter(|message| choose(message)).map(|message| message.id).collect();
        chosen.into_iter().map(|id| self.remove(id)).collect()
    }

    pub(super) fn sweep(&mut self, now: UnixMs, max: u32) -> Swept {
        let max = max.min(SWEEP_MAX) as usize;
        let least = MessageId::from_raw(i64::MIN);
        let exact: Vec<_> = self.by_exact_expiry.iter().take_while(|(at, _)| *at <= now).take(max).copied().collect();
        let mut expired: Vec<_> = exact.into_iter().map(|(_, id)| self.remove(id)).collect();
        let past = self.by_expiry.range(..(expiry_bucket(now), least)).take(max - expired.len());
        let past: Vec<_> = past.map(|(_, id)| *id).collect();
        expired.extend(past.into_iter().map(|id| self.remove(id)));
        let more = self.by_exact_expiry.first().is_some_and(|(at, _)| *at <= now)
            || self.by_expiry.first().is_some_and(|(bucket, _)| *bucket < expiry_bucket(now));
        let removed = u32::try_from(expired.len()).expect("a sweep removes at most SWEEP_MAX messages");
        Swept { removed, receipts: self.add_receipts(expired, Outcome::Expired, now), more }
    }

    pub(super) fn pending(&self, agent: AgentId, after: Option<MessageId>, now: UnixMs, max: usize) -> Vec<Pending> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.agents.get(&agent).into_iter().flat_map(|a| a.messages.range((from, Bound::Unbounded)));
        let entry = |m: &NewMessage| Pending {
            id: m.id,
            subscription: m.subscription,
            urgency: m.urgency,
            expires_at: m.expires_at,
            size: m.size(),
        };
        let messages = ids.map(|id| &self.messages[id]).filter(|m| m.expires_at > now);
        messages.take(max).map(entry).collect()
    }

    pub(super) fn message(&self, id: MessageId, now: UnixMs) -> Option<StoredMessage> {
        let m = self.messages.get(&id).filter(|m| m.expires_at > now)?;
        Some(StoredMessage {
            id,
            subscription: m.subscription,
            urgency: m.urgency,
            expires_at: m.expires_at,
            headers: m.headers.clone(),
            body: m.body.clone(),
        })
    }
}
