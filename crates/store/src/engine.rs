//! What an engine has to do: commit a batch of writes at once, and read what was committed.

use doorbell_protocol::{
    id::{AgentId, MessageId, SubscriptionId},
    time::UnixMs,
};
use thiserror::Error;

use crate::{
    error::StoreError,
    limits::{REMOVAL_COST_BYTES, SWEEP_MAX},
    model::{Appended, Erased, NewMessage, Page, StoredMessage, Subscription, Swept},
};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Answers [`Written::Created`], or refuses with `IdTaken`.
    CreateAgent {
        /// Its id, minted by the service.
        id: AgentId,
        /// The present.
        now: UnixMs,
    },
    /// Answers [`Written::Created`], or refuses with `NoAgent`, `IdTaken` or `TooManySubscriptions`.
    CreateSubscription(Subscription),
    /// Answers [`Written::Appended`], or refuses with `NoSubscription`, `IdTaken` or `QuotaExceeded`.
    Append(NewMessage),
    /// Removes one message of this agent. Answers [`Written::Erased`].
    Erase {
        /// The message.
        id: MessageId,
        /// Its agent; a message of another agent is left alone.
        agent: AgentId,
    },
    /// Removes one subscription of this agent and the messages sent to it. Answers [`Written::Erased`].
    DeleteSubscription {
        /// The subscription.
        id: SubscriptionId,
        /// Its agent; a subscription of another agent is left alone.
        agent: AgentId,
    },
    /// Removes an agent, its subscriptions and their messages. Answers [`Written::Erased`].
    DeleteAgent {
        /// The agent.
        id: AgentId,
    },
    /// Frees the room of expired messages, see [`expiry_bucket`]. Answers [`Written::Swept`].
    Sweep {
        /// The present.
        now: UnixMs,
        /// Messages to delete at most; [`SWEEP_MAX`] bounds it.
        max: u32,
    },
}

/// What one change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The agent or subscription was made.
    Created,
    /// The message was kept.
    Appended(Appended),
    /// The message, subscription or agent is gone.
    Erased(Erased),
    /// Expired messages were deleted.
    Swept(Swept),
}

/// A batch failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// None of it took effect, and the engine can go on: the disk was full, for instance.
    #[error("rolled back: {0}")]
    RolledBack(String),
    /// Whether it took effect is not known, or the engine cannot go on. It is not used again.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// One place that keeps agents, subscriptions and messages.
pub trait Engine: Send + 'static {
    /// Carries out `batch` in order and makes it durable with one commit.
    ///
    /// The answers are in the order of the batch. A write that is refused changes nothing and does not touch the
    /// others; only the expired messages of its agent may be gone, if it looked for room.
    ///
    /// # Errors
    /// [`CommitError`] when the commit itself failed; then no write of the batch may be taken for done.
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError>;

    /// Housekeeping after the answers have gone out, such as moving the write-ahead log into the database.
    ///
    /// # Errors
    /// Its text says why the engine cannot be trusted any longer.
    fn tidy(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// A reader of its own, for another thread. It sees every batch whose commit has returned.
    ///
    /// # Errors
    /// [`OpenError`](crate::OpenError) when it cannot be opened.
    fn reader(&self) -> Result<Box<dyn Reader>, crate::OpenError>;

    /// The greatest id that was ever committed, for the service's [`Mint`](doorbell_protocol::id::Mint); 0 at first.
    fn greatest_id(&self) -> i64;
}

/// Reads what was committed. An `Err` is the engine's wording of what went wrong.
pub trait Reader: Send {
    /// Whether the agent exists.
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, String>;

    /// The subscription, if it exists.
    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, String>;

    /// All subscriptions of an agent, oldest first; `subscriptions_per_agent_max` bounds them.
    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, String>;

    /// Up to `max` unexpired messages of an agent with an id above `after`, oldest first.
    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, String>;

    /// The messages with these ids, in their order; `None` where it is not stored or has expired.
    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Option<StoredMessage>>, String>;
}

/// The span of time, about ten minutes, that a sweep treats alike.
///
/// A sweep deletes the messages whose bucket lies before the present one. So messages that expire at about the same
/// time are neighbours in one index, and an expired message may take room for one span longer. Reads never show it.
pub fn expiry_bucket(at: UnixMs) -> i64 {
    at.as_millis() / EXPIRY_BUCKET_MS
}

/// The length of an [`expiry_bucket`].
pub const EXPIRY_BUCKET_MS: i64 = 600_000;

impl Write {
    /// Octets that it holds while it waits.
    pub(crate) fn held_bytes(&self) -> usize {
        let message = if let Self::Append(message) = self { message.headers.len() + message.body.len() } else { 0 };
        size_of::<Self>() + message
    }

    /// What it counts for in a batch, in octets.
    pub(crate) fn cost_bytes(&self) -> usize {
        match self {
            Self::DeleteSubscription { .. } | Self::DeleteAgent { .. } => REMOVAL_COST_BYTES,
            Self::Sweep { max, .. } => (*max).min(SWEEP_MAX) as usize * 1024,
            _ => self.held_bytes(),
        }
    }

    /// Whether it makes the store smaller, so that it is worth another try on a full disk.
    pub(crate) fn frees(&self) -> bool {
        !matches!(self, Self::CreateAgent { .. } | Self::CreateSubscription(_) | Self::Append(_))
    }
}
