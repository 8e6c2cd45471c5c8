//! Why the hub did not fulfil a request. Each door turns these errors into answers of its protocol.

use doorbell_store::StoreError;
use thiserror::Error;

/// Why the hub did not fulfil a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HubError {
    /// The subscription, set or message does not exist, or no longer exists.
    #[error("there is no such resource")]
    Gone,
    /// The agent has the maximum of messages, bytes or subscriptions.
    #[error("the agent has reached its limit")]
    Full,
    /// The agent has another subscription with this name.
    #[error("the name is taken")]
    Taken,
    /// The named receipt subscription does not exist, or no longer exists.
    #[error("there is no such receipt subscription")]
    NoReceipts,
    /// The receipt subscription has the maximum of receipts.
    #[error("the receipt subscription has reached its limit")]
    ReceiptsFull,
    /// The disk is full or nearly full: only what frees room is done.
    #[error("the service has no room on its disk")]
    NoRoom,
    /// The whole store has the maximum of agents, subscriptions, receipt subscriptions or bytes.
    #[error("the service has reached its limit")]
    StoreFull,
    /// The whole store has the maximum of receipt subscriptions.
    #[error("the service has reached its limit of receipt subscriptions")]
    ReceiptSubscriptionsFull,
    /// Too many requests are in progress.
    #[error("the service is overloaded")]
    Overloaded,
    /// The store failed, and may have kept the message; or the service is stopping.
    #[error("the service is not available")]
    Unavailable,
    /// The stored record cannot be read; retrying does not help.
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
            StoreError::NoRoom => Self::NoRoom,
            StoreError::StoreFull => Self::StoreFull,
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Damaged => Self::Damaged,
            StoreError::Unavailable | StoreError::Unknown | StoreError::IdTaken => Self::Unavailable,
        }
    }
}
