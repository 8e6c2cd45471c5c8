//! The log is moved into the database beside the commits, so that appends hardly wait for it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::is_full;

/// A thread with a connection of its own. One round at a time: it moves what the log holds when it begins.
pub(super) struct Checkpointer {
    /// `None` only while this is dropped: the thread ends with it.
    orders: Option<SyncSender<()>>,
    rounds: Receiver<Result<(), String>>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// `database` is the file that `conn` has open as well.
    ///
    /// # Errors
    /// That no thread could be started.
    pub(super) fn start(conn: Connection, database: Arc<File>) -> io::Result<Self> {
        let (orders, orders_out) = sync_channel::<()>(1);
        let (rounds_in, rounds) = sync_channel(1);
        let work = move || {
            // The last result may find nobody: then the store is being closed.
            while orders_out.recv().is_ok() && rounds_in.send(synced_round(&conn, &database)).is_ok() {}
        };
        let thread = thread::Builder::new().name("store-log".into()).spawn(work)?;
        Ok(Self { orders: Some(orders), rounds, under_way: false, thread: Some(thread) })
    }

    /// Begins a round, unless one is under way.
    pub(super) fn begin(&mut self) {
        if let Some(orders) = self.orders.as_ref().filter(|_| !self.under_way) {
            // If the thread is gone, `has_ended` says so.
            let _ = orders.try_send(());
            self.under_way = true;
        }
    }

    /// Whether a round has ended since this was asked last.
    ///
    /// # Errors
    /// Why the engine cannot be trusted any longer.
    pub(super) fn has_ended(&mut self) -> Result<bool, String> {
        if !self.under_way {
            return Ok(false);
        }
        let round = match self.rounds.try_recv() {
            Ok(round) => round,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => Err("the thread that moves the log has ended".into()),
        };
        self.under_way = false;
        round.map(|()| true)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // After a panic there is nothing to be done that the engine's end does not do.
            let _ = thread.join();
        }
    }
}

/// Moves what can be moved, and syncs the database: SQLite does that only in the round that moves the last of the log, which
/// is the writer's if commits come meanwhile, and the writer shall not wait for all that was moved here.
fn synced_round(conn: &Connection, database: &File) -> Result<(), String> {
    round(conn)?;
    database.sync_data().map_err(|error| format!("syncing the database failed: {error}"))
}

/// Moves what can be moved.
///
/// # Errors
/// Why the engine cannot be trusted any longer.
pub(super) fn round(conn: &Connection) -> Result<(), String> {
    match conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        // What could not be moved stays in the log, where it is safe.
        Err(error) if !is_full(&error) => Err(format!("moving the log into the database failed: {error}")),
        _ => Ok(()),
    }
}
