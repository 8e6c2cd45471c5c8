//! The engine on SQLite: one file with a write-ahead log, fsync at every commit (docs/store-format.md).

mod batch;
mod checkpoint;
mod clock;
mod expiry;
#[cfg(feature = "postgres")]
pub(crate) mod files;
mod open;
mod reader;
mod receipts;
mod rows;
mod schema;
mod space;
mod sql;
mod total;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId};
use rusqlite::{Connection, ErrorCode};

use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{CommitError, OpenError, StoreError, TidyError};
use crate::figures::{Contents, Ended};
use crate::limits::{Held, Limits};
use crate::lock::DirLock;
use crate::model::ClockRecord;
use crate::quota::Usage;
use crate::recent::RecentCache;
use crate::seldom::Seldom;
use crate::totals::Totals;
use batch::{Batch, Marks, Sums, WriteError};
use checkpoint::{Checkpointer, Moved};
use reader::SqliteReader;
use receipts::Untaken;
use space::{Room, Space};

/// The log is moved into the database once it has this many pages (4 MiB): the engine's own default.
const CHECKPOINT_PAGES: i32 = 1_000;

/// The shortest and the longest log, in pages, at which a commit waits until the log has been moved.
const LOG_PAGES_MAX: std::ops::RangeInclusive<u64> = 256..=16_384;

/// On a full disk, steps that return free pages after one batch, each at most a MiB.
const RETURNS_MAX: usize = 4;

/// Agents whose usage is cached, in each of two generations: about 4 MiB in all.
const USAGE_GENERATION_MAX: usize = 32_768;

/// At each end of the table.
const SOME_AGENTS: i64 = 16;

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
    sums: Sums,
    space: Space,
    /// What its readers found.
    damages: Arc<Seldom>,
    /// When it was opened.
    clock: ClockRecord,
    _lock: DirLock,
}

/// What was counted recently. Nothing of it is on the disk, and after a roll-back it is counted again.
struct Counts {
    usage: RecentCache<AgentId, Usage>,
    untaken: RecentCache<ReceiptSubscriptionId, Untaken>,
    /// Agents that are recorded as used.
    used: RecentCache<AgentId, ()>,
}

