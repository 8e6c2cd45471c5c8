//! What can go wrong, sorted by who has to know: the caller of an operation, or the operator who opens a store.

use std::path::PathBuf;

use thiserror::Error;

/// Why an operation was not carried out, or not certainly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The agent does not exist.
    #[error("no such agent")]
    NoAgent,
    /// The subscription does not exist, or belongs to another agent.
    #[error("no such subscription")]
    NoSubscription,
    /// The receipt subscription does not exist (any more).
    #[error("no such receipt subscription")]
    NoReceiptSubscription,
    /// The receipt subscription holds as many receipts that nobody has taken as [`Limits`](crate::Limits) allows.
    #[error("the receipt subscription has too many receipts that were not taken")]
    ReceiptsFull,
    /// Another row has this id.
    #[error("the id is taken")]
    IdTaken,
    /// Another subscription of the agent has this channel.
    #[error("the agent has a subscription of that channel")]
    ChannelTaken,
    /// The agent already holds as much as [`Limits`](crate::Limits) allows; nothing of the write was kept.
    #[error("the agent holds {messages} messages of {bytes} octets in all, which leaves no room for this one")]
    QuotaExceeded {
        /// Messages that it holds.
        messages: u32,
        /// Octets that they take.
        bytes: u64,
    },
    /// The agent has as many subscriptions as [`Limits`](crate::Limits) allows.
    #[error("the agent has too many subscriptions")]
    TooManySubscriptions,
    /// The queue is full: the operation was not begun, and may succeed a moment later.
    #[error("the store has too much to do")]
    Overloaded,
    /// Certainly not done: the disk is full, or the store has failed or is closing.
    #[error("the store cannot do this now")]
    Unavailable,
    /// The commit failed in a way that does not tell whether it took effect. The store takes no writes after that.
    #[error("the store does not know whether this was done")]
    Unknown,
}

/// Why a store could not be opened; the text is for the operator.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the store in {} is in use by another process{}: stop that one first, or give this one another directory",
        dir.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, as far as its lock file tells.
        pid: Option<u32>,
    },
    /// A later version of Doorbell wrote it.
    #[error(
        "{} has format {found} and this version of doorbell reads formats up to {known}: start the version that \
         wrote it or a later one; the file was left as it is", path.display()
    )]
    NewerFormat {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// The file is something else.
    #[error("{} is not a store of doorbell: choose another directory; the file was left as it is", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory could not be made, read or locked.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine refused the file; `reason` is its own wording.
    #[error("cannot open {}: {reason}", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread of the store: {0}")]
    Thread(std::io::Error),
}
