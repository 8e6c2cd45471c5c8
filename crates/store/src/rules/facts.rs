//! What the rules ask of an engine, and what they change in it.

use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use crate::figures::Ended;
use crate::model::{ClockRecord, NewMessage, Receipt, Subscription};
use crate::quota::Usage;
use crate::totals::Totals;

/// A fact that the engine has not read. It notes which, and decides the batch again once it has read it.
#[derive(Debug)]
pub(crate) struct Missing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgentFact {
    pub(crate) last_seen: UnixMs,
    /// Whether a message was sent to it, or it was seen again.
    pub(crate) used: bool,
    /// How many it has.
    pub(crate) subscriptions: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionFact {
    pub(crate) agent: AgentId,
    pub(crate) channel: Option<String>,
}

/// A message without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageFact {
    pub(crate) id: MessageId,
    pub(crate) agent: AgentId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) size: u32,
    pub(crate) expires_at: UnixMs,
    pub(crate) topic: Option<Topic>,
    pub(crate) receipt: Option<ReceiptSubscriptionId>,
}

impl From<&NewMessage> for MessageFact {
    fn from(new: &NewMessage) -> Self {
        Self {
            id: new.id,
            agent: new.agent,
            subscription: new.subscription,
            size: new.size(),
            expires_at: new.expires_at,
            topic: new.topic.clone(),
            receipt: new.receipt,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptSubscriptionFact {
    pub(crate) last_used: UnixMs,
    /// Whether a receipt was ever taken.
    pub(crate) used: bool,
    /// Receipts that were not taken.
    pub(crate) untaken: u32,
}

/// Which agents a search for idle ones looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IdleKind {
    /// All.
    Any,
    /// Those without a subscription.
    Empty,
    /// Those that were never used.
    Unused,
}

/// The rows that a batch names, as they are after all writes that were decided before.
///
/// The methods that answer [`Missing`] come before those that change something, wherever the rules can: an engine that
/// knows everything never answers so.
pub(crate) trait Facts {
    fn agent(&mut self, id: AgentId) -> Result<Option<AgentFact>, Missing>;
    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<SubscriptionFact>, Missing>;
    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<(SubscriptionId, SubscriptionFact)>, Missing>;
    fn channel_is_taken(&mut self, agent: AgentId, channel: &str) -> Result<bool, Missing>;
    fn message(&mut self, id: MessageId) -> Result<Option<MessageFact>, Missing>;
    fn message_of_topic(&mut self, of: SubscriptionId, topic: &Topic) -> Result<Option<MessageFact>, Missing>;
    /// All messages of an agent that exists.
    fn messages_of(&mut self, agent: AgentId) -> Result<Vec<MessageFact>, Missing>;
    /// What the messages of an agent that exists count for, to be changed with them.
    fn usage(&mut self, agent: AgentId) -> Result<&mut Usage, Missing>;
    /// `None`: it is not known and will be counted once it is needed.
    fn usage_if_known(&mut self, agent: AgentId) -> Option<&mut Usage>;
    fn receipt_subscription(&mut self, id: ReceiptSubscriptionId) -> Result<Option<ReceiptSubscriptionFact>, Missing>;
    fn totals(&mut self) -> &mut Totals;
    /// How messages ended since the engine was opened.
    fn ended(&mut self) -> &mut Ended;

    /// Up to `max` agents last seen before a moment, longest ago first, then by id.
    fn idle_agents(&mut self, kind: IdleKind, before: UnixMs, max: usize) -> Result<Vec<AgentId>, Missing>;
    /// The same for receipt subscriptions; `unused`: only those that were never used.
    fn idle_receipt_subscriptions(
        &mut self,
        unused: bool,
        before: UnixMs,
        max: usize,
    ) -> Result<Vec<ReceiptSubscriptionId>, Missing>;
    /// Up to `max` messages that want a receipt and have expired, by expiry, then by id.
    fn expired_exactly(&mut self, now: UnixMs, max: usize) -> Result<Vec<MessageFact>, Missing>;
    /// Up to `max` messages whose span of expiry is before the present one, by span, then by id.
    fn expired_spans(&mut self, now: UnixMs, max: usize) -> Result<Vec<MessageFact>, Missing>;

    fn insert_agent(&mut self, id: AgentId, new: AgentFact);
    fn change_agent(&mut self, id: AgentId, agent: AgentFact);
    /// Its subscriptions and messages were removed before.
    fn remove_agent(&mut self, id: AgentId);
    fn insert_subscription(&mut self, new: &Subscription);
    fn remove_subscription(&mut self, id: SubscriptionId, removed: &SubscriptionFact);
    fn insert_message(&mut self, new: &NewMessage);
    fn remove_message(&mut self, removed: &MessageFact);
    fn insert_receipt_subscription(&mut self, id: ReceiptSubscriptionId, new: ReceiptSubscriptionFact);
    fn change_receipt_subscription(&mut self, id: ReceiptSubscriptionId, changed: ReceiptSubscriptionFact);
    /// With all its receipts.
    fn remove_receipt_subscription(&mut self, id: ReceiptSubscriptionId);
    fn insert_receipt(&mut self, of: ReceiptSubscriptionId, receipt: Receipt);
    /// Removes receipts up to a number; how many there were.
    fn remove_receipts(&mut self, of: ReceiptSubscriptionId, up_to: i64) -> Result<u32, Missing>;
    fn note_clock(&mut self, record: &ClockRecord);
    /// An id is in use.
    fn note_id(&mut self, id: i64);
    /// The number of the next receipt of a receipt subscription: greater than all numbers before it.
    fn next_seq(&mut self, of: ReceiptSubscriptionId) -> i64;
}
