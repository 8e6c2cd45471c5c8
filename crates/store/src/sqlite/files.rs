//! The files of a store for a move to or from another engine, which reads and writes the tables itself.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{open, schema};
use crate::error::OpenError;

pub(crate) use super::open::{create_dir, database, reader};

/// What a directory holds.
pub(crate) enum Found {
    Nothing,
    /// A store of this version's format.
    Store,
    /// A store of an older format.
    Older {
        found: i64,
        known: i64,
    },
    /// A part of a store that was to be moved here.
    Unfinished,
}

/// Looks without changing anything. The caller holds the lock.
pub(crate) fn look(dir: &Path) -> Result<Found, OpenError> {
    let path = database(dir);
    if !path.exists() {
        return Ok(Found::Nothing);
    }
    schema::look(&open::reader(&path)?, &path)
}

/// Whether the store in `dir`, of any format, never held anything: its creation may have been interrupted.
pub(crate) fn is_blank(dir: &Path) -> Result<bool, OpenError> {
    let path = database(dir);
    let read = "SELECT NOT EXISTS (SELECT 1 FROM agent) AND NOT EXISTS (SELECT 1 FROM mark WHERE greatest_id > 0)";
    let blank = open::reader(&path)?.query_row(read, [], |row| row.get(0));
    blank.map_err(|error| schema::engine(&path, &error))
}

/// The store in `dir`, which is created if it is missing.
pub(crate) fn create(dir: &Path) -> Result<(Connection, PathBuf, File), OpenError> {
    let (conn, path, file) = open::writer(dir, None)?;
    checkpoint_by_itself(&conn).map_err(|error| schema::engine(&path, &error))?;
    Ok((conn, path, file))
}

/// The unfinished store in `dir`.
pub(crate) fn resume(dir: &Path) -> Result<(Connection, PathBuf, File), OpenError> {
    let path = database(dir);
    let file = File::open(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
    let conn = open::checkpointer(&path)?;
    checkpoint_by_itself(&conn).map_err(|error| schema::engine(&path, &error))?;
    Ok((conn, path, file))
}

fn checkpoint_by_itself(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update_and_check(None, "wal_autocheckpoint", super::CHECKPOINT_PAGES, |_| Ok(()))
}

/// Writes into the file whether it is a part of a store only. Another version of the service refuses such a file too.
pub(crate) fn note_unfinished(conn: &Connection, is_unfinished: bool) -> rusqlite::Result<()> {
    schema::note_unfinished(conn, is_unfinished)
}
