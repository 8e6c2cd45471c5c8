//! What an engine does: it commits a batch of writes at once, and reads what was committed.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::error::{CommitError, OpenError, ReadError, StoreError, TidyError};
use crate::figures::Contents;
use crate::limits::{EXPIRE_MAX, Held, Limits, REMOVAL_COST_BYTES, SWEEP_MAX};
use crate::model::{
    Appended, ClockRecord, Erased, IdleBounds, IdleRemoved, Lookup, NewMessage, Page, ReceiptPage, Removed,
    Subscription, Swept, UnusedBounds,
};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Answers [`Written::Created`], or refuses with `IdTaken`, and with `StoreFull` if there is no room for a
    /// subscription of it either.
    CreateAgent {
        /// Its id, minted by the service.
        id: AgentId,
        /// The time of service ([`ClockRecord`]).
        served: UnixMs,
    },
    /// Answers [`Written::Created`], or refuses with `NoAgent`, `IdTaken`, `ChannelTaken` or `TooManySubscriptions`.
    CreateSubscription(Subscription),
    /// Answers [`Written::Created`], or refuses with `IdTaken`.
    CreateReceiptSubscription {
        /// Its id, minted by the service.
        id: ReceiptSubscriptionId,
        /// The time of service ([`ClockRecord`]).
        served: UnixMs,
    },
    /// Answers [`Written::Appended`], or refuses with `NoSubscription`, `IdTaken`, `NoReceiptSubscription`,
    /// `ReceiptsFull` or `QuotaExceeded`.
    Append(NewMessage),
    /// Removes one message of this agent and adds its receipt, if it wants one. Answers [`Written::Erased`].
    Erase {
        /// The message.
        id: MessageId,
        /// Its agent. A message of another agent stays.
        agent: AgentId,
        /// What became of it, unless it has expired.
        outcome: Outcome,
        /// The present.
        now: UnixMs,
    },
    /// Removes one subscription of this agent and its messages, whose outcome is `Unsubscribed`. Answers
    /// [`Written::Removed`].
    DeleteSubscription {
        /// The subscription.
        id: SubscriptionId,
        /// Its agent. A subscription of another agent stays.
        agent: AgentId,
        /// The present.
        now: UnixMs,
        /// The time of service ([`ClockRecord`]): an agent that loses its last subscription was seen then.
        served: UnixMs,
    },
    /// Removes an agent, its subscriptions and their messages, whose outcome is `Unsubscribed`. Answers
    /// [`Written::Removed`].
    DeleteAgent {
        /// The agent.
        id: AgentId,
        /// The present.
        now: UnixMs,
    },
    /// Adds the receipt of a message that was never stored (TTL 0). Answers [`Written::Created`], or refuses with
    /// `NoReceiptSubscription` or `ReceiptsFull`. Its message is accepted already, so no bound of the whole store refuses
    /// it: see [`Engine::receipt_room`].
    AddReceipt {
        /// The receipt subscription that gets it.
        receipt_subscription: ReceiptSubscriptionId,
        /// The message.
        message: MessageId,
        /// The agent that the message was for.
        agent: AgentId,
        /// What became of it.
        outcome: Outcome,
        /// The present.
        now: UnixMs,
    },
    /// Removes receipts that the application server has. Answers [`Written::Erased`]: whether the receipt subscription
    /// exists.
    TakeReceipts {
        /// Whose receipts.
        receipt_subscription: ReceiptSubscriptionId,
        /// The last receipt that it has, and all before it.
        up_to: i64,
        /// The time of service ([`ClockRecord`]), recorded as a use of the receipt subscription.
        served: UnixMs,
    },
    /// Makes room for the receipts of a receipt subscription whose home is another cell, if there is none yet, and records
    /// a use. How long it stays is the home's decision: here it is not one of the unused. Answers [`Written::Created`], or
    /// refuses with `StoreFull`.
    JoinReceiptSubscription {
        /// The receipt subscription.
        id: ReceiptSubscriptionId,
        /// The time of service ([`ClockRecord`]).
        served: UnixMs,
    },
    /// Records that a receipt subscription is in use, and takes no receipt. Answers [`Written::Erased`]: whether it exists.
    UseReceiptSubscription {
        /// The receipt subscription.
        id: ReceiptSubscriptionId,
        /// The time of service ([`ClockRecord`]).
        served: UnixMs,
    },
    /// Removes a receipt subscription and its receipts. Messages that named it get no receipt. Answers
    /// [`Written::Erased`].
    DeleteReceiptSubscription {
        /// The receipt subscription.
        id: ReceiptSubscriptionId,
    },
    /// Records that an agent is in use. Answers [`Written::Touched`], or refuses with `NoAgent`.
    Touch {
        /// The agent.
        agent: AgentId,
        /// The time of service ([`ClockRecord`]).
        served: UnixMs,
    },
    /// Records the service's clock. Answers [`Written::Noted`].
    NoteClock(ClockRecord),
    /// Removes agents and receipt subscriptions that were idle for long. Answers [`Written::IdleRemoved`].
    ExpireIdle(IdleBounds),
    /// Removes agents without a subscription, and what was never used where its share of the store is nearly full.
    /// Answers [`Written::IdleRemoved`].
    ExpireUnused(UnusedBounds),
    /// Deletes expired messages (see [`expiry_bucket`]) and adds the receipts of those that want one, which are swept
    /// to the millisecond. Answers [`Written::Swept`].
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
    /// The agent, subscription, receipt subscription or receipt was created.
    Created,
    /// The message was stored.
    Appended(Appended),
    /// The message, the receipts or the receipt subscription are gone.
    Erased(Erased),
    /// The subscription or agent is gone.
    Removed(Removed),
    /// The use of the agent was recorded.
    Touched,
    /// The clock was recorded.
    Noted,
    /// Expired messages were deleted.
    Swept(Swept),
    /// Idle agents and receipt subscriptions are gone.
    IdleRemoved(IdleRemoved),
}

