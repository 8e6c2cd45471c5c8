//! The engine on SQLite: one file with a write-ahead log, fsync at every commit (docs/store-format.md).

mod batch;
mod checkpoint;
mod clock;
mod expiry;
mod lock;
mod open;
mod reader;
mod receipts;
mod rows;
mod schema;
mod sql;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId};
use rusqlite::{Connection, ErrorCode};

use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{CommitError, OpenError, StoreError, TidyError};
use crate::limits::Limits;
use crate::model::ClockRecord;
use crate::quota::Usage;
use crate::recent::RecentCache;
use batch::{Batch, Marks, WriteError};
use checkpoint::Checkpointer;
use lock::Lock;
use reader::SqliteReader;
use receipts::Untaken;

/// The log is moved into the database once it has this many pages (4 MiB): the engine's own default.
const CHECKPOINT_PAGES: i32 = 1_000;

/// Agents whose usage is cached, in each of two generations: about 4 MiB in all.
const USAGE_GENERATION_MAX: usize = 32_768;

/// Receipt subscriptions whose number of receipts is cached, in each of two generations.
const UNTAKEN_GENERATION_MAX: usize = 4_096;

/// An engine on the files of one directory.
pub struct SqliteEngine {
    // The order matters: the writer's connection closes after the other, and the file after both, because the system
    // releases SQLite's locks when the first descriptor of a process is closed. The lock is released last.
    checkpointer: Checkpointer,
    conn: Connection,
    _database: Arc<File>,
    path: PathBuf,
    limits: Limits,
    counts: Counts,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI32>,
    marks: Marks,
    /// When it was opened.
    clock: ClockRecord,
    _lock: Lock,
}

/// What was counted recently. Nothing of it is on the disk, and after a roll-back it is counted again.
struct Counts {
    usage: RecentCache<AgentId, Usage>,
    untaken: RecentCache<ReceiptSubscriptionId, Untaken>,
}

impl SqliteEngine {
    /// Whether `dir` holds a store.
    pub(crate) fn exists(dir: &Path) -> bool {
        open::exists(dir)
    }

    /// Opens the store in `dir`, which is created if it is missing, and brings its format up to date.
    ///
    /// # Errors
    /// [`OpenError`]. The files stay as they are.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, OpenError> {
        open::create_dir(dir)?;
        let lock = Lock::take(dir)?;
        let (mut conn, path, database) = open::writer(dir, limits.database_bytes_max)?;
        let database = Arc::new(database);
        let log_pages = watch_log(&mut conn).map_err(|e| schema::engine(&path, &e))?;
        let marks = Marks::read(&conn).map_err(|e| schema::engine(&path, &e))?;
        let clock = clock::read(&conn).map_err(|e| schema::engine(&path, &e))?;
        let checkpointer =
            Checkpointer::start(open::checkpointer(&path)?, Arc::clone(&database)).map_err(OpenError::Thread)?;
        let usage = RecentCache::new(USAGE_GENERATION_MAX);
        let counts = Counts { usage, untaken: RecentCache::new(UNTAKEN_GENERATION_MAX) };
        Ok(Self { checkpointer, conn, _database: database, path, limits, counts, log_pages, marks, clock, _lock: lock })
    }

    /// All steps of a batch but the commit.
    fn write(&mut self, batch: &[Write]) -> rusqlite::Result<(Vec<Result<Written, StoreError>>, Marks)> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut transaction = Batch::new(&self.conn, &self.limits, &mut self.counts, self.marks);
        let mut outcomes = Vec::with_capacity(batch.len());
        for write in batch {
            outcomes.push(match transaction.apply(write) {
                Ok(written) => Ok(written),
                Err(WriteError::Refused(error)) => Err(error),
                Err(WriteError::Engine(error)) => return Err(error),
            });
        }
        debug_assert!(transaction.usage_is_right(batch), "the cached usage is what the rows add up to");
        let marks = transaction.finish()?;
        Ok((outcomes, marks))
    }

    /// Ends a batch that did not reach its commit, or whose commit failed for lack of room.
    fn roll_back(&mut self, cause: &rusqlite::Error) -> CommitError {
        // The counts may include writes that are undone now.
        self.counts.usage.clear();
        self.counts.untaken.clear();
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
                debug_assert!(self.conn.is_autocommit(), "a commit ends the transaction");
                debug_assert_eq!(outcomes.len(), batch.len(), "each write has an outcome");
                debug_assert!(marks.greatest.id >= self.marks.greatest.id, "the greatest id only rises");
                debug_assert!(marks.greatest.seq >= self.marks.greatest.seq, "receipt numbers only rise");
                self.marks = marks;
                Ok(outcomes)
            }
            // The log had no room for all of it: without its commit mark the rest is void.
            Err(error) if is_full(&error) => Err(self.roll_back(&error)),
            Err(error) => Err(CommitError::Unknown(error.to_string())),
        }
    }

    /// The first commit that finds the whole log moved restarts the log. If commits came during a round, their pages
    /// are moved here before the next commit: they are few.
    fn tidy(&mut self) -> Result<(), TidyError> {
        let ended = self.checkpointer.has_ended()?;
        if self.log_pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES {
            return Ok(());
        }
        if ended {
            // The next commit reports the length of the log.
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

    fn clock(&self) -> ClockRecord {
        self.clock.clone()
    }
}

/// Counts the log's pages.
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

/// Whether the files or the disk cannot be trusted any longer.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure};
    let damage = [CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure];
    error.sqlite_error_code().is_some_and(|code| damage.contains(&code))
}
