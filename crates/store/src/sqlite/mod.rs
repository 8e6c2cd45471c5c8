//! The engine on SQLite: one file with a write-ahead log, fsync at every commit (docs/store-format.md).

mod batch;
mod checkpoint;
mod expiry;
mod lock;
mod open;
mod reader;
mod receipts;
mod schema;
mod sql;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId};
use rusqlite::{Connection, ErrorCode};

use crate::engine::{CommitError, Engine, Reader, Write, Written};
use crate::error::{OpenError, StoreError};
use crate::limits::Limits;
use crate::quota::Usage;
use crate::recent::Recent;
use batch::{Batch, Marks, Trouble};
use checkpoint::Checkpointer;
use lock::Lock;
use reader::SqliteReader;
use receipts::Untaken;

/// The log is moved into the database once it has this many pages (4 MiB): the engine's own default.
const CHECKPOINT_PAGES: i32 = 1_000;

/// Agents whose usage is remembered, in each of two generations: some 4 MiB in all.
const USAGE_GENERATION_MAX: usize = 32_768;

/// Receipt subscriptions of which is remembered how full they are, in each of two generations.
const UNTAKEN_GENERATION_MAX: usize = 4_096;

/// An engine on the files of one directory.
pub struct SqliteEngine {
    // In this order on purpose: the writer's connection is closed after the others, the file after all connections, because
    // the system takes SQLite's locks away with the first of a process's descriptors that is closed; the lock is the last.
    checkpointer: Checkpointer,
    conn: Connection,
    _database: Arc<File>,
    path: PathBuf,
    limits: Limits,
    lately: Lately,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI32>,
    marks: Marks,
    _lock: Lock,
}

/// What was counted lately. Nothing of it is on the disk, and after a roll-back it is counted anew.
struct Lately {
    usage: Recent<AgentId, Usage>,
    untaken: Recent<ReceiptSubscriptionId, Untaken>,
}

impl SqliteEngine {
    /// Opens the store in `dir`, made if it is missing, and brings its format up to date.
    ///
    /// # Errors
    /// [`OpenError`]; the files are left as they are.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, OpenError> {
        open::make_dir(dir)?;
        let lock = Lock::take(dir)?;
        let (mut conn, path, database) = open::writer(dir, limits.database_bytes_max)?;
        let database = Arc::new(database);
        let log_pages = watch_log(&mut conn).map_err(|e| schema::engine(&path, &e))?;
        let marks = Marks::read(&conn).map_err(|e| schema::engine(&path, &e))?;
        let checkpointer =
            Checkpointer::start(open::checkpointer(&path)?, Arc::clone(&database)).map_err(OpenError::Thread)?;
        let usage = Recent::new(USAGE_GENERATION_MAX);
        let lately = Lately { usage, untaken: Recent::new(UNTAKEN_GENERATION_MAX) };
        Ok(Self { checkpointer, conn, _database: database, path, limits, lately, log_pages, marks, _lock: lock })
    }

    /// Everything of a batch but the last step.
    fn write(&mut self, batch: &[Write]) -> rusqlite::Result<(Vec<Result<Written, StoreError>>, Marks)> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut transaction = Batch::new(&self.conn, &self.limits, &mut self.lately, self.marks);
        let mut outcomes = Vec::with_capacity(batch.len());
        for write in batch {
            outcomes.push(match transaction.apply(write) {
                Ok(written) => Ok(written),
                Err(Trouble::Refused(error)) => Err(error),
                Err(Trouble::Engine(error)) => return Err(error),
            });
        }
        let marks = transaction.finish()?;
        Ok((outcomes, marks))
    }

    /// Ends a batch that did not get as far as its commit, or whose commit was refused for want of room.
    fn roll_back(&mut self, cause: &rusqlite::Error) -> CommitError {
        // The counts may include what is now undone.
        self.lately.usage.clear();
        self.lately.untaken.clear();
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            return CommitError::Unknown(format!("{cause}; then the roll-back failed: {error}"));
        }
        if is_damage(cause) {
            CommitError::Unknown(cause.to_string())
        } else {
            CommitError::RolledBack(cause.to_string())
        }
    }
}

impl Engine for SqliteEngine {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        let (outcomes, marks) = self.write(batch).map_err(|error| self.roll_back(&error))?;
        let committed = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        match committed {
            Ok(_) => {
                self.marks = marks;
                Ok(outcomes)
            }
            // The log had no room for all of it: its commit mark is missing, which makes the rest void.
            Err(error) if is_full(&error) => Err(self.roll_back(&error)),
            Err(error) => Err(CommitError::Unknown(error.to_string())),
        }
    }

    /// The log is begun anew by the first commit that finds all of it moved. If commits came while a round was under
    /// way, what they left is moved before the next one, which is little.
    fn tidy(&mut self) -> Result<(), String> {
        let ended = self.checkpointer.has_ended()?;
        if self.log_pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES {
            return Ok(());
        }
        if ended {
            // The next commit tells how long the log is then.
            self.log_pages.store(0, Ordering::Relaxed);
            return checkpoint::round(&self.conn);
        }
        self.checkpointer.begin();
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        Ok(Box::new(SqliteReader::new(open::reader(&self.path)?)))
    }

    fn greatest_id(&self) -> i64 {
        self.marks.greatest.id
    }
}

/// Keeps count of the log's pages.
fn watch_log(conn: &mut Connection) -> rusqlite::Result<Arc<AtomicI32>> {
    let log_pages = Arc::new(AtomicI32::new(0));
    let counter = Arc::clone(&log_pages);
    conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
        counter.store(pages, Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(log_pages)
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether the files or the disk are not to be trusted any more.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure};
    let damage = [CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure];
    error.sqlite_error_code().is_some_and(|code| damage.contains(&code))
}
