//! What can go wrong, sorted by who has to know: the caller of an operation, the operator who opens a store, or the
//! store itself, which has to decide whether it may go on with its engine.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why an operation was not done, or not certainly.
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
    /// The receipt subscription holds as many untaken receipts as [`Limits`](crate::Limits) allows.
    #[error("the receipt subscription has too many receipts that were not taken")]
    ReceiptsFull,
    /// Another row has this id.
    #[error("the id is taken")]
    IdTaken,
    /// Another subscription of the agent has this channel.
    #[error("the agent has a subscription of that channel")]
    ChannelTaken,
    /// The agent already holds as much as [`Limits`](crate::Limits) allows. Nothing of the write was stored.
    #[error("the agent holds {messages} messages of {bytes} bytes in all, which leaves no room for this one")]
    QuotaExceeded {
        /// Messages that it holds.
        messages: u32,
        /// Bytes that they take.
        bytes: u64,
    },
    /// The agent has as many subscriptions as [`Limits`](crate::Limits) allows.
    #[error("the agent has too many subscriptions")]
    TooManySubscriptions,
    /// The disk is full or nearly full, so that only what frees room is taken. Certainly not done.
    #[error("the disk has no room for this now")]
    NoRoom,
    /// The whole store holds as much of this as [`Limits`](crate::Limits) allows.
    #[error("the store has reached its limit")]
    StoreFull,
    /// The queue is full: the operation was not started, and may succeed a moment later.
    #[error("the store is overloaded")]
    Overloaded,
    /// Certainly not done: a read failed, or the store has failed or is closing.
    #[error("the store cannot do this now")]
    Unavailable,
    /// The requested row exists and holds an invalid value. A later attempt fails too.
    #[error("the stored row is damaged")]
    Damaged,
    /// The commit failed, and it is not known whether it took effect. A store on a disk of its own accepts no writes
    /// after that; one on a database does, and the write may still take effect.
    #[error("the store does not know whether this was done")]
    Unknown,
}

/// Why a store could not be opened. The text is for the operator.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the store in {} is in use by another process{}: stop that one first, or give this one another directory",
        dir.display(), pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, if its lock file names one.
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
    /// The file is not a store.
    #[error("{} is not a store of doorbell: choose another directory; the file was left as it is", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory could not be created, read or locked.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk has no room at all, and the reserve is given up already.
    #[error(
        "the disk of {} is full, and the store needs some room to open: free a few MiB on it, or move the directory \
         to a larger disk", dir.display()
    )]
    DiskFull {
        /// The directory.
        dir: PathBuf,
    },
    /// The engine refused the file.
    #[error("cannot open {}: {reason}", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// The engine's error text.
        reason: String,
    },
    /// The database cannot be used, or may not be.
    #[error("cannot use the database {database}: {reason}")]
    Database {
        /// Its name and hosts.
        database: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Another process writes the database.
    #[error(
        "the database {database} is in use by another process of doorbell ({holder}): stop that one first, or give this \
         one another database"
    )]
    DatabaseInUse {
        /// Its name and hosts.
        database: String,
        /// The process.
        holder: String,
    },
    /// A later version of Doorbell changed the database's tables.
    #[error(
        "the database {database} has schema {found} and this version of doorbell uses schemas up to {known}: start the \
         version that changed it or a later one; the database was left as it is"
    )]
    NewerSchema {
        /// Its name and hosts.
        database: String,
        /// Its schema.
        found: i32,
        /// The newest schema that this version knows.
        known: i32,
    },
    /// A thread could not be started.
    #[error("cannot start a thread of the store: {0}")]
    Thread(io::Error),
}

/// A batch failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// None of it took effect, and the engine can go on.
    #[error("rolled back: {0}")]
    RolledBack(String),
    /// None of it took effect, because the database has not answered for a while. The engine tries again with the next
    /// batch, and has logged this.
    #[error("away: {0}")]
    Away(String),
    /// None of it took effect, because the disk has no room for it. A smaller batch may succeed.
    #[error("no room: {0}")]
    NoRoom(String),
    /// Whether it took effect is not known, or the engine cannot go on. It is not used again.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Whether it took effect is not known yet. The engine finds out before it commits anything else, and can go on.
    #[error("outcome not known yet: {0}")]
    Unsettled(String),
    /// None of it took effect, because another process has taken over. The engine is not used again.
    #[error("the engine is over: {0}")]
    Ended(String),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The engine cannot read now; this is its error text.
    #[error("{0}")]
    Engine(String),
    /// The row was read and holds an invalid value.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// Which value of a row is invalid. It names neither the row nor the value, so that it may be logged (invariant 8).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a row of the table {table} holds no valid {column}")]
pub struct Damage {
    /// The table.
    pub table: &'static str,
    /// The column whose value is out of its range or has the wrong type.
    pub column: String,
}

/// Why an engine cannot be trusted after its housekeeping.
#[derive(Debug, Error)]
pub enum TidyError {
    /// The log could not be moved into the database; this is the engine's error text.
    #[error("moving the log into the database failed: {0}")]
    Checkpoint(String),
    /// The database could not be synced.
    #[error("syncing the database failed: {0}")]
    Sync(io::Error),
    /// The thread that moves the log panicked.
    #[error("the thread that moves the log has ended")]
    ThreadEnded,
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Engine(_) => Self::Unavailable,
            ReadError::Damaged(_) => Self::Damaged,
        }
    }
}
