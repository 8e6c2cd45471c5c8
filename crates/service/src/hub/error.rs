//! Why the hub did not do what a door asked for. Each door turns these into answers of its protocol.

use doorbell_store::StoreError;
use thiserror::Error;

/// Why the hub did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HubError {
    /// The subscription, set or message does not exist (any more).
    #[error("there is no such resource")]
    Gone,
    /// The agent has as many messages, bytes or subscriptions as it may have.
    #[error("the agent's share is used up")]
    Full,
    /// The agent has another subscription of that name.
    #[error("the name is taken")]
    Taken,
    /// The receipt subscription that was named does not exist (any more).
    #[error("there is no such receipt subscription")]
    NoReceipts,
    /// The receipt subscription has as many receipts as it may have.
    #[error("the receipt subscription's share is used up")]
    ReceiptsFull,
    /// Too much is under way.
    #[error("the service has too much to do")]
    Overloaded,
    /// The store failed, and may have kept the message; or the service stops.
    #[error("the service is not available")]
    Unavailable,
    /// The store has a record of it that cannot be read; trying again does not help.
    #[error("a stored record is damaged")]
    Damaged,
}

impl From<StoreError> for HubError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoAgent | StoreError::NoSubscription => Self::Gone,
            StoreError::NoReceiptSubscription => Self::NoReceipts,
            StoreError::ReceiptsFull => Self::ReceiptsFull,
            StoreError::ChannelTaken => Self::Taken,
            StoreError::QuotaExceeded { .. } | StoreError::TooManySubscriptions => Self::Full,
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Damaged => Self::Damaged,
            StoreError::Unavailable | StoreError::Unknown | StoreError::IdTaken => Self::Unavailable,
        }
    }
}
