//! Checkpoints: a thread moves the log into the database while commits go on, so that appends hardly wait for it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::is_full;
use crate::error::TidyError;

/// What a round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It moved what could be moved.
    All,
    /// The disk was full: pages that could not be moved are safe in the log.
    NoRoom,
}

/// A thread with its own connection. It runs one round at a time, which moves what the log holds at its start.
pub(super) struct Checkpointer {
    /// `None` only while this is dropped, which ends the thread.
    orders: Option<SyncSender<()>>,
    rounds: Receiver<Result<Moved, TidyError>>,
    is_running: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// `database` is the file that `conn` has open.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(conn: Connection, database: Arc<File>) -> io::Result<Self> {
        let (orders, orders_out) = sync_channel::<()>(1);
        let (rounds_in, rounds) = sync_channel(1);
        let work = move || {
            // The last result may have no receiver: then the store is closing.
            while orders_out.recv().is_ok() && rounds_in.send(synced_round(&conn, &database)).is_ok() {}
        };
        let thread = thread::Builder::new().name("store-log".into()).spawn(work)?;
        Ok(Self { orders: Some(orders), rounds, is_running: false, thread: Some(thread) })
    }

    /// Starts a round, unless one is running.
    pub(super) fn begin(&mut self) {
        if let Some(orders) = self.orders.as_ref().filter(|_| !self.is_running) {
            // If the thread has ended, `has_ended` reports it.
            let _ = orders.try_send(());
            self.is_running = true;
        }
    }

    /// The round that has ended since the last call, if one has.
    ///
    /// # Errors
    /// The round failed.
    pub(super) fn has_ended(&mut self) -> Result<Option<Moved>, TidyError> {
        if !self.is_running {
            return Ok(None);
        }
        let round = match self.rounds.try_recv() {
            Ok(round) => round,
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => Err(TidyError::ThreadEnded),
        };
        self.is_running = false;
        round.map(Some)
    }

    /// Waits until no round runs.
    ///
    /// # Errors
    /// The round failed.
    pub(super) fn wait(&mut self) -> Result<Moved, TidyError> {
        if !std::mem::replace(&mut self.is_running, false) {
            return Ok(Moved::All);
        }
        self.rounds.recv().map_err(|_| TidyError::ThreadEnded)?
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // After a panic of the thread there is nothing to do: this engine ends too.
            let _ = thread.join();
        }
    }
}

/// Moves what can be moved, and syncs the database. SQLite syncs it only in the round that moves the last page of the
/// log: if commits come meanwhile, that is the writer's round, which must not wait for the sync of all pages moved
/// here.
fn synced_round(conn: &Connection, database: &File) -> Result<Moved, TidyError> {
    let moved = round(conn)?;
    database.sync_data().map_err(TidyError::Sync)?;
    Ok(moved)
}

/// Moves what can be moved.
///
/// # Errors
/// The engine cannot be trusted any longer, unless the disk is full.
pub(super) fn round(conn: &Connection) -> Result<Moved, TidyError> {
    run(conn, "PRAGMA wal_checkpoint(PASSIVE)")
}

/// Moves everything and cuts the log, once no reader needs it.
///
/// # Errors
/// As for [`round`].
pub(super) fn truncate(conn: &Connection) -> Result<Moved, TidyError> {
    run(conn, "PRAGMA wal_checkpoint(TRUNCATE)")
}

fn run(conn: &Connection, checkpoint: &str) -> Result<Moved, TidyError> {
    match conn.query_row(checkpoint, [], |_| Ok(())) {
        Ok(()) => Ok(Moved::All),
        Err(error) if is_full(&error) => Ok(Moved::NoRoom),
        Err(error) => Err(TidyError::Checkpoint(error.to_string())),
    }
}
