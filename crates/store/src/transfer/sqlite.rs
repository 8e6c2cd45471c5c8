//! A directory with a database of SQLite, as a side of a move.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};

use super::copy::{BYTES_MAX, Begun, ROWS_MAX, Side, Source, Target, Wrote};
use super::error::TransferError;
use super::record::{Key, Record, Value};
use super::table::{Column, Kind, SERVICE, TABLES, Table};
use crate::error::OpenError;
use crate::lock::DirLock;
use crate::sqlite::files::{self, Found};

const NOTE: &str = "CREATE TABLE transfer (source TEXT NOT NULL, checksum TEXT NOT NULL) STRICT";

const READ_SERVICE: &str = "SELECT max(greatest_id, (SELECT coalesce(max(id), 0) FROM message), \
    (SELECT coalesce(max(id), 0) FROM agent), (SELECT coalesce(max(id), 0) FROM subscription), \
    (SELECT coalesce(max(id), 0) FROM receipt_subscription)), \
    max(greatest_seq, (SELECT coalesce(max(seq), 0) FROM receipt)), \
    served, time, wall, newest_wall, boot, boot_id FROM mark";
const WRITE_SERVICE: &str = "UPDATE mark SET greatest_id = ?1, greatest_seq = ?2, served = ?3, time = ?4, wall = ?5, \
    newest_wall = ?6, boot = ?7, boot_id = ?8";

/// The store of a directory, which no other process can open meanwhile.
pub(super) struct Directory {
    // The order matters: the connection closes before the file, and the lock is released last.
    conn: Connection,
    _file: Option<File>,
    path: PathBuf,
    shown: String,
    _lock: DirLock,
}

impl Directory {
    /// Opens the store in `dir` to read it.
    pub(super) fn source(dir: &Path) -> Result<Self, TransferError> {
        let shown = dir.display().to_string();
        if !dir.is_dir() {
            return Err(TransferError::Refused(format!("{shown} is no directory: name the state directory")));
        }
        let lock = DirLock::take(dir)?;
        let path = files::database(dir);
        match files::look(dir)? {
            Found::Nothing => Err(TransferError::Refused(format!(
                "{shown} holds no store (doorbell.db): name the state directory of the service"
            ))),
            Found::Unfinished => Err(OpenError::UnfinishedExport { path }.into()),
            Found::Older { found, known } => Err(TransferError::Refused(format!(
                "the store in {shown} has format {found} and this version moves format {known}: start this version's \
                 `doorbell serve` on it once, which brings it up to date, stop it and run the command again"
            ))),
            Found::Store => Ok(Self { conn: files::reader(&path)?, _file: None, path, shown, _lock: lock }),
        }
    }

    /// Opens `dir` to write a store there.
    pub(super) fn target(dir: &Path) -> Result<Self, TransferError> {
        files::create_dir(dir)?;
        let lock = DirLock::take(dir)?;
        let shown = dir.display().to_string();
        let (conn, path, file) = match files::look(dir)? {
            Found::Nothing | Found::Store => files::create(dir)?,
            Found::Unfinished => files::resume(dir)?,
            Found::Older { .. } if files::is_blank(dir)? => files::create(dir)?,
            Found::Older { .. } => {
                return Err(TransferError::Refused(format!(
                    "{shown} holds a store of an older version: name an empty directory; nothing was changed"
                )));
            }
        };
        Ok(Self { conn, _file: Some(file), path, shown, _lock: lock })
    }

    fn failed(&self, error: &rusqlite::Error) -> TransferError {
        TransferError::Interrupted(format!("{}: {error}", self.path.display()))
    }

