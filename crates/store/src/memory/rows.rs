//! The rows of the memory engine and their indexes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use crate::engine::expiry_bucket;
use crate::figures::Ended;
use crate::model::{ClockRecord, NewMessage, Pending, Receipt, StoredMessage, Subscription};
use crate::quota::Usage;
use crate::totals::Totals;

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

pub(super) struct ReceiptSubscription {
    pub(super) last_used: UnixMs,
    /// Whether a receipt was ever taken.
    pub(super) used: bool,
    pub(super) untaken: BTreeMap<i64, Receipt>,
}

impl Rows {
    pub(super) fn subscription_of_channel(&self, agent: AgentId, channel: &str) -> Option<&Subscription> {
        let ids = &self.agents.get(&agent)?.subscriptions;
        let mut subscriptions = ids.iter().map(|id| &self.subscriptions[id]);
        subscriptions.find(|subscription| subscription.channel.as_deref() == Some(channel))
    }

    /// Adds a message to the rows and all indexes.
    pub(super) fn add_message(&mut self, new: &NewMessage) {
        let agent = self.agents.get_mut(&new.agent).expect("the rules looked for its subscription");
        agent.messages.insert(new.id);
        if let Some(topic) = &new.topic {
            self.topics.insert((new.subscription, topic.clone()), new.id);
        }
        self.by_expiry.insert((expiry_bucket(new.expires_at), new.id));
        if new.receipt.is_some() {
            self.by_exact_expiry.insert((new.expires_at, new.id));
        }
        self.messages.insert(new.id, new.clone());
    }

    /// Removes a stored message from the rows and all indexes.
    pub(super) fn drop_message(&mut self, id: MessageId) {
        let message = self.messages.remove(&id).expect("the rules found it");
        self.by_expiry.remove(&(expiry_bucket(message.expires_at), id));
        self.by_exact_expiry.remove(&(message.expires_at, id));
        if let Some(topic) = message.topic {
            self.topics.remove(&(message.subscription, topic));
        }
        let agent = self.agents.get_mut(&message.agent).expect("an agent is removed after its messages");
        agent.messages.remove(&id);
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

    pub(super) fn receipts(&self, of: ReceiptSubscriptionId, after: Option<i64>, max: usize) -> Vec<Receipt> {
        let subscription = self.receipt_subscriptions.get(&of);
        let untaken = subscription.into_iter().flat_map(|subscription| &subscription.untaken);
        untaken.map(|(_, receipt)| *receipt).filter(|receipt| Some(receipt.seq) > after).take(max).collect()
    }
}
