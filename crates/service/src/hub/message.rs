//! A message in the hub.

use bytes::Bytes;
use doorbell_mailbox::Entry;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::message::{ContentHeaders, ContentHeadersError};
use doorbell_protocol::time::UnixMs;
use doorbell_store::{NewMessage, StoredMessage};

/// What an application server posted, parsed and admitted.
pub(crate) struct Submission {
    pub(crate) agent: AgentId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) ttl: Ttl,
    pub(crate) urgency: Urgency,
    pub(crate) topic: Option<Topic>,
    /// Where its outcome is reported, if the application server wants a receipt.
    pub(crate) receipt: Option<ReceiptSubscriptionId>,
    pub(crate) headers: ContentHeaders,
    pub(crate) body: Bytes,
}

/// A message for an agent.
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) headers: ContentHeaders,
    pub(crate) body: Bytes,
    /// From this moment on it must not be sent; `None` for a transient message, which expires immediately.
    pub(crate) expires_at: Option<UnixMs>,
    /// The agent did not pass it on under its first version.
    pub(crate) is_second: bool,
}

impl Submission {
    /// TTL 0: delivered immediately or never, and not stored (PS-8030-5.2-9).
    pub(crate) fn is_transient(&self) -> bool {
        self.ttl == Ttl::ZERO
    }

    fn expires_at(&self, now: UnixMs) -> UnixMs {
        now.plus(std::time::Duration::from_secs(self.ttl.as_secs().into()))
    }

    /// The mailbox's entry for it.
    pub(super) fn entry(&self, id: MessageId, now: UnixMs) -> Entry {
        Entry { id, subscription: self.subscription, urgency: self.urgency, expires_at: self.expires_at(now) }
    }

    /// The message for the agent.
    pub(super) fn message(&self, id: MessageId, now: UnixMs) -> Message {
        Message {
            id,
            subscription: self.subscription,
            headers: self.headers.clone(),
            body: self.body.clone(),
            expires_at: (!self.is_transient()).then(|| self.expires_at(now)),
            is_second: false,
        }
    }

    /// The record for the store.
    pub(super) fn to_store(&self, id: MessageId, now: UnixMs, served: UnixMs) -> NewMessage {
        NewMessage {
            id,
            agent: self.agent,
            subscription: self.subscription,
            now,
            served,
            expires_at: self.expires_at(now),
            topic: self.topic.clone(),
            receipt: self.receipt,
            urgency: self.urgency,
            headers: self.headers.as_packed().to_vec(),
            body: self.body.clone(),
        }
    }
}

impl Message {
    /// A message from the store.
    ///
    /// # Errors
    /// The header record is damaged. Without it an agent cannot decrypt the body, so the message must not be sent. A
    /// later version with another format of headers has another store format, which this version refuses to open.
    pub(super) fn from_store(stored: StoredMessage) -> Result<Self, ContentHeadersError> {
        Ok(Self {
            id: stored.id,
            subscription: stored.subscription,
            headers: ContentHeaders::from_packed(&stored.headers)?,
            body: stored.body,
            expires_at: Some(stored.expires_at),
            is_second: false,
        })
    }

    /// Whether it has TTL 0: it is not in the store.
    pub(super) fn is_transient(&self) -> bool {
        self.expires_at.is_none()
    }
}
