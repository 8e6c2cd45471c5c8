//! What the store keeps and what it answers.

use bytes::Bytes;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

/// A subscription (RFC 8030 s4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id, minted by the service.
    pub id: SubscriptionId,
    /// The agent that it delivers to.
    pub agent: AgentId,
    /// The key that it is restricted to (RFC 8292 s4), as an uncompressed point.
    pub vapid_key: Option<[u8; 65]>,
    /// What the agent itself calls it, where it names its subscriptions: Firefox's channelID. Once for each agent.
    pub channel: Option<String>,
    /// When it was made.
    pub created: UnixMs,
}

/// A message to keep until it is settled or expires (RFC 8030 s5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its id, minted by the service.
    pub id: MessageId,
    /// The agent that it is for.
    pub agent: AgentId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// The present, which decides which of the agent's messages have expired and make room.
    pub now: UnixMs,
    /// From this moment on it is not delivered.
    pub expires_at: UnixMs,
    /// It replaces the message of this topic on the same subscription (RFC 8030 s5.4).
    pub topic: Option<Topic>,
    /// What it is worth to wake a device.
    pub urgency: Urgency,
    /// Where its sender wants to hear what became of it.
    pub receipt: Option<ReceiptSubscriptionId>,
    /// Its content headers, packed.
    pub headers: Vec<u8>,
    /// Its body, which the service cannot read.
    pub body: Bytes,
}

impl NewMessage {
    /// What it counts for in the agent's quota: the octets of its body and content headers.
    pub fn size(&self) -> u32 {
        u32::try_from(self.headers.len() + self.body.len()).unwrap_or(u32::MAX)
    }
}

/// A message was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The message of the same topic that it replaced. It gets no receipt (RFC 8030 s5.4).
    pub replaced: Option<MessageId>,
    /// Where receipts were added, for messages that had expired and made room.
    pub receipts: Vec<ReceiptSubscriptionId>,
}

/// The removal of a message, of taken receipts or of a receipt subscription took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whether there was something to remove. What has expired does not count.
    pub existed: bool,
    /// Where a receipt was added. An expired message gets its receipt too.
    pub receipt: Option<ReceiptSubscriptionId>,
}

/// The removal of a subscription or an agent took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Whether there was something to remove.
    pub existed: bool,
    /// Where receipts were added, each once.
    pub receipts: Vec<ReceiptSubscriptionId>,
}

/// A sweep took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Expired messages that it deleted.
    pub removed: u32,
    /// Where receipts were added, each once.
    pub receipts: Vec<ReceiptSubscriptionId>,
    /// Whether it stopped at its bound: sweep again soon.
    pub more: bool,
}

/// A request to remove what nobody has used for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleBounds {
    /// The present.
    pub now: UnixMs,
    /// Agents last seen before this moment are removed.
    pub agents_before: UnixMs,
    /// Receipt subscriptions last used before this moment are removed.
    pub receipt_subscriptions_before: UnixMs,
    /// Of each kind, as many at most; [`EXPIRE_MAX`](crate::EXPIRE_MAX) bounds it.
    pub max: u32,
    /// Agents that are known to be in use: they count as seen now instead of being removed.
    pub keep: Vec<AgentId>,
}

/// What was idle is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdleRemoved {
    /// The agents that were removed.
    pub agents: Vec<AgentId>,
    /// The receipt subscriptions that were removed.
    pub receipt_subscriptions: Vec<ReceiptSubscriptionId>,
    /// Where receipts were added, each once.
    pub receipts: Vec<ReceiptSubscriptionId>,
    /// Whether it stopped at its bound: ask again soon.
    pub more: bool,
}

/// What became of one message (RFC 8030 s6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place among all receipts of the store: later commits have greater ones, and none is given twice.
    pub seq: i64,
    /// The message.
    pub message: MessageId,
    /// The agent that the message was for.
    pub agent: AgentId,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub at: UnixMs,
}

/// Some of a receipt subscription's receipts, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptPage {
    /// The receipts.
    pub receipts: Vec<Receipt>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// A stored message without its headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: MessageId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// What it is worth to wake a device.
    pub urgency: Urgency,
    /// From this moment on it is not delivered.
    pub expires_at: UnixMs,
    /// Octets of its body and content headers.
    pub size: u32,
}

/// Some of an agent's messages, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub entries: Vec<Pending>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// A stored message, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// What it is worth to wake a device.
    pub urgency: Urgency,
    /// From this moment on it is not delivered.
    pub expires_at: UnixMs,
    /// Its content headers, packed.
    pub headers: Vec<u8>,
    /// Its body.
    pub body: Bytes,
}
