//! Schema steps: from one version to the next without a stop of the service (`doorbell migrate`).
//!
//! A step is a file in `migrations/` with up to three parts, and one entry in `schema::STEPS`:
//! * **expand**, from the first line on: one transaction. It adds tables and columns, and may replace functions, so that
//!   programs of the schema before go on. A column that it adds has a default or may be NULL.
//! * after a line `--! concurrently`: statements that run alone, `CREATE INDEX CONCURRENTLY IF NOT EXISTS …;`.
//! * after a line `--! contract`: one transaction that removes what only older programs used.
//!
//! A program of schema `n` serves a database whose `schema` is at least `n` and whose `schema_min` is at most `n`. So the
//! order is: expand, the new version instead of the old one, contract.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::address::Address;
use super::schema::{self, Recognised, Refusal};
use super::{PostgresOptions, connection};
use crate::error::OpenError;

/// Two of these at once could wait for each other.
const LOCK: &str = "SELECT pg_try_advisory_lock(1148152691)";

/// A change of a table waits behind the transactions that use it, and all others wait behind it. So it waits shortly, and
/// tries again.
const SHORT: &str = "SET lock_timeout = '500ms'";
const ATTEMPTS: u32 = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// An index that is created concurrently waits for every transaction, which does no harm.
const LONG: &str = "SET lock_timeout = '60s'";

const UNFINISHED_INDEXES: &str = "SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
    WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace";

const OLDER_PROGRAM: &str =
    "SELECT holder FROM node WHERE state < 2 AND schema < $1 AND lease_until > now() FOR UPDATE";
/// A program that was stopped, and may go on at any time.
const END_OLDER: &str = "UPDATE node SET state = 2, life = life + 1 WHERE state < 2 AND schema < $1";

/// Which part of the steps is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// What the new version needs. The old one may go on.
    Expand,
    /// What only the old version used is removed.
    Contract,
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The schema before.
    pub from: i32,
    /// The schema now.
    pub to: i32,
    /// The oldest schema whose programs may use the database now.
    pub oldest: i32,
}

impl Migration {
    /// Brings the database to the schema of this version. An empty database gets its tables. Blocks until it is done; one
    /// that was interrupted at any moment is continued by the next.
    ///
    /// # Errors
    /// [`OpenError`]. Of a step that fails nothing is done.
    pub fn run(self, options: &PostgresOptions) -> Result<Migrated, OpenError> {
        self.run_steps(options, schema::STEPS)
    }

    /// The same with other steps, for tests.
    #[doc(hidden)]
    pub fn run_steps(self, options: &PostgresOptions, steps: &[&str]) -> Result<Migrated, OpenError> {
        let address = Address::of(options)?;
        let run = || connection::runtime().map_err(OpenError::Thread)?.block_on(self.migrate(&address, steps));
        connection::outside_runtimes(run).map_err(OpenError::Thread)?
    }

    async fn migrate(self, address: &Address, steps: &[&str]) -> Result<Migrated, OpenError> {
        let link = schema::connect(address).await?;
        let before = schema::recognise(&link.client, Some(steps)).await.map_err(|error| error.at(address))?;
        let newest = newest(steps);
        if before.schema_min > newest {
            let database = address.shown.clone();
            return Err(OpenError::NewerSchema { database, found: before.schema, known: newest });
        }
        let migrated = match self {
            Self::Expand => expand(&link.client, &before, steps).await,
            Self::Contract => contract(&link.client, &before, steps).await,
        };
        migrated.map_err(|error| error.at(address))
    }
}

fn newest(steps: &[&str]) -> i32 {
    i32::try_from(steps.len()).expect("a handful of steps fits")
}

/// The steps behind `number`, with their numbers.
fn behind<'a>(steps: &'a [&'a str], number: i32) -> impl Iterator<Item = (i32, Parts<'a>)> {
    (1i32..).zip(steps).filter(move |(step, _)| *step > number).map(|(step, text)| (step, Parts::of(text)))
}

/// Makes the tables in an empty database, in the caller's transaction: nothing uses them yet, so nothing has to wait.
pub(super) async fn create(client: &Client, steps: &[&str]) -> Result<(), Error> {
    for (number, parts) in behind(steps, 0) {
        client.batch_execute(parts.expand).await?;
        for statement in parts.concurrently() {
            client.batch_execute(&statement.replace("CONCURRENTLY", "")).await?;
        }
        client.batch_execute(parts.contract).await?;
        let mark = "UPDATE cluster SET schema = $1, schema_min = $1, expanded = $1 WHERE id = 1";
        client.execute(mark, &[&number]).await?;
    }
    Ok(())
}