impl Written {
    /// Whether this is the kind of answer that `write` gets.
    pub(crate) fn answers(&self, write: &Write) -> bool {
        match write {
            Write::CreateAgent { .. }
            | Write::CreateSubscription(_)
            | Write::CreateReceiptSubscription { .. }
            | Write::JoinReceiptSubscription { .. }
            | Write::AddReceipt { .. } => matches!(self, Self::Created),
            Write::Append(_) => matches!(self, Self::Appended(_)),
            Write::Erase { .. }
            | Write::TakeReceipts { .. }
            | Write::UseReceiptSubscription { .. }
            | Write::DeleteReceiptSubscription { .. } => matches!(self, Self::Erased(_)),
            Write::DeleteSubscription { .. } | Write::DeleteAgent { .. } => matches!(self, Self::Removed(_)),
            Write::Touch { .. } => matches!(self, Self::Touched),
            Write::NoteClock(_) => matches!(self, Self::Noted),
            Write::ExpireIdle(_) | Write::ExpireUnused(_) => matches!(self, Self::IdleRemoved(_)),
            Write::Sweep { .. } => matches!(self, Self::Swept(_)),
        }
    }
}

/// One place that stores agents, subscriptions and messages.
pub trait Engine: Send + 'static {
    /// Applies `batch` in order and makes it durable with one commit.
    ///
    /// The answers are as many as the writes, in their order and of the kind that each [`Write`] names: anything else
    /// is a bug, which stops the store. A refused write changes nothing and has no effect on the others. Receipts are
    /// numbered in the order of the batch; those of one write in the order of the messages' ids.
    ///
    /// # Errors
    /// [`CommitError`] when the commit itself failed. Then no write of the batch counts as done.
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError>;

    /// Housekeeping after the answers were sent, such as moving the write-ahead log into the database.
    ///
    /// # Errors
    /// [`TidyError`]: the engine cannot be trusted any longer, and is not used again.
    fn tidy(&mut self) -> Result<(), TidyError> {
        Ok(())
    }

    /// Logs what happened to its readers and has had no line, where one is due, or all of it `at_end`. It is called after
    /// each commit.
    fn flush_lines(&self, _at_end: bool) {}

    /// Whether a message that is not stored may be accepted with the promise of a receipt: `NoRoom` or `StoreFull` where
    /// the same message would be refused if it were stored.
    ///
    /// # Errors
    /// Why not.
    fn receipt_room(&self) -> Result<(), StoreError>;

    /// Replaces the bounds of what may be stored. Nothing that is stored goes: a lower bound refuses only what is new. The
    /// bounds of the files (`reserve_bytes`, `database_bytes_max`) stay as they were when the engine was opened.
    fn set_limits(&mut self, limits: Limits);

    /// The engine is one cell of a store whose other cells hold `elsewhere`, which counts for `Limits`. It is called before
    /// each commit. An engine without bounds of the whole store ignores it.
    fn set_elsewhere(&mut self, _elsewhere: Held) {}

    /// What it holds after the last commit, for an operator. It is called after each commit, so it does not count rows. An
    /// engine without these counts returns zeros.
    fn contents(&self) -> Contents {
        Contents::default()
    }

    /// A reader for another thread. It sees every batch whose commit has returned.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be opened.
    fn reader(&self) -> Result<Box<dyn Reader>, OpenError>;

    /// The greatest id that was ever committed, for the service's [`Mint`](doorbell_protocol::id::Mint); at first 0.
    fn greatest_id(&self) -> i64;

    /// A few agents, if this engine cannot show otherwise whose data it has: they must belong here.
    ///
    /// # Errors
    /// They could not be read.
    fn some_agents(&self) -> Result<Vec<AgentId>, OpenError> {
        Ok(Vec::new())
    }

    /// The last record of the service's clock when the engine was opened.
    fn clock(&self) -> ClockRecord;

    /// Whether what fails now may succeed later without a restart, because the data is on another machine.
    fn recovers(&self) -> bool {
        false
    }
}

