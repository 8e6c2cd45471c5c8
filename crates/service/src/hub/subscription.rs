//! A subscription as the doors and the hub see it.

use doorbell_protocol::id::AgentId;
use doorbell_protocol::key::PublicKey;
use doorbell_store::Subscription;

use super::counters::Counters;
use super::error::HubError;
use crate::capability::KeyFingerprint;

/// A subscription that a client asks for.
pub(crate) struct NewSubscription {
    /// Whose it is.
    pub(crate) agent: Agent,
    /// The only key that may sign its messages, if there is one.
    pub(crate) restricted_to: Option<PublicKey>,
    /// What the agent calls it, where it names its subscriptions itself.
    pub(crate) channel: Option<String>,
}

/// The key that a subscription is restricted to, if to any and if it can be read.
pub(crate) type Restriction = Result<Option<KeyFingerprint>, HubError>;

/// A user agent, and whether the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// Comes into being with its first subscription, if it is not there yet.
    New(AgentId),
    /// Is there.
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
/// [`HubError::Damaged`] if the stored key is none: it must not pass for no restriction.
pub(super) fn restriction(subscription: &Subscription, counters: &Counters) -> Restriction {
    let key = subscription.vapid_key.map(|key| PublicKey::from_bytes(&key)).transpose();
    key.map(|key| key.map(|key| key.fingerprint())).map_err(|_| {
        counters.damaged_key();
        HubError::Damaged
    })
}