    /// Runs `work` as one transaction.
    fn transaction<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, TransferError> {
        let run = |conn: &mut Connection| {
            let transaction = conn.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = run(&mut self.conn);
        done.map_err(|error: rusqlite::Error| self.failed(&error))
    }

    fn is_empty(&mut self) -> Result<bool, TransferError> {
        for table in TABLES {
            if self.count(table)? > 0 {
                return Ok(false);
            }
        }
        let service = self.service()?;
        Ok(service[..2] == [Value::Number(0), Value::Number(0)])
    }
}

/// The values of a row, in the order of `columns`.
fn record(columns: &[Column], row: &Row<'_>) -> rusqlite::Result<Record> {
    let value = |(at, column): (usize, &Column)| {
        Ok(match (row.get_ref(at)?, column.kind) {
            (ValueRef::Null, _) => Value::Null,
            (_, Kind::Number) => Value::Number(row.get(at)?),
            (_, Kind::Flag) => Value::Flag(row.get(at)?),
            (_, Kind::Text | Kind::Name) => Value::Text(row.get(at)?),
            (_, Kind::Bytes) => Value::Bytes(row.get(at)?),
        })
    };
    columns.iter().enumerate().map(value).collect()
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Number(number) => number.to_sql(),
            Self::Flag(flag) => flag.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

/// Reads the rows behind `after`, until they are many.
fn read(conn: &Connection, table: &Table, after: Option<&Key>) -> rusqlite::Result<Vec<Record>> {
    let columns: Vec<_> = table.columns.iter().map(|column| column.counted.unwrap_or(column.name)).collect();
    let (columns, key, name, counts) = (columns.join(", "), table.key_columns(), table.name, table.counts);
    let behind = marks(table.key);
    let text =
        format!("SELECT {columns} FROM {name} WHERE ({key}) > ({behind}) AND {counts} ORDER BY {key} LIMIT {ROWS_MAX}");
    let first = vec![i64::MIN; table.key];
    let mut statement = conn.prepare_cached(&text)?;
    let mut rows = statement.query(params_from_iter(after.unwrap_or(&first)))?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while bytes < BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let record = record(table.columns, row)?;
        bytes += record.iter().map(Value::bytes).sum::<usize>();
        records.push(record);
    }
    Ok(records)
}

/// `?, ?`
fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn write(conn: &Connection, table: &Table, rows: &[Record]) -> rusqlite::Result<()> {
    let (places, names): (Vec<_>, Vec<_>) = table.sqlite_columns().map(|(at, column)| (at, column.name)).unzip();
    let text = format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), marks(names.len()));
    let mut insert = conn.prepare_cached(&text)?;
    for row in rows {
        insert.execute(params_from_iter(places.iter().map(|at| &row[*at])))?;
    }
    Ok(())
}

impl Side for Directory {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn count(&mut self, table: &Table) -> Result<u64, TransferError> {
        let text = format!("SELECT count(*) FROM {} WHERE {}", table.name, table.counts);
        let rows: i64 = self.conn.query_row(&text, [], |row| row.get(0)).map_err(|error| self.failed(&error))?;
        Ok(u64::try_from(rows).expect("a count is not negative"))
    }

    fn read(&mut self, table: &Table, after: Option<&Key>) -> Result<Vec<Record>, TransferError> {
        read(&self.conn, table, after).map_err(|error| self.failed(&error))
    }

    fn service(&mut self) -> Result<Record, TransferError> {
        self.conn.query_row(READ_SERVICE, [], |row| record(SERVICE, row)).map_err(|error| self.failed(&error))
    }

    /// The lock is held.
    fn still_held(&mut self) -> Result<(), TransferError> {
        Ok(())
    }
}

impl Target for Directory {
    fn begin(&mut self, source: &Source) -> Result<Begun, TransferError> {
        let is_noted = self.conn.table_exists(None, "transfer").map_err(|error| self.failed(&error))?;
        if is_noted {
            let read = "SELECT source, checksum FROM transfer";
            let noted: Option<(String, String)> = self
                .conn
                .query_row(read, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .map_err(|error| self.failed(&error))?;
            return match noted {
                Some((_, checksum)) if checksum == source.checksum => Ok(Begun::Ready),
                _ => Err(TransferError::Refused(format!(
                    "{} holds an unfinished export of another database, or of this one before the service ran on it \
                     again: remove doorbell.db there and run the command again",
                    self.shown
                ))),
            };
        }
        if !self.is_empty()? {
            return Ok(Begun::NotEmpty);
        }
        self.transaction(|conn| {
            conn.execute_batch(NOTE)?;
            conn.execute("INSERT INTO transfer VALUES (?1, ?2)", [&source.shown, &source.checksum])?;
            files::note_unfinished(conn, true)
        })?;
        Ok(Begun::Ready)
    }

    fn last_key(&mut self, table: &Table) -> Result<Option<Key>, TransferError> {
        let key: Vec<_> = table.columns[..table.key].iter().map(|column| format!("{} DESC", column.name)).collect();
        let (columns, key) = (table.key_columns(), key.join(", "));
        let text = format!("SELECT {columns} FROM {} ORDER BY {key} LIMIT 1", table.name);
        let read = |row: &Row<'_>| (0..table.key).map(|at| row.get(at)).collect();
        self.conn.query_row(&text, [], read).optional().map_err(|error| self.failed(&error))
    }

    fn write(&mut self, table: &Table, rows: &[Record]) -> Result<Wrote, TransferError> {
        self.transaction(|conn| write(conn, table, rows))?;
        Ok(Wrote::All)
    }

    fn write_service(&mut self, record: &Record) -> Result<(), TransferError> {
        self.transaction(|conn| conn.execute(WRITE_SERVICE, params_from_iter(record))).map(drop)
    }

    fn finish(&mut self) -> Result<(), TransferError> {
        self.transaction(|conn| {
            conn.execute_batch("DROP TABLE transfer")?;
            files::note_unfinished(conn, false)
        })?;
        // All of it in one file, which may be copied.
        let moved = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        moved.map_err(|error| self.failed(&error))
    }
}
