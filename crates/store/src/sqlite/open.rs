//! Opening: the directory, its files and the settings of each connection.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::schema;
use crate::error::OpenError;

const DATABASE: &str = "doorbell.db";

/// The length of a page of the database file, in bytes.
pub(super) const PAGE_BYTES: u64 = 4096;

/// The writer's page cache, in KiB. Other pages are read from the system's cache, which is as fast: with a million
/// subscriptions 128 MiB are no faster (docs/performance.md), and would be most of the memory of a small service.
const WRITER_CACHE_KIB: i64 = 1024;

/// A reader's page cache, in KiB. Bodies are read once, so a cache helps little.
const READER_CACHE_KIB: i64 = 1024;

/// The page cache of the connection that moves the log, in KiB: it copies pages from file to file.
const CHECKPOINTER_CACHE_KIB: i64 = 64;

/// Statements that stay compiled on a connection: more than exist.
const STATEMENTS_MAX: usize = 64;

/// The writer never waits for another writer, and a reader waits only while the log is restarted.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates `dir` if it is missing, for this user only, and syncs its parent so that it survives a power failure.
pub(crate) fn create_dir(dir: &Path) -> Result<(), OpenError> {
    let create = || -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        dir.parent().filter(|p| !p.as_os_str().is_empty()).map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    create().map_err(|source| OpenError::Io { path: dir.into(), source })
}

/// The database of the store in `dir`.
pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join(DATABASE)
}

/// Whether `dir` holds a database.
pub(super) fn exists(dir: &Path) -> bool {
    database(dir).exists()
}

/// The writing connection of the store in `dir`, the database's path, and its file, which must not be closed while a
/// connection is open.
pub(super) fn writer(dir: &Path, database_bytes_max: Option<u64>) -> Result<(Connection, PathBuf, File), OpenError> {
    let path = database(dir);
    // Created here and not by the engine, so that only this user can read it. The engine's other files get the same
    // mode.
    let created = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = created.map_err(|source| OpenError::Io { path: path.clone(), source })?;
    let open = || -> rusqlite::Result<Connection> {
        let conn = read_write(&path, WRITER_CACHE_KIB)?;
        if let Some(bytes) = database_bytes_max {
            let pages = (bytes / PAGE_BYTES).clamp(1, u64::from(u32::MAX) - 1);
            let pages = i64::try_from(pages).expect("the line above clamps it to 32 bits");
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        Ok(conn)
    };
    let mut conn = open().map_err(|e| schema::engine(&path, &e))?;
    schema::prepare(&mut conn, &path)?;
    Ok((conn, path, file))
}

/// The connection that moves the log of the database at `path`.
pub(super) fn checkpointer(path: &Path) -> Result<Connection, OpenError> {
    read_write(path, CHECKPOINTER_CACHE_KIB).map_err(|e| schema::engine(path, &e))
}

fn read_write(path: &Path, cache_kib: i64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    configure(&conn, cache_kib)?;
    // FULL: a commit returns after its sync, and so does a checkpoint. The engine runs checkpoints itself (see `tidy`),
    // to see their errors.
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        configure(&conn, READER_CACHE_KIB)?;
        Ok(conn)
    };
    open().map_err(|e| schema::engine(path, &e))
}

fn configure(conn: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Without it SQLite may plan a statement again for each bound value, with the same result.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_waits_for_fsync_and_leaves_the_checkpoint_to_us() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, path, _file) = writer(dir.path(), None).unwrap();
        for conn in [writer, checkpointer(&path).unwrap()] {
            let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(number("synchronous"), 2, "FULL");
            assert_eq!(number("wal_autocheckpoint"), 0);
        }
    }

    #[test]
    fn a_reader_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, path, _file) = writer(dir.path(), None).unwrap();
        assert!(reader(&path).unwrap().execute("DELETE FROM mark", []).is_err());
    }
}