async fn expand(client: &Client, before: &Recognised, steps: &[&str]) -> Result<Migrated, Refusal> {
    let newest = newest(steps);
    if before.schema < newest {
        begin(client).await?;
        let row = client.query_one("SELECT expanded, (SELECT source FROM transfer) FROM cluster", &[]).await?;
        let expanded: i32 = row.try_get(0)?;
        if let Some(dir) = row.try_get::<_, Option<String>>(1)? {
            return Err(Refusal::Reason(format!(
                "it holds an unfinished import of {dir}: finish that first, with the version that began it"
            )));
        }
        for (number, parts) in behind(steps, before.schema) {
            if number > expanded {
                let done = format!("UPDATE cluster SET expanded = {number} WHERE id = 1");
                in_a_transaction(client, None, &[parts.expand, &done]).await?;
            }
            client.batch_execute(LONG).await?;
            // Those of a migration that was interrupted: they are no use, and have the names.
            for row in client.query(UNFINISHED_INDEXES, &[]).await? {
                client.batch_execute(&format!("DROP INDEX CONCURRENTLY {}", row.try_get::<_, &str>(0)?)).await?;
            }
            for statement in parts.concurrently() {
                client.batch_execute(statement).await?;
            }
            client.execute("UPDATE cluster SET schema = $1 WHERE id = 1", &[&number]).await?;
        }
    }
    Ok(Migrated { from: before.schema, to: before.schema.max(newest), oldest: before.schema_min })
}

async fn contract(client: &Client, before: &Recognised, steps: &[&str]) -> Result<Migrated, Refusal> {
    let newest = newest(steps);
    if before.schema < newest {
        return Err(Refusal::Reason(format!(
            "it has schema {} and this version has {newest}: run `doorbell migrate` without --contract first",
            before.schema
        )));
    }
    if before.schema_min < newest {
        begin(client).await?;
        for (number, parts) in behind(steps, before.schema_min) {
            let done = format!("UPDATE cluster SET schema_min = {number} WHERE id = 1");
            in_a_transaction(client, Some(number), &[parts.contract, &done]).await?;
        }
    }
    Ok(Migrated { from: before.schema, to: before.schema, oldest: before.schema_min.max(newest) })
}

async fn begin(client: &Client) -> Result<(), Refusal> {
    if client.query_one(LOCK, &[]).await?.try_get(0)? {
        return Ok(());
    }
    Err(Refusal::Reason("another `doorbell migrate` runs on it: wait for its end".into()))
}

/// Runs `texts` in one transaction, with `without` only if no program of an older schema uses the database. Tries again
/// while others hold the tables.
async fn in_a_transaction(client: &Client, without: Option<i32>, texts: &[&str]) -> Result<(), Refusal> {
    for _ in 1..ATTEMPTS {
        match attempt(client, without, texts).await {
            Err(Refusal::Engine(error))
                if matches!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED)) =>
            {
                client.batch_execute("ROLLBACK").await?;
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            }
            done => return done,
        }
    }
    attempt(client, without, texts).await
}

async fn attempt(client: &Client, without: Option<i32>, texts: &[&str]) -> Result<(), Refusal> {
    client.batch_execute(SHORT).await?;
    client.batch_execute("BEGIN").await?;
    if let Some(number) = without {
        if let Some(row) = client.query_opt(OLDER_PROGRAM, &[&number]).await? {
            let holder: &str = row.try_get(0)?;
            return Err(Refusal::Reason(format!(
                "a program of an older schema uses it ({holder}): start this version instead, then run this again"
            )));
        }
        client.execute(END_OLDER, &[&number]).await?;
    }
    for text in texts {
        client.batch_execute(text).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

/// The parts of a step.
struct Parts<'a> {
    expand: &'a str,
    concurrently: &'a str,
    contract: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (text, contract) = text.split_once("--! contract\n").unwrap_or((text, ""));
        let (expand, concurrently) = text.split_once("--! concurrently\n").unwrap_or((text, ""));
        Self { expand, concurrently, contract }
    }

    /// Each statement ends a line.
    fn concurrently(&self) -> impl Iterator<Item = &'a str> {
        self.concurrently.split_inclusive(";\n").map(str::trim).filter(|statement| !statement.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_three_parts_each_of_which_may_be_missing() {
        let of = |text| {
            let parts = Parts::of(text);
            (parts.expand, parts.concurrently().collect::<Vec<_>>(), parts.contract)
        };
        assert_eq!(of("A;\n"), ("A;\n", vec![], ""));
        assert_eq!(of("A;\n--! contract\nD;\n"), ("A;\n", vec![], "D;\n"));
        let all = "A;\nB;\n--! concurrently\nC\n  c;\nD;\n--! contract\nE;\n";
        assert_eq!(of(all), ("A;\nB;\n", vec!["C\n  c;", "D;"], "E;\n"));
    }
}
