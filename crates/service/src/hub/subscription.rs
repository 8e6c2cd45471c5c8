//! A subscription, for the doors and the hub.

use doorbell_protocol::id::AgentId;
use doorbell_protocol::key::PublicKey;
use doorbell_store::Subscription;

use super::counters::Counters;
use super::error::HubError;
use crate::capability::KeyFingerprint;

/// A new subscription that a client requests.
pub(crate) struct NewSubscription {
    /// Its agent.
    pub(crate) agent: Agent,
    /// The only key that may sign its messages, if it is restricted.
    pub(crate) restricted_to: Option<PublicKey>,
    /// The agent's name for it, if the agent names its subscriptions.
    pub(crate) channel: Option<String>,
}

/// The key that a subscription is restricted to, if any, or an error if it is damaged.
pub(crate) type Restriction = Result<Option<KeyFingerprint>, HubError>;

/// A user agent, and whether the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// Its first subscription creates it, if it does not exist yet.
    New(AgentId),
    /// It exists.
    Known(AgentId),
}

impl Agent {
    pub(crate) fn id(self) -> AgentId {
        match self {
            Self::New(id) | Self::Known(id) => id,
        }
    }
}

/// The key that a stored subscription is restricted to; `None`: any sender may use it.
///
/// # Errors
/// [`HubError::Damaged`] if the stored key is invalid, in its length too: it must not count as no restriction.
pub(super) fn restriction(subscription: &Subscription, counters: &Counters) -> Restriction {
    let key = subscription.vapid_key.as_deref().map(PublicKey::from_bytes).transpose();
    key.map(|key| key.map(|key| key.fingerprint())).map_err(|_| {
        counters.damaged_key();
        HubError::Damaged
    })
}
