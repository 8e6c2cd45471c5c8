//! A database of PostgreSQL, as a side of a move.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

use super::copy::{BYTES_MAX, Begun, ROWS_MAX, Side, Source, Target, Wrote};
use super::error::TransferError;
use super::record::{Key, Record, Value};
use super::table::{Column, Kind, SERVICE, TABLES, Table};
use crate::postgres::PostgresOptions;
use crate::postgres::session::{Lost, Session};

const READ_SERVICE: &str = "SELECT greatest((SELECT max(ids_until) FROM node), (SELECT max(id) FROM message), \
    (SELECT max(id) FROM agent), (SELECT max(id) FROM subscription), (SELECT max(id) FROM receipt_subscription)) \
    AS greatest_id, greatest((SELECT max(seq) FROM node), (SELECT max(seq) FROM receipt)) AS greatest_seq, \
    served, time, wall, newest_wall, boot, boot_id FROM clock WHERE id = 1";
const WRITE_MARKS: &str = "UPDATE node SET ids_until = greatest(ids_until, $1), seq = greatest(seq, $2) WHERE id = 1";
const WRITE_CLOCK: &str =
    "UPDATE clock SET served = $1, time = $2, wall = $3, newest_wall = $4, boot = $5, boot_id = $6 WHERE id = 1";

/// A database whose life this process holds.
pub(super) struct Database {
    session: Session,
}

impl Database {
    /// Opens it to read it.
    pub(super) fn source(options: &PostgresOptions) -> Result<Self, TransferError> {
        Ok(Self { session: Session::open(options, false)? })
    }

    /// Opens it to write it; an empty one gets its tables.
    pub(super) fn target(options: &PostgresOptions) -> Result<Self, TransferError> {
        Ok(Self { session: Session::open(options, true)? })
    }

    fn failed(&self, Lost(reason): Lost) -> TransferError {
        TransferError::Interrupted(format!("the database {}: {reason}", self.session.shown()))
    }

    fn ask<T>(&mut self, work: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, TransferError> {
        self.session.ask(work).map_err(|lost| self.failed(lost))
    }

    /// Writes what may be written twice.
    fn write_again<T>(&mut self, work: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, TransferError> {
        loop {
            if let Some(done) = self.session.write(&work).map_err(|lost| self.failed(lost))? {
                return Ok(done);
            }
        }
    }
}

/// The values of a row, in the order of `columns`.
fn record(columns: &[Column], row: &Row) -> Result<Record, Error> {
    let value = |(at, column): (usize, &Column)| {
        Ok(match column.kind {
            Kind::Number => row.try_get::<_, Option<i64>>(at)?.map(Value::Number),
            Kind::Flag => row.try_get::<_, Option<bool>>(at)?.map(Value::Flag),
            Kind::Text => row.try_get::<_, Option<String>>(at)?.map(Value::Text),
            // What is no UTF-8 is damaged, and SQLite refuses it.
            Kind::Name => row.try_get::<_, Option<Vec<u8>>>(at)?.map(|bytes| {
                String::from_utf8(bytes).map_or_else(|error| Value::Bytes(error.into_bytes()), Value::Text)
            }),
            Kind::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Value::Bytes),
        }
        .unwrap_or(Value::Null))
    };
    columns.iter().enumerate().map(value).collect()
}

/// How a column is read.
fn read_as(column: &Column) -> String {
    match column.kind {
        Kind::Number => format!("{}::int8", column.name),
        Kind::Flag | Kind::Text | Kind::Name | Kind::Bytes => column.name.to_owned(),
    }
}

/// The statement that reads the rows behind a key: of a table with large rows, until they have [`BYTES_MAX`] bytes.
fn read_text(table: &Table) -> String {
    let columns = table.columns.iter().map(read_as).collect::<Vec<_>>().join(", ");
    let (key, name) = (table.key_columns(), table.name);
    let behind = (1..=table.key).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
    let page =
        |what: &str| format!("SELECT {what} FROM {name} WHERE ({key}) > ({behind}) ORDER BY {key} LIMIT {ROWS_MAX}");
    match table.weight {
        None => page(&columns),
        Some(weight) => {
            let before = format!("{key}, sum({weight}) OVER (ORDER BY {key}) - {weight} AS before");
            let page = page(&before);
            format!(
                "SELECT {columns} FROM ({page}) AS page JOIN {name} USING ({key}) WHERE before < {BYTES_MAX} \
                 ORDER BY {key}"
            )
        }
    }
}

/// The statement that writes rows, whose parameters are their columns.
fn write_text(table: &Table) -> String {
    let arrays = table.columns.iter().enumerate().map(|(at, column)| {
        let kind = match column.kind {
            Kind::Number => "int8",
            Kind::Flag => "bool",
            Kind::Text => "text",
            Kind::Name | Kind::Bytes => "bytea",
        };
        format!("${}::{kind}[]", at + 1)
    });
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {} ({}) SELECT * FROM unnest({arrays})", table.name, table.postgres_columns())
}

type Parameter<'a> = Box<dyn ToSql + Sync + 'a>;

/// A column of `rows` as one parameter.
fn parameter<'a>(column: &Column, at: usize, rows: &'a [Record]) -> Parameter<'a> {
    let values = rows.iter().map(|row| &row[at]);
    match column.kind {
        Kind::Number => Box::new(values.map(number).collect::<Vec<_>>()),
        Kind::Flag => Box::new(values.map(flag).collect::<Vec<_>>()),
        Kind::Text => Box::new(values.map(text).collect::<Vec<_>>()),
        Kind::Name | Kind::Bytes => Box::new(values.map(bytes).collect::<Vec<_>>()),
    }
}

