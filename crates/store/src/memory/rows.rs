//! The rows of the memory engine and their indexes.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use doorbell_protocol::{
    headers::topic::Topic,
    id::{AgentId, MessageId, SubscriptionId},
    time::UnixMs,
};

use crate::{
    engine::expiry_bucket,
    error::StoreError,
    limits::{Limits, SWEEP_MAX},
    model::{Appended, NewMessage, Pending, StoredMessage, Subscription, Swept},
    quota::Usage,
};

#[derive(Default)]
pub(super) struct Rows {
    pub(super) agents: HashMap<AgentId, Agent>,
    pub(super) subscriptions: HashMap<SubscriptionId, Subscription>,
    messages: HashMap<MessageId, NewMessage>,
    topics: HashMap<(SubscriptionId, Topic), MessageId>,
    by_expiry: BTreeSet<(i64, MessageId)>,
    pub(super) greatest_id: i64,
}

#[derive(Default)]
pub(super) struct Agent {
    pub(super) subscriptions: BTreeSet<SubscriptionId>,
    messages: BTreeSet<MessageId>,
    usage: Usage,
}

impl Rows {
    pub(super) fn create_agent(&mut self, id: AgentId) -> Result<(), StoreError> {
        if self.agents.contains_key(&id) {
            return Err(StoreError::IdTaken);
        }
        self.agents.insert(id, Agent::default());
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
        agent.subscriptions.insert(new.id);
        self.subscriptions.insert(new.id, new.clone());
        self.greatest_id = self.greatest_id.max(new.id.raw());
        Ok(())
    }

    pub(super) fn append(&mut self, limits: &Limits, new: &NewMessage) -> Result<Appended, StoreError> {
        let known = self.subscriptions.get(&new.subscription).is_some_and(|s| s.agent == new.agent);
        if !known {
            return Err(StoreError::NoSubscription);
        }
        if self.messages.contains_key(&new.id) {
            return Err(StoreError::IdTaken);
        }
        if self.check(limits, new).is_err() {
            self.purge(new.agent, new.now);
            self.check(limits, new)?;
        }
        let replaced = self.same_topic(new);
        if let Some(id) = replaced {
            self.erase(id, new.agent);
        }
        self.insert(new);
        Ok(Appended { replaced })
    }

    fn check(&self, limits: &Limits, new: &NewMessage) -> Result<(), StoreError> {
        let replaced = self.same_topic(new).and_then(|id| self.messages.get(&id)).map(NewMessage::size);
        let agent = self.agents.get(&new.agent).ok_or(StoreError::NoSubscription)?;
        agent.usage.check(limits, new.size(), replaced)
    }

    fn same_topic(&self, new: &NewMessage) -> Option<MessageId> {
        self.topics.get(&(new.subscription, new.topic.clone()?)).copied()
    }

    /// Removes what has expired of one agent, to make room.
    fn purge(&mut self, agent: AgentId, now: UnixMs) {
        let ids = self.agents.get(&agent).into_iter().flat_map(|agent| &agent.messages);
        let expired = |id: &&MessageId| self.messages.get(id).is_some_and(|m| m.expires_at <= now);
        for id in ids.filter(expired).copied().collect::<Vec<_>>() {
            self.erase(id, agent);
        }
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
        self.messages.insert(new.id, new.clone());
        self.greatest_id = self.greatest_id.max(new.id.raw());
    }

    pub(super) fn erase(&mut self, id: MessageId, agent: AgentId) -> bool {
        let Some(message) = self.messages.get(&id).filter(|m| m.agent == agent) else { return false };
        self.by_expiry.remove(&(expiry_bucket(message.expires_at), id));
        if let Some(topic) = &message.topic {
            self.topics.remove(&(message.subscription, topic.clone()));
        }
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.messages.remove(&id);
            agent.usage.remove(message.size());
        }
        self.messages.remove(&id).is_some()
    }

    pub(super) fn delete_subscription(&mut self, id: SubscriptionId, agent: AgentId) -> bool {
        if self.subscriptions.get(&id).is_none_or(|s| s.agent != agent) {
            return false;
        }
        let messages = self.agents.get(&agent).into_iter().flat_map(|agent| &agent.messages);
        let sent_to_it = |m: &&MessageId| self.messages.get(m).is_some_and(|m| m.subscription == id);
        for message in messages.filter(sent_to_it).copied().collect::<Vec<_>>() {
            self.erase(message, agent);
        }
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.subscriptions.remove(&id);
        }
        self.subscriptions.remove(&id).is_some()
    }

    pub(super) fn delete_agent(&mut self, id: AgentId) -> bool {
        let subscriptions = self.agents.get(&id).map(|agent| agent.subscriptions.clone()).unwrap_or_default();
        for subscription in subscriptions {
            self.delete_subscription(subscription, id);
        }
        self.agents.remove(&id).is_some()
    }

    pub(super) fn sweep(&mut self, now: UnixMs, max: u32) -> Swept {
        let max = max.min(SWEEP_MAX) as usize;
        let past = self.by_expiry.range(..(expiry_bucket(now), MessageId::from_raw(i64::MIN)));
        let mut ids: Vec<_> = past.map(|(_, id)| *id).take(max + 1).collect();
        let more = ids.len() > max;
        ids.truncate(max);
        for id in &ids {
            if let Some(agent) = self.messages.get(id).map(|m| m.agent) {
                self.erase(*id, agent);
            }
        }
        Swept { removed: u32::try_from(ids.len()).unwrap_or(u32::MAX), more }
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
