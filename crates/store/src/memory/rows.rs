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
use crate::limits::{Limits, SWEEP_MAX};
use crate::model::{Appended, Erased, NewMessage, Pending, Removed, StoredMessage, Subscription, Swept};
use crate::quota::Usage;

#[derive(Default)]
pub(super) struct Rows {
    pub(super) agents: HashMap<AgentId, Agent>,
    pub(super) subscriptions: HashMap<SubscriptionId, Subscription>,
    messages: HashMap<MessageId, NewMessage>,
    topics: HashMap<(SubscriptionId, Topic), MessageId>,
    by_expiry: BTreeSet<(i64, MessageId)>,
    /// Those that want a receipt.
    by_exact_expiry: BTreeSet<(UnixMs, MessageId)>,
    pub(super) receipt_subscriptions: HashMap<ReceiptSubscriptionId, ReceiptSubscription>,
    pub(super) greatest_id: i64,
    pub(super) greatest_seq: i64,
}

#[derive(Default)]
pub(super) struct Agent {
    pub(super) last_seen: UnixMs,
    pub(super) subscriptions: BTreeSet<SubscriptionId>,
    messages: BTreeSet<MessageId>,
    usage: Usage,
}

impl Rows {
    pub(super) fn create_agent(&mut self, id: AgentId, now: UnixMs) -> Result<(), StoreError> {
        if self.agents.contains_key(&id) {
            return Err(StoreError::IdTaken);
        }
        self.agents.insert(id, Agent { last_seen: now, ..Agent::default() });
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
        let is_taken = |id| self.subscriptions.get(id).is_some_and(|other: &Subscription| other.channel == new.channel);
        if new.channel.is_some() && agent.subscriptions.iter().any(is_taken) {
            return Err(StoreError::ChannelTaken);
        }
        agent.subscriptions.insert(new.id);
        self.subscriptions.insert(new.id, new.clone());
        self.greatest_id = self.greatest_id.max(new.id.raw());
        Ok(())
    }

    pub(super) fn subscription_of_channel(&self, agent: AgentId, channel: &str) -> Option<&Subscription> {
        let ids = &self.agents.get(&agent)?.subscriptions;
        let mut subscriptions = ids.iter().filter_map(|id| self.subscriptions.get(id));
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
        self.check_share(limits, new)?;
        let mut left = self.make_room(limits, new)?;
        let old = self.same_topic(new).and_then(|id| self.remove(id, new.agent));
        let replaced = old.as_ref().filter(|old| old.expires_at > new.now).map(|old| old.id);
        left.extend(old.filter(|old| old.expires_at <= new.now));
        let receipts = self.hand_in(left, Outcome::Expired, new.now);
        if let Some(receipt) = new.receipt {
            self.use_receipt_subscription(limits, receipt, new.now);
        }
        self.insert(new);
        Ok(Appended { replaced, receipts })
    }

    /// Refuses a message that would take its subscription over its share.
    fn check_share(&self, limits: &Limits, new: &NewMessage) -> Result<(), StoreError> {
        let agent = self.agents.get(&new.agent).ok_or(StoreError::NoSubscription)?;
        let messages = agent.messages.iter().filter_map(|id| self.messages.get(id));
        let mut usage = Usage::default();
        messages
            .filter(|message| message.subscription == new.subscription && message.expires_at > new.now)
            .for_each(|message| usage.add(message.size(), message.expires_at));
        let replaced = self.same_topic(new).and_then(|id| self.messages.get(&id));
        let replaced = replaced.filter(|replaced| replaced.expires_at > new.now);
        usage.check_share(limits, new.size(), replaced.map(NewMessage::size))
    }

    /// Sees to it that the agent may keep `new`. Only if that helps, its expired messages make room, and are answered.
    fn make_room(&mut self, limits: &Limits, new: &NewMessage) -> Result<Vec<NewMessage>, StoreError> {
        let agent = self.agents.get(&new.agent).ok_or(StoreError::NoSubscription)?;
        let replaced = self.same_topic(new).and_then(|id| self.messages.get(&id));
        if agent.usage.check(limits, new.size(), replaced.map(NewMessage::size)).is_ok() {
            return Ok(Vec::new());
        }
        let messages = agent.messages.iter().filter_map(|id| self.messages.get(id));
        let (expired, unexpired): (Vec<_>, Vec<_>) = messages.partition(|message| message.expires_at <= new.now);
        let mut usage = Usage::default();
        unexpired.iter().for_each(|message| usage.add(message.size(), message.expires_at));
        let replaced = replaced.filter(|replaced| replaced.expires_at > new.now);
        usage.check(limits, new.size(), replaced.map(NewMessage::size))?;
        let expired: Vec<_> = expired.into_iter().map(|message| message.id).collect();
        Ok(expired.into_iter().filter_map(|id| self.remove(id, new.agent)).collect())
    }