fn number(value: &Value) -> Option<i64> {
    if let Value::Number(number) = value { Some(*number) } else { None }
}

fn flag(value: &Value) -> Option<bool> {
    if let Value::Flag(flag) = value { Some(*flag) } else { None }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        Value::Null | Value::Number(_) | Value::Flag(_) => None,
    }
}

async fn count(client: &Client, table: &Table) -> Result<i64, Error> {
    client.query_one(&format!("SELECT count(*) FROM {}", table.name), &[]).await?.try_get(0)
}

async fn service(client: &Client) -> Result<Record, Error> {
    record(SERVICE, &client.query_one(READ_SERVICE, &[]).await?)
}

/// What the target notes of the source of an unfinished move, or whether it is empty.
enum Noted {
    Of { source: String, checksum: String },
    Empty,
    NotEmpty,
}

async fn noted(client: &Client) -> Result<Noted, Error> {
    if let Some(row) = client.query_opt("SELECT source, checksum FROM transfer", &[]).await? {
        return Ok(Noted::Of { source: row.try_get(0)?, checksum: row.try_get(1)? });
    }
    for table in TABLES {
        let any = client.query_opt(&format!("SELECT 1 FROM {} LIMIT 1", table.name), &[]).await?;
        if any.is_some() {
            return Ok(Noted::NotEmpty);
        }
    }
    let numbers = &service(client).await?[..2];
    Ok(if *numbers == [Value::Number(0), Value::Number(0)] { Noted::Empty } else { Noted::NotEmpty })
}

impl Side for Database {
    fn shown(&self) -> &str {
        self.session.shown()
    }

    fn count(&mut self, table: &Table) -> Result<u64, TransferError> {
        let rows = self.ask(async |client| count(client, table).await)?;
        Ok(u64::try_from(rows).expect("a count is not negative"))
    }

    fn read(&mut self, table: &Table, after: Option<&Key>) -> Result<Vec<Record>, TransferError> {
        let (text, first) = (read_text(table), vec![i64::MIN; table.key]);
        let after = after.unwrap_or(&first);
        let parameters: Vec<_> = after.iter().map(|number| number as &(dyn ToSql + Sync)).collect();
        self.ask(async |client| {
            let rows = client.query(&text, &parameters).await?;
            rows.iter().map(|row| record(table.columns, row)).collect()
        })
    }

    fn service(&mut self) -> Result<Record, TransferError> {
        self.ask(service)
    }

    fn still_held(&mut self) -> Result<(), TransferError> {
        let held = self.session.is_held();
        if held.map_err(|lost| self.failed(lost))? {
            return Ok(());
        }
        Err(TransferError::Refused(format!(
            "another process has taken over the database {}, and may have written: stop it, empty the target and run \
             the command again",
            self.session.shown()
        )))
    }
}

impl Target for Database {
    fn begin(&mut self, source: &Source) -> Result<Begun, TransferError> {
        let found = self.write_again(async |client| {
            let noted = noted(client).await?;
            if let Noted::Empty = noted {
                let note = "INSERT INTO transfer (id, source, checksum) VALUES (1, $1, $2)";
                client.execute(note, &[&source.shown, &source.checksum]).await?;
            }
            Ok(noted)
        })?;
        match found {
            Noted::Empty => Ok(Begun::Ready),
            Noted::Of { checksum, .. } if checksum == source.checksum => Ok(Begun::Ready),
            Noted::Of { source: dir, .. } => Err(TransferError::Refused(format!(
                "the database {} holds an unfinished import of {dir}, which is another source or was served since: drop \
                 and create the database and run the command again",
                self.session.shown()
            ))),
            Noted::NotEmpty => Ok(Begun::NotEmpty),
        }
    }

    fn last_key(&mut self, table: &Table) -> Result<Option<Key>, TransferError> {
        let key: Vec<_> = table.columns[..table.key].iter().map(|column| format!("{} DESC", column.name)).collect();
        let (columns, key) = (table.key_columns(), key.join(", "));
        let text = format!("SELECT {columns} FROM {} ORDER BY {key} LIMIT 1", table.name);
        self.ask(async |client| {
            let row = client.query_opt(&text, &[]).await?;
            row.map(|row| (0..table.key).map(|at| row.try_get(at)).collect()).transpose()
        })
    }

    fn write(&mut self, table: &Table, rows: &[Record]) -> Result<Wrote, TransferError> {
        let text = write_text(table);
        let columns = table.columns.iter().enumerate();
        let columns: Vec<_> = columns.map(|(at, column)| parameter(column, at, rows)).collect();
        let columns: Vec<_> = columns.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect();
        let wrote = self.session.write(async |client: &Client| client.execute(&text, &columns).await);
        match wrote.map_err(|lost| self.failed(lost))? {
            Some(_) => Ok(Wrote::All),
            None => Ok(Wrote::Unknown),
        }
    }

    fn write_service(&mut self, record: &Record) -> Result<(), TransferError> {
        let numbers: Vec<_> = record[..7].iter().map(number).collect();
        let boot_id = text(&record[7]);
        self.write_again(async |client| {
            client.execute(WRITE_MARKS, &[&numbers[0], &numbers[1]]).await?;
            let clock: [&(dyn ToSql + Sync); 6] =
                [&numbers[2], &numbers[3], &numbers[4], &numbers[5], &numbers[6], &boot_id];
            client.execute(WRITE_CLOCK, &clock).await.map(drop)
        })
    }

    fn finish(&mut self) -> Result<(), TransferError> {
        self.write_again(async |client| client.execute("DELETE FROM transfer", &[]).await.map(drop))
    }
}
