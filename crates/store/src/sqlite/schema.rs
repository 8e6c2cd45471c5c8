//! The database's format: how it is recognised, created and brought up to date.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

#[cfg(feature = "postgres")]
use super::files::Found;
use crate::error::OpenError;

/// Step `n` (counted from 1) migrates a database of format `n - 1`. A released step is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// "Door", in the file's header: it distinguishes our databases from others.
const APPLICATION_ID: i32 = 0x446f_6f72;

/// "Doox": a part of a store, which an export has not finished yet.
const UNFINISHED_ID: i32 = 0x446f_6f78;

/// Turns an empty database into a store, or brings an older store up to date.
pub(super) fn prepare(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let fresh = recognise(conn, path)?;
    let prepared = if fresh { make_fresh(conn) } else { Ok(()) };
    prepared.and_then(|()| set_wal(conn)).and_then(|()| migrate(conn, MIGRATIONS)).map_err(|e| engine(path, &e))
}

/// Whether the file is empty. An error if it is neither empty nor a store that this version can read.
fn recognise(conn: &Connection, path: &Path) -> Result<bool, OpenError> {
    let (application, format, tables) = read_header(conn).map_err(|e| engine(path, &e))?;
    if application == 0 && format == 0 && tables == 0 {
        return Ok(true);
    }
    if application == UNFINISHED_ID {
        return Err(OpenError::UnfinishedExport { path: path.into() });
    }
    if application != APPLICATION_ID {
        return Err(OpenError::NotAStore { path: path.into() });
    }
    let known = known_format();
    if format > known {
        return Err(OpenError::NewerFormat { path: path.into(), found: format, known });
    }
    Ok(false)
}

fn read_header(conn: &Connection) -> rusqlite::Result<(i32, i64, i64)> {
    let tables = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok((application, format_of(conn)?, tables))
}

fn format_of(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn known_format() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful of migrations fits")
}

/// Settings that must come before the first page is written.
fn make_fresh(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")
}

fn set_wal(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

/// Runs the steps that the database has not had yet, each in its own transaction.
fn migrate(conn: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let format = format_of(conn)?;
    for (number, step) in (1i64..).zip(steps) {
        if number <= format {
            continue;
        }
        let transaction = conn.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
        debug_assert_eq!(format_of(conn), Ok(number), "a step writes its format");
        tracing::info!(format = number, "the store's format was brought up to date");
    }
    Ok(())
}

/// What a file is, which is left as it is.
#[cfg(feature = "postgres")]
pub(super) fn look(conn: &Connection, path: &Path) -> Result<Found, OpenError> {
    let (application, found, _) = read_header(conn).map_err(|e| engine(path, &e))?;
    let known = known_format();
    if application == UNFINISHED_ID && found == known {
        return Ok(Found::Unfinished);
    }
    match recognise(conn, path)? {
        true => Ok(Found::Nothing),
        false if found < known => Ok(Found::Older { found, known }),
        false => Ok(Found::Store),
    }
}

/// Turns a store into a part of one, or back.
#[cfg(feature = "postgres")]
pub(super) fn note_unfinished(conn: &Connection, is_unfinished: bool) -> rusqlite::Result<()> {
    conn.pragma_update(None, "application_id", if is_unfinished { UNFINISHED_ID } else { APPLICATION_ID })
}

/// Translates an error of the engine for the operator.
pub(super) fn engine(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore { path: path.into() },
        _ => OpenError::Engine { path: path.into(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_leaves_the_format_before_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
        assert!(migrate(&mut conn, &steps).is_err());
        assert_eq!(format_of(&conn).unwrap(), 1);
        assert!(!conn.table_exists(None, "b").unwrap());

        let repaired = ["CREATE TABLE a (x)", "CREATE TABLE b (x)", "CREATE TABLE c (x)"];
        migrate(&mut conn, &repaired).unwrap();
        assert_eq!(format_of(&conn).unwrap(), 3);
        migrate(&mut conn, &repaired).unwrap();
    }
}