    fn same_topic(&self, new: &NewMessage) -> Option<MessageId> {
        self.topics.get(&(new.subscription, new.topic.clone()?)).copied()
    }

    fn insert(&mut self, new: &NewMessage) {
        if let Some(agent) = self.agents.get_mut(&new.agent) {
            agent.messages.insert(new.id);
            agent.usage.add(new.size(), new.expires_at);
        }
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
        let left = self.remove(id, agent);
        let existed = left.as_ref().is_some_and(|message| message.expires_at > now);
        Erased { existed, receipt: self.hand_in(left.into_iter().collect(), outcome, now).pop() }
    }

    /// Takes a message of this agent out of all indexes.
    fn remove(&mut self, id: MessageId, agent: AgentId) -> Option<NewMessage> {
        let message = self.messages.get(&id).filter(|message| message.agent == agent)?;
        self.by_expiry.remove(&(expiry_bucket(message.expires_at), id));
        self.by_exact_expiry.remove(&(message.expires_at, id));
        if let Some(topic) = &message.topic {
            self.topics.remove(&(message.subscription, topic.clone()));
        }
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.messages.remove(&id);
            agent.usage.remove(message.size());
        }
        self.messages.remove(&id)
    }

    pub(super) fn delete_subscription(&mut self, id: SubscriptionId, agent: AgentId, now: UnixMs) -> Removed {
        if self.subscriptions.get(&id).is_none_or(|s| s.agent != agent) {
            return Removed::default();
        }
        self.subscriptions.remove(&id);
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.subscriptions.remove(&id);
        }
        let left = self.remove_where(agent, |message| message.subscription == id);
        Removed { existed: true, receipts: self.hand_in(left, Outcome::Unsubscribed, now) }
    }

    pub(super) fn delete_agent(&mut self, id: AgentId, now: UnixMs) -> Removed {
        let left = self.remove_where(id, |_| true);
        let Some(agent) = self.agents.remove(&id) else { return Removed::default() };
        for subscription in agent.subscriptions {
            self.subscriptions.remove(&subscription);
        }
        Removed { existed: true, receipts: self.hand_in(left, Outcome::Unsubscribed, now) }
    }

    fn remove_where(&mut self, agent: AgentId, choose: impl Fn(&NewMessage) -> bool) -> Vec<NewMessage> {
        let ids = self.agents.get(&agent).into_iter().flat_map(|agent| &agent.messages);
        let chosen: Vec<_> = ids.filter(|id| self.messages.get(id).is_some_and(&choose)).copied().collect();
        chosen.into_iter().filter_map(|id| self.remove(id, agent)).collect()
    }

    pub(super) fn sweep(&mut self, now: UnixMs, max: u32) -> Swept {
        let max = max.min(SWEEP_MAX) as usize;
        let least = MessageId::from_raw(i64::MIN);
        let exact: Vec<_> = self.by_exact_expiry.iter().take_while(|(at, _)| *at <= now).take(max).copied().collect();
        let mut left = self.remove_all(exact.into_iter().map(|(_, id)| id));
        let past = self.by_expiry.range(..(expiry_bucket(now), least)).take(max - left.len());
        let past: Vec<_> = past.map(|(_, id)| *id).collect();
        left.extend(self.remove_all(past.into_iter()));
        let more = self.by_exact_expiry.first().is_some_and(|(at, _)| *at <= now)
            || self.by_expiry.first().is_some_and(|(bucket, _)| *bucket < expiry_bucket(now));
        let removed = u32::try_from(left.len()).unwrap_or(u32::MAX);
        Swept { removed, receipts: self.hand_in(left, Outcome::Expired, now), more }
    }

    fn remove_all(&mut self, ids: impl Iterator<Item = MessageId>) -> Vec<NewMessage> {
        ids.filter_map(|id| self.remove(id, self.messages.get(&id)?.agent)).collect()
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
        let messages = ids.filter_map(|id| self.messages.get(id)).filter(|m| m.expires_at > now);
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
