//! What the store keeps and what it answers.

use bytes::Bytes;
use doorbell_protocol::{
    headers::{topic::Topic, urgency::Urgency},
    id::{AgentId, MessageId, SubscriptionId},
    time::UnixMs,
};

/// A subscription (RFC 8030 s4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id, minted by the service.
    pub id: SubscriptionId,
    /// The agent that it delivers to.
    pub agent: AgentId,
    /// The key that it is restricted to (RFC 8292 s4), as an uncompressed point.
    pub vapid_key: Option<[u8; 65]>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message of the same topic that it replaced.
    pub replaced: Option<MessageId>,
}

/// A removal took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Whether there was something to remove.
    pub existed: bool,
}

/// A sweep took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Expired messages that it deleted.
    pub removed: u32,
    /// Whether it stopped at its bound: sweep again soon.
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
