//! The database's schema: how it is recognised, created and refused, and the settings of the server.

use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::address::Address;
use super::clock;
use super::connection::{Link, text};
use crate::error::OpenError;

/// The newest schema that this version knows.
const KNOWN: i32 = 1;

const CREATE: &str = include_str!("migrations/1.sql");

/// The first version with all that the statements use.
const VERSION_MIN: i32 = 150_000;

/// So that two processes do not create the tables at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1148152690)";

const RECOGNISE: &str = "SELECT to_regclass('cluster') IS NOT NULL AND to_regproc('doorbell_fence') IS NOT NULL, \
    (SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace)";

const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
    current_setting('full_page_writes'), current_setting('synchronous_standby_names'), \
    current_setting('synchronous_commit'), (extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// What the operator demands of the database.
pub(super) struct Demands<'a> {
    pub(super) allow_single_copy: bool,
    pub(super) cluster: Option<&'a str>,
}

/// Checks the server, and creates the tables in an empty database. Returns the cluster's id.
pub(super) async fn prepare(address: &Address, demands: &Demands<'_>) -> Result<String, OpenError> {
    let refuse = |reason: String| OpenError::Database { database: address.shown.clone(), reason };
    let link = connect(address).await.map_err(refuse)?;
    check_settings(&link.client, demands).await.map_err(|error| error.told(address))?;
    let (cluster, schema, schema_min) = recognise(&link.client).await.map_err(|error| error.told(address))?;
    if schema_min > KNOWN {
        let database = address.shown.clone();
        return Err(OpenError::NewerSchema { database, found: schema, known: KNOWN });
    }
    if schema < KNOWN {
        return Err(refuse(format!(
            "it has schema {schema} and this version needs {KNOWN}: run `doorbell migrate` first"
        )));
    }
    if let Some(expected) = demands.cluster
        && expected != cluster
    {
        return Err(refuse(format!(
            "it belongs to another service (cluster {cluster}, and this one is {expected}): name the database of this \
             service, whose URLs the other keys cannot open"
        )));
    }
    Ok(cluster)
}

/// Why a database is refused: an error of the server, or what is wrong with it.
enum Refusal {
    Engine(Error),
    Told(String),
}

impl Refusal {
    fn told(self, address: &Address) -> OpenError {
        let reason = match self {
            Self::Engine(error) => explain(&error),
            Self::Told(reason) => reason,
        };
        OpenError::Database { database: address.shown.clone(), reason }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// The error with what to do about it.
pub(super) fn explain(error: &Error) -> String {
    let text = text(error);
    let advice = match error.code() {
        Some(code) if *code == SqlState::INVALID_PASSWORD => "give the right password for this user",
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "name a user that pg_hba.conf lets in from this machine"
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "create it with createdb",
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => "make this user the owner of the database",
        Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN => {
            "its tables are not as doorbell made them: restore it from a backup"
        }
        Some(_) => "see the server's log",
        None if text.contains("password missing") => "write it into a file, and give --database-password-file FILE",
        None if text.contains("certificate") || text.contains("TLS") => {
            "name the host as its certificate does, and the authority with sslrootcert=FILE"
        }
        None => "start the server, or correct host and port",
    };
    format!("{text}: {advice}")
}

async fn connect(address: &Address) -> Result<Link, String> {
    match Link::open_bare(address, TargetSessionAttrs::ReadWrite).await {
        Ok(link) => Ok(link),
        Err(error) if text(&error).contains("does not allow writes") => {
            Err("it is a standby, or read-only: name the primary, or all hosts of the cluster".into())
        }
        Err(error) => Err(explain(&error)),
    }
}

async fn check_settings(client: &Client, demands: &Demands<'_>) -> Result<(), Refusal> {
    let before = clock::wall_ms();
    let row = client.query_one(SETTINGS, &[]).await?;
    let after = clock::wall_ms();
    let refuse = |reason: &str| Err(Refusal::Told(reason.to_owned()));
    let version: i32 = row.try_get(0)?;
    if version < VERSION_MIN {
        return Err(Refusal::Told(format!(
            "its version is {}: use PostgreSQL {} or newer",
            version / 10_000,
            VERSION_MIN / 10_000
        )));
    }
    let setting = |column| row.try_get::<_, &str>(column);
    if setting(1)? != "on" {
        return refuse("fsync is off, so a power failure may destroy it: set fsync = on");
    }
    if setting(2)? != "on" {
        return refuse("full_page_writes is off, so a power failure may destroy it: set full_page_writes = on");
    }
    if setting(4)? != "on" {
        return refuse("synchronous_commit cannot be set to on for this user: allow it");
    }
    if setting(3)?.trim().is_empty() && !demands.allow_single_copy {
        return refuse(
            "synchronous_standby_names is empty, so each message is on one server alone: set it to 'ANY 1 (…)', or \
             accept that with --allow-single-copy",
        );
    }
    clock::check(before, row.try_get(5)?, after).map_err(Refusal::Told)
}

/// The cluster's id, its schema, and the oldest that may use it.
async fn recognise(client: &Client) -> Result<(String, i32, i32), Refusal> {
    client.batch_execute("BEGIN").await?;
    client.batch_execute(LOCK).await?;
    let found = client.query_one(RECOGNISE, &[]).await?;
    let (is_ours, relations): (bool, i64) = (found.try_get(0)?, found.try_get(1)?);
    if !is_ours && relations > 0 {
        return Err(Refusal::Told(
            "it has tables that are not doorbell's: give doorbell a database of its own; nothing was changed".into(),
        ));
    }
    if !is_ours {
        client.batch_execute(CREATE).await?;
        tracing::info!(schema = KNOWN, "the tables were created");
    }
    let read = "SELECT cluster_id::text, schema, schema_min FROM cluster WHERE id = 1";
    let Some(row) = client.query_opt(read, &[]).await? else {
        return Err(Refusal::Told("the row of its table cluster is missing: restore it from a backup".into()));
    };
    client.batch_execute("COMMIT").await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}