/// Reads what was committed.
///
/// A damaged row hides no other row: a list leaves it out and logs that it did, and only a read of that one row fails,
/// with [`ReadError::Damaged`].
pub trait Reader: Send {
    /// Whether the agent exists.
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, ReadError>;

    /// The subscription, if it exists.
    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, ReadError>;

    /// The agent's subscription with this channel, if there is one.
    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, ReadError>;

    /// All subscriptions of an agent, oldest first; `subscriptions_per_agent_max` bounds them.
    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, ReadError>;

    /// Up to `max` unexpired messages of an agent with an id above `after`, oldest first, and the damaged ones among
    /// them. A page that has more after it is full.
    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, ReadError>;

    /// What is stored under these ids, in their order. A message that has expired is absent.
    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Lookup>, ReadError>;

    /// Whether the receipt subscription exists.
    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, ReadError>;

    /// Up to `max` untaken receipts with a number above `after`, oldest first. A page that has more after
    /// it is full.
    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, ReadError>;

    /// Whether the last read waited in vain for an engine that may come back: what has waited behind it for long is not
    /// tried.
    fn is_away(&self) -> bool {
        false
    }
}

/// The ten-minute span in which a message expires. A sweep treats the messages of one span alike.
///
/// It deletes the messages whose span is before the present one. So messages that expire at about the same time are
/// neighbours in one index, and an expired message may take room for one span longer. Reads never return it.
pub fn expiry_bucket(at: UnixMs) -> i64 {
    at.as_millis() / EXPIRY_BUCKET_MS
}

/// The length of an [`expiry_bucket`], in milliseconds.
pub const EXPIRY_BUCKET_MS: i64 = 600_000;

impl Write {
    /// Bytes that it holds while it waits.
    pub(crate) fn held_bytes(&self) -> usize {
        let on_heap = match self {
            Self::Append(message) => message.headers.len() + message.body.len(),
            Self::CreateSubscription(new) => new.channel.as_ref().map_or(0, String::len),
            Self::ExpireIdle(bounds) => size_of_val(&bounds.keep[..]),
            _ => 0,
        };
        size_of::<Self>() + on_heap
    }

    /// What it counts for in a batch, in bytes.
    pub(crate) fn cost_bytes(&self) -> usize {
        match self {
            Self::DeleteSubscription { .. }
            | Self::DeleteAgent { .. }
            | Self::TakeReceipts { .. }
            | Self::DeleteReceiptSubscription { .. } => REMOVAL_COST_BYTES,
            Self::ExpireIdle(IdleBounds { max, .. }) | Self::ExpireUnused(UnusedBounds { max, .. }) => {
                (*max).min(EXPIRE_MAX) as usize * REMOVAL_COST_BYTES
            }
            Self::Sweep { max, .. } => (*max).min(SWEEP_MAX) as usize * 1024,
            _ => self.held_bytes(),
        }
    }

    /// Whether it makes the store smaller, so that a second attempt on a full disk can succeed.
    pub(crate) fn frees(&self) -> bool {
        !matches!(
            self,
            Self::CreateAgent { .. }
                | Self::CreateSubscription(_)
                | Self::CreateReceiptSubscription { .. }
                | Self::JoinReceiptSubscription { .. }
                | Self::Append(_)
                | Self::AddReceipt { .. }
                | Self::UseReceiptSubscription { .. }
                | Self::Touch { .. }
                | Self::NoteClock(_)
        )
    }
}