impl Counts {
    fn clear(&mut self) {
        self.usage.clear();
        self.untaken.clear();
        self.used.clear();
    }
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
        let lock = DirLock::take(dir)?;
        let mut space = Space::new(dir, &limits);
        let (mut conn, path, database) = open_with_room(dir, &limits, &mut space)?;
        let database = Arc::new(database);
        let log_pages = watch_log(&mut conn).map_err(|e| schema::engine(&path, &e))?;
        let marks = Marks::read(&conn).map_err(|e| schema::engine(&path, &e))?;
        let clock = clock::read(&conn).map_err(|e| schema::engine(&path, &e))?;
        let totals = total::count(&conn).map_err(|e| schema::engine(&path, &e))?;
        warn_of_reached(dir, &totals, &limits);
        let checkpointer =
            Checkpointer::start(open::checkpointer(&path)?, Arc::clone(&database)).map_err(OpenError::Thread)?;
        let usage = RecentCache::new(USAGE_GENERATION_MAX);
        let used = RecentCache::new(USAGE_GENERATION_MAX);
        let counts = Counts { usage, untaken: RecentCache::new(UNTAKEN_GENERATION_MAX), used };
        space.prepare().map_err(|source| OpenError::Io { path: dir.into(), source })?;
        let sums = Sums { marks, totals, ended: Ended::default() };
        let mut engine = Self {
            checkpointer,
            conn,
            _database: database,
            path,
            limits,
            counts,
            log_pages,
            sums,
            space,
            damages: Arc::default(),
            clock,
            _lock: lock,
        };
        engine.look().map_err(|e| schema::engine(&engine.path, &e))?;
        Ok(engine)
    }

    /// All steps of a batch but the commit.
    fn write(&mut self, batch: &[Write]) -> rusqlite::Result<(Vec<Result<Written, StoreError>>, Sums)> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut transaction = Batch::new(&self.conn, &self.limits, &mut self.counts, self.sums, self.space.room());
        let mut outcomes = Vec::with_capacity(batch.len());
        for write in batch {
            outcomes.push(match transaction.apply(write) {
                Ok(written) => Ok(written),
                Err(WriteError::Refused(error)) => Err(error),
                Err(WriteError::Engine(error)) => return Err(error),
            });
        }
        debug_assert!(transaction.usage_is_right(batch), "the cached usage is what the rows add up to");
        let sums = transaction.finish()?;
        Ok((outcomes, sums))
    }

    /// Ends a batch that did not reach its commit, or whose commit failed for lack of room.
    fn roll_back(&mut self, cause: &rusqlite::Error) -> CommitError {
        // The counts may include writes that are undone now.
        self.counts.clear();
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            return CommitError::Unknown(format!("{cause}; then the roll-back failed: {error}"));
        }
        if !self.has_no_room(cause) {
            return match is_damage(cause) {
                true => CommitError::Unknown(cause.to_string()),
                false => CommitError::RolledBack(cause.to_string()),
            };
        }
        match self.on_full() {
            Ok(()) => CommitError::NoRoom(cause.to_string()),
            Err(error) => CommitError::Unknown(format!("{cause}; then {error}")),
        }
    }

    /// Whether the disk has no room. A write or a sync that fails for that reason is not always reported as such.
    fn has_no_room(&self, error: &rusqlite::Error) -> bool {
        is_full(error) || is_io(error) && self.space.is_exhausted()
    }

    /// The disk is full: with the room of the reserve, moves the log, and makes it short.
    fn on_full(&mut self) -> Result<(), TidyError> {
        // A bound of the database file is no full disk: nothing on the disk would lift it.
        if self.limits.database_bytes_max.is_none() {
            self.space.give_up();
        }
        let round = self.checkpointer.wait();
        self.after_round(round)?;
        self.shorten_log()
    }

    /// Moves the whole log and returns its room to the disk, unless a reader still needs it.
    fn shorten_log(&mut self) -> Result<(), TidyError> {
        let round = checkpoint::truncate(&self.conn);
        // The next commit reports the length of the log.
        self.log_pages.store(0, Ordering::Relaxed);
        self.after_round(round).map(drop)
    }

    /// Whether a round moved what it could; on a full disk it did not, and the pages are safe in the log.
    fn after_round(&mut self, round: Result<Moved, TidyError>) -> Result<bool, TidyError> {
        match round {
            Ok(Moved::All) => Ok(true),
            Ok(Moved::NoRoom) => {
                self.space.give_up();
                Ok(false)
            }
            // Not a failed sync of the database: the engine believes that those pages are moved.
            Err(TidyError::Checkpoint(_)) if self.space.is_exhausted() => {
                self.space.give_up();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// On a full disk: returns what the last batch freed to the disk.
    fn return_room(&mut self) -> Result<(), TidyError> {
        for _ in 0..RETURNS_MAX {
            let returned = match self.free_bytes() {
                Ok(0) => break,
                Ok(_) => expiry::return_pages(&self.conn),
                Err(error) => Err(error),
            };
            match returned {
                Ok(()) => self.shorten_log()?,
                // Not now: a later batch frees more.
                Err(error) if self.has_no_room(&error) => break,
                Err(error) => return Err(TidyError::Checkpoint(error.to_string())),
            }
        }
        self.shorten_log()
    }

    /// The length at which the log must be moved, in pages. On a full disk the reserve is the room for its pages in the
    /// database, and for the log of what frees room.
    fn log_pages_max(&self) -> i32 {
        let (least, most) = LOG_PAGES_MAX.into_inner();
        let pages = match self.limits.reserve_bytes {
            0 => most,
            bytes => (bytes / open::PAGE_BYTES / 2).clamp(least, most),
        };
        i32::try_from(pages).expect("the clamp keeps it small")
    }

    fn free_bytes(&self) -> rusqlite::Result<u64> {
        let pages: u32 = self.conn.prepare_cached(sql::FREE_PAGES)?.query_row([], |row| row.get(0))?;
        Ok(u64::from(pages) * open::PAGE_BYTES)
    }

    /// Looks how much room there is.
    fn look(&mut self) -> rusqlite::Result<()> {
        let free_bytes = self.free_bytes()?;
        self.space.look(free_bytes);
        Ok(())
    }
}

impl Engine for SqliteEngine {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        let (outcomes, sums) = self.write(batch).map_err(|error| self.roll_back(&error))?;
        let committed = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        match committed {
            Ok(_) => {
                debug_assert!(self.conn.is_autocommit(), "a commit ends the transaction");
                debug_assert_eq!(outcomes.len(), batch.len(), "each write has an outcome");
                let (before, after) = (self.sums.marks.greatest, sums.marks.greatest);
                debug_assert!(after.id >= before.id, "the greatest id only rises");
                debug_assert!(after.seq >= before.seq, "receipt numbers only rise");
                self.sums = sums;
                Ok(outcomes)
            }
            // The log had no room for all of it. The next commit overwrites what is there; if the process ends before,
            // the batch may still take effect, although its callers got an error, which loses nothing.
            Err(error) if self.has_no_room(&error) => Err(self.roll_back(&error)),
            Err(error) => Err(CommitError::Unknown(error.to_string())),
        }
    }

    /// The first commit that finds the whole log moved restarts the log. If commits came during a round, their pages
    /// are moved here before the next commit: they are few.
    fn tidy(&mut self) -> Result<(), TidyError> {
        let mut ended = self.checkpointer.has_ended();
        let log_pages = self.log_pages.load(Ordering::Relaxed);
        if matches!(ended, Ok(None)) && log_pages >= self.log_pages_max() {
            ended = self.checkpointer.wait().map(Some);
        }
        let ended = match ended {
            Ok(None) => false,
            Ok(Some(moved)) => self.after_round(Ok(moved))?,
            Err(error) => self.after_round(Err(error))?,
        };
        if self.space.room() == Room::None {
            self.return_room()?;
        } else if log_pages >= CHECKPOINT_PAGES.min(self.log_pages_max() / 2) {
            if ended {
                // The next commit reports the length of the log.
                self.log_pages.store(0, Ordering::Relaxed);
                let round = checkpoint::round(&self.conn);
                self.after_round(round)?;
            } else {
                self.checkpointer.begin();
            }
        }
        self.look().map_err(|error| TidyError::Checkpoint(error.to_string()))
    }

    fn set_limits(&mut self, limits: Limits) {
        let Limits { reserve_bytes, database_bytes_max, .. } = self.limits;
        self.limits = Limits { reserve_bytes, database_bytes_max, ..limits };
        self.space.set_floor(limits.disk_floor_bytes);
        if let Err(error) = self.look() {
            tracing::debug!(%error, "the disk is looked at after the next commit");
        }
        // The database is a file in the directory.
        let dir = self.path.parent().unwrap_or(&self.path);
        warn_of_reached(dir, &self.sums.totals, &self.limits);
    }

    fn flush_lines(&self, at_end: bool) {
        self.damages.flush(at_end);
    }

    fn set_elsewhere(&mut self, elsewhere: Held) {
        self.limits.elsewhere = elsewhere;
    }

    fn receipt_room(&self) -> Result<(), StoreError> {
        if !self.space.room().admits_messages() {
            return Err(StoreError::NoRoom);
        }
        self.sums.totals.check_receipt(&self.limits)
    }

    fn contents(&self) -> Contents {
        let contents = self.sums.totals.contents(self.sums.ended, self.space.reserve_held_bytes());
        Contents { disk_available_bytes: self.space.available_bytes(), ..contents }
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        Ok(Box::new(SqliteReader::new(open::reader(&self.path)?, Arc::clone(&self.damages))))
    }

    fn greatest_id(&self) -> i64 {
        self.sums.marks.greatest.id
    }

    fn some_agents(&self) -> Result<Vec<AgentId>, OpenError> {
        let read = |text, from: i64| {
            let mut statement = self.conn.prepare(text)?;
            let ids = statement.query_map([from, SOME_AGENTS], |row| row.get(0).map(AgentId::from_raw))?;
            ids.collect::<rusqlite::Result<Vec<_>>>()
        };
        let both = || Ok([read(sql::FIRST_AGENTS, i64::MIN)?, read(sql::LAST_AGENTS, i64::MAX)?].concat());
        both().map_err(|error| schema::engine(&self.path, &error))
    }

    fn clock(&self) -> ClockRecord {
        self.clock.clone()
    }
}

/// Logs the bounds that turn clients away.
fn warn_of_reached(dir: &Path, totals: &Totals, limits: &Limits) {
    for bound in totals.reached(limits) {
        tracing::warn!(dir = %dir.display(), "the store holds as much as {bound} allows: raise it, or clients get 429");
    }
}

/// Opens the database. On a full disk even that needs some room: then it gives up the reserve and tries again.
fn open_with_room(dir: &Path, limits: &Limits, space: &mut Space) -> Result<(Connection, PathBuf, File), OpenError> {
    match open::writer(dir, limits.database_bytes_max) {
        Err(OpenError::Engine { .. } | OpenError::Io { .. }) if space.is_exhausted() => {
            space.give_up();
            let opened = open::writer(dir, limits.database_bytes_max);
            if opened.is_err() && space.is_exhausted() {
                return Err(OpenError::DiskFull { dir: dir.into() });
            }
            opened
        }
        opened => opened,
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

fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Whether the files or the disk cannot be trusted any longer.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure};
    let damage = [CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure];
    error.sqlite_error_code().is_some_and(|code| damage.contains(&code))
}
