//! Checkpoints: a thread moves the log into the database while commits go on, so that appends hardly wait for it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::is_full;
use crate::error::TidyError;

/// A thread with its own connection. It runs one round at a time, which moves what the log holds at its start.
pub(super) struct Checkpointer {
    /// `None` only while this is dropped, which ends the thread.
    orders: Option<SyncSender<()>>,
    rounds: Receiver<Result<(), TidyError>>,
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

    /// Whether a round has ended since the last call.
    ///
    /// # Errors
    /// The engine cannot be trusted any longer.
    pub(super) fn has_ended(&mut self) -> Result<bool, TidyError> {
        if !self.is_running {
            return Ok(false);
        }
        let round = match self.rounds.try_recv() {
            Ok(round) => round,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => Err(TidyError::ThreadEnded),
        };
        self.is_running = false;
        round.map(|()| true)
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
fn synced_round(conn: &Connection, database: &File) -> Result<(), TidyError> {
    round(conn)?;
    database.sync_data().map_err(TidyError::Sync)
}

/// Moves what can be moved.
///
/// # Errors
/// The engine cannot be trusted any longer.
pub(super) fn round(conn: &Connection) -> Result<(), TidyError> {
    match conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        // On a full disk, pages that could not be moved are safe in the log.
        Err(error) if !is_full(&error) => Err(TidyError::Checkpoint(error.to_string())),
        _ => Ok(()),
    }
}
