//! What the store keeps and what it returns.

use std::time::Duration;

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
    /// The only key that may sign its messages (RFC 8292 s4): the 65 bytes of an uncompressed point. The store returns
    /// what the row holds, of any length, and checks nothing: `Some` is a restriction, also when the bytes are no key.
    pub vapid_key: Option<Vec<u8>>,
    /// The agent's own name for it, if agents of its kind have such names (Firefox: channelID). Unique within an agent.
    pub channel: Option<String>,
    /// When it was created.
    pub created: UnixMs,
}

/// A message to store until it is settled or expires (RFC 8030 s5).
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
    /// The time of service ([`ClockRecord`]), noted as a use of the receipt subscription.
    pub served: UnixMs,
    /// From this moment on it is not delivered.
    pub expires_at: UnixMs,
    /// It replaces the message of this topic on the same subscription (RFC 8030 s5.4).
    pub topic: Option<Topic>,
    /// Its urgency (RFC 8030 s5.3).
    pub urgency: Urgency,
    /// The receipt subscription that gets its receipt, if its sender wants one.
    pub receipt: Option<ReceiptSubscriptionId>,
    /// Its content headers, packed.
    pub headers: Vec<u8>,
    /// Its body, which the service cannot read.
    pub body: Bytes,
}

impl NewMessage {
    /// What it counts for in the agent's quota: the bytes of its body and content headers.
    pub fn size(&self) -> u32 {
        // Bodies are bounded far below 4 GiB: the greatest u32 only keeps the count from wrapping.
        u32::try_from(self.headers.len() + self.body.len()).unwrap_or(u32::MAX)
    }
}

/// A message was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The message of the same topic that it replaced. It gets no receipt (RFC 8030 s5.4).
    pub replaced: Option<MessageId>,
    /// The receipt subscriptions that got receipts, for expired messages that made room.
    pub receipts: Vec<ReceiptSubscriptionId>,
}

/// The removal of a message, of taken receipts or of a receipt subscription took effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whether there was something to remove. An expired message does not count.
    pub existed: bool,
    /// The receipt subscription that got a receipt. An expired message gets its receipt too.
    pub receipt: Option<ReceiptSubscriptionId>,
}

/// The removal of a subscription or an agent took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Whether there was something to remove.
    pub existed: bool,
    /// The receipt subscriptions that got receipts, each once.
    pub receipts: Vec<ReceiptSubscriptionId>,
}

/// A sweep took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Expired messages that it deleted.
    pub removed: u32,
    /// The receipt subscriptions that got receipts, each once.
    pub receipts: Vec<ReceiptSubscriptionId>,
    /// Whether it stopped at its bound: sweep again soon.
    pub more: bool,
}

/// A request to remove what was idle for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleBounds {
    /// The present.
    pub now: UnixMs,
    /// The time of service ([`ClockRecord`]).
    pub served: UnixMs,
    /// Agents last seen before this time of service are removed.
    pub agents_before: UnixMs,
    /// Receipt subscriptions last used before this time of service are removed.
    pub receipt_subscriptions_before: UnixMs,
    /// Of each kind, as many at most; [`EXPIRE_MAX`](crate::EXPIRE_MAX) bounds it.
    pub max: u32,
    /// Agents that are known to be in use: they count as seen now instead of being removed.
    pub keep: Vec<AgentId>,
}

/// A request to remove what was never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnusedBounds {
    /// The present.
    pub now: UnixMs,
    /// Agents without a subscription that were last seen before this moment are removed.
    pub empty_agents_before: UnixMs,
    /// Agents that were never used, and last seen before this moment, are removed while their share of the store is
    /// nearly full.
    pub unused_agents_before: UnixMs,
    /// The same for receipt subscriptions.
    pub unused_receipt_subscriptions_before: UnixMs,
    /// Of each kind, as many at most; [`EXPIRE_MAX`](crate::EXPIRE_MAX) bounds it.
    pub max: u32,
}

/// Idle agents and receipt subscriptions were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdleRemoved {
    /// The agents that were removed.
    pub agents: Vec<AgentId>,
    /// The receipt subscriptions that were removed.
    pub receipt_subscriptions: Vec<ReceiptSubscriptionId>,
    /// The receipt subscriptions that got receipts, each once.
    pub receipts: Vec<ReceiptSubscriptionId>,
    /// Whether it stopped at its bound: expire again soon.
    pub more: bool,
}

/// What a store knows of the service's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockRecord {
    /// The time of service: how long the service has run, as a time. Agents and receipt subscriptions age by it alone, so
    /// that no jump of a clock and no time without service ages them. `None` in a new store.
    pub served: Option<UnixMs>,
    /// What the clocks showed at the last record.
    pub last: Option<ClockReading>,
}

/// What the clocks of the service showed at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The service's time, which is in all records of messages and receipts.
    pub time: UnixMs,
    /// The wall clock.
    pub wall: UnixMs,
    /// The newest time that the wall clock showed and that was believed; it runs on with the boot clock.
    pub newest_wall: UnixMs,
    /// How long the machine ran.
    pub boot: Duration,
    /// Which run of the machine that was, if it is known.
    pub boot_id: Option<String>,
}

/// How one message ended (RFC 8030 s6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number among all receipts of its cell: later commits have greater numbers, and no number is used twice.
    pub seq: i64,
    /// The cell that it is in: 0 in a store of one cell, and from a cell's own reader.
    pub cell: u8,
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

impl ReceiptPage {
    pub(crate) fn is_sorted_after(&self, after: Option<i64>) -> bool {
        let seqs = self.receipts.iter().map(|receipt| Some(receipt.seq));
        std::iter::once(after).chain(seqs).is_sorted_by(|one, next| one < next)
    }
}

/// A stored message without its headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: MessageId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// Its urgency (RFC 8030 s5.3).
    pub urgency: Urgency,
    /// From this moment on it is not delivered.
    pub expires_at: UnixMs,
    /// Bytes of its body and content headers.
    pub size: u32,
}

/// Some of an agent's messages, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub entries: Vec<Pending>,
    /// Messages whose rows are damaged: they cannot be delivered, only erased. At most as many as the page may have
    /// entries; a later page reports the others.
    pub damaged: Vec<MessageId>,
    /// Whether there are more after the last of the entries.
    pub more: bool,
}

impl Page {
    pub(crate) fn is_sorted_after(&self, after: Option<MessageId>) -> bool {
        let ids = self.entries.iter().map(|entry| Some(entry.id));
        std::iter::once(after).chain(ids).is_sorted_by(|one, next| one < next)
    }
}

/// A stored message with its headers and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// Its urgency (RFC 8030 s5.3).
    pub urgency: Urgency,
    /// From this moment on it is not delivered.
    pub expires_at: UnixMs,
    /// Its content headers, packed.
    pub headers: Vec<u8>,
    /// Its body.
    pub body: Bytes,
}

/// What the store holds under a message's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The message.
    Stored(StoredMessage),
    /// No message, or one that has expired.
    Absent,
    /// A message whose row is damaged: it cannot be delivered, only erased.
    Damaged,
}
