//! What an engine has to do: commit a batch of writes at once, and read what was committed.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use thiserror::Error;

use crate::error::StoreError;
use crate::limits::{EXPIRE_MAX, REMOVAL_COST_BYTES, SWEEP_MAX};
use crate::model::{
    Appended, Erased, IdleBounds, IdleRemoved, NewMessage, Page, ReceiptPage, Removed, StoredMessage, Subscription,
    Swept,
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
    /// Answers [`Written::Created`], or refuses with `NoAgent`, `IdTaken`, `ChannelTaken` or `TooManySubscriptions`.
    CreateSubscription(Subscription),
    /// Answers [`Written::Created`], or refuses with `IdTaken`.
    CreateReceiptSubscription {
        /// Its id, minted by the service.
        id: ReceiptSubscriptionId,
        /// The present.
        now: UnixMs,
    },
    /// Answers [`Written::Appended`], or refuses with `NoSubscription`, `IdTaken`, `NoReceiptSubscription`,
    /// `ReceiptsFull` or `QuotaExceeded`.
    Append(NewMessage),
    /// Removes one message of this agent and adds its receipt, if it wants one. Answers [`Written::Erased`].
    Erase {
        /// The message.
        id: MessageId,
        /// Its agent; a message of another agent is left alone.
        agent: AgentId,
        /// What became of it, unless it has expired.
        outcome: Outcome,
        /// The present.
        now: UnixMs,
    },
    /// Removes one subscription of this agent and the messages sent to it, whose receipts say so. Answers
    /// [`Written::Removed`].
    DeleteSubscription {
        /// The subscription.
        id: SubscriptionId,
        /// Its agent; a subscription of another agent is left alone.
        agent: AgentId,
        /// The present.
        now: UnixMs,
    },
    /// Removes an agent, its subscriptions and their messages, whose receipts say so. Answers [`Written::Removed`].
    DeleteAgent {
        /// The agent.
        id: AgentId,
        /// The present.
        now: UnixMs,
    },
    /// Adds the receipt of a message that was never stored (TTL 0). Answers [`Written::Created`], or refuses with
    /// `NoReceiptSubscription` or `ReceiptsFull`.
    AddReceipt {
        /// Where.
        receipt_subscription: ReceiptSubscriptionId,
        /// The message.
        message: MessageId,
        /// The agent that it was for.
        agent: AgentId,
        /// What became of it.
        outcome: Outcome,
        /// The present.
        now: UnixMs,
    },
    /// Removes receipts that the application server has. Answers [`Written::Erased`], whether there is such a receipt
    /// subscription.
    TakeReceipts {
        /// Whose receipts.
        receipt_subscription: ReceiptSubscriptionId,
        /// The last receipt that it has, and all before it.
        up_to: i64,
        /// The present, at which the receipt subscription was in use.
        now: UnixMs,
    },
    /// Removes a receipt subscription and its receipts; messages that wait lose the wish for one. Answers
    /// [`Written::Erased`].
    DeleteReceiptSubscription {
        /// The receipt subscription.
        id: ReceiptSubscriptionId,
    },
    /// Notes that an agent is in use. Answers [`Written::Touched`], or refuses with `NoAgent`.
    Touch {
        /// The agent.
        agent: AgentId,
        /// The present.
        now: UnixMs,
    },
    /// Removes agents and receipt subscriptions that nobody has used for long. Answers [`Written::IdleRemoved`].
    ExpireIdle(IdleBounds),
    /// Frees the room of expired messages, see [`expiry_bucket`], and adds the receipts of those that want one, which
    /// are swept to the millisecond. Answers [`Written::Swept`].
    Sweep {
        /// The present.
        now: UnixMs,
        /// Messages to delete at most; [`SWEEP_MAX`] bounds it.
        max: u32,
    },
}

/// What one change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The agent, subscription, receipt subscription or receipt was made.
    Created,
    /// The message was kept.
    Appended(Appended),
    /// The message, the receipts or the receipt subscription are gone.
    Erased(Erased),
    /// The subscription or agent is gone.
    Removed(Removed),
    /// The agent is known to be in use.
    Touched,
    /// Expired messages were deleted.
    Swept(Swept),
    /// What was idle is gone.
    IdleRemoved(IdleRemoved),
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
    /// others. Receipts are numbered in the order of the batch; those of one write in the order of the messages' ids.
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

    /// The subscription that the agent calls `channel`, if there is one.
    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, String>;

    /// All subscriptions of an agent, oldest first; `subscriptions_per_agent_max` bounds them.
    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, String>;

    /// Up to `max` unexpired messages of an agent with an id above `after`, oldest first.
    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, String>;

    /// The messages with these ids, in their order; `None` where it is not stored or has expired.
    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Option<StoredMessage>>, String>;

    /// Whether the receipt subscription exists.
    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, String>;

    /// Up to `max` receipts that were not taken with a number above `after`, oldest first.
    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, String>;
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
        let beside = match self {
            Self::Append(message) => message.headers.len() + message.body.len(),
            Self::CreateSubscription(new) => new.channel.as_ref().map_or(0, String::len),
            Self::ExpireIdle(bounds) => size_of_val(&bounds.keep[..]),
            _ => 0,
        };
        size_of::<Self>() + beside
    }

    /// What it counts for in a batch, in octets.
    pub(crate) fn cost_bytes(&self) -> usize {
        match self {
            Self::DeleteSubscription { .. }
            | Self::DeleteAgent { .. }
            | Self::TakeReceipts { .. }
            | Self::DeleteReceiptSubscription { .. } => REMOVAL_COST_BYTES,
            Self::ExpireIdle(bounds) => bounds.max.min(EXPIRE_MAX) as usize * REMOVAL_COST_BYTES,
            Self::Sweep { max, .. } => (*max).min(SWEEP_MAX) as usize * 1024,
            _ => self.held_bytes(),
        }
    }

    /// Whether it makes the store smaller, so that it is worth another try on a full disk.
    pub(crate) fn frees(&self) -> bool {
        !matches!(
            self,
            Self::CreateAgent { .. }
                | Self::CreateSubscription(_)
                | Self::CreateReceiptSubscription { .. }
                | Self::Append(_)
                | Self::AddReceipt { .. }
                | Self::Touch { .. }
        )
    }
}
