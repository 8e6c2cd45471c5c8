//! The database's schema: how it is recognised, created and refused, and the settings of the server.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::address::Address;
use super::connection::{ConnectError, Link, Purpose, text};
use super::{clock, migrate};
use crate::cluster::{Cluster, random_id};
use crate::error::OpenError;

/// Step `n` (counted from 1) changes a database of schema `n - 1`. `migrate.rs` describes the parts of a step. A released
/// step is never edited.
pub(super) const STEPS: &[&str] = &[include_str!("migrations/1.sql")];

/// The newest schema that this version knows.
pub(super) const KNOWN: i32 = 1;

const _: () = assert!(KNOWN as usize == STEPS.len(), "each schema has its step");

/// The first version with all that the statements use.
const VERSION_MIN: i32 = 150_000;

/// So that two processes do not create the tables at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1148152690)";

const RECOGNISE: &str = "SELECT to_regclass('cluster') IS NOT NULL AND to_regproc('doorbell_fence') IS NOT NULL, \
    (SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace)";

/// Another process may have claimed it since it was recognised.
const CLAIM: &str = "UPDATE cluster SET cluster_id = coalesce(cluster_id, $1) WHERE id = 1 RETURNING cluster_id";

const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
    current_setting('full_page_writes'), current_setting('synchronous_standby_names'), \
    current_setting('synchronous_commit'), (extract(epoch FROM clock_timestamp()) * 1000)::int8";

const SINGLE_COPY: &str = "synchronous_standby_names is empty, so each message is on one server alone: set it to \
    'ANY 1 (…)', or accept that with --allow-single-copy";

/// Checks that a server that has just become the primary, perhaps, has synchronous standbys.
pub(super) async fn check_copies(client: &Client, address: &Address) -> Result<(), String> {
    if address.allow_single_copy {
        return Ok(());
    }
    let row = client.query_one("SELECT current_setting('synchronous_standby_names')", &[]).await;
    let names: String = row.and_then(|row| row.try_get(0)).map_err(|error| text(&error))?;
    if names.trim().is_empty() { Err(SINGLE_COPY.into()) } else { Ok(()) }
}

/// What the operator demands of the database.
pub(super) struct Demands<'a> {
    pub(super) allow_single_copy: bool,
    pub(super) cluster: Option<&'a Cluster>,
    /// Whether an empty database gets its tables.
    pub(super) creates_tables: bool,
}

/// What the table `cluster` holds.
pub(super) struct Recognised {
    /// `None`: no service uses it yet.
    pub(super) cluster: Option<String>,
    pub(super) schema: i32,
    pub(super) schema_min: i32,
}

/// Checks the server, and creates the tables in an empty database.
pub(super) async fn prepare(address: &Address, demands: &Demands<'_>) -> Result<(), OpenError> {
    let link = connect(address).await?;
    check_settings(&link.client, demands).await.map_err(|error| error.at(address))?;
    let recognised = recognise(&link.client, demands.creates_tables.then_some(STEPS)).await;
    let Recognised { cluster, schema, schema_min } = recognised.map_err(|error| error.at(address))?;
    check_schema(address, schema, schema_min)?;
    check_cluster(demands.cluster, cluster.as_deref()).map_err(|error| error.at(address))
}

/// Checks that a database of the cluster `found` may be used.
fn check_cluster(expected: Option<&Cluster>, found: Option<&str>) -> Result<(), Refusal> {
    let reason = match (expected, found) {
        (None, _) | (Some(Cluster::New(_)), None) => return Ok(()),
        (Some(expected), Some(found)) if expected.id() == found => return Ok(()),
        (Some(Cluster::New(_)), Some(found)) => format!(
            "it belongs to a service with another state directory (cluster {found}), whose keys open its URLs: start \
             doorbell with that directory, or name an empty database"
        ),
        (Some(Cluster::Bound(expected)), Some(found)) => format!(
            "it belongs to another service (cluster {found}, and this one is {expected}): name the database of this \
             service, whose URLs the other keys cannot open"
        ),
        (Some(Cluster::Bound(expected)), None) => format!(
            "it is new, and this service has a database already (cluster {expected}): name that one, or restore it from \
             a backup"
        ),
    };
    Err(Refusal::Reason(reason))
}

fn check_schema(address: &Address, schema: i32, schema_min: i32) -> Result<(), OpenError> {
    let database = address.shown.clone();
    if schema_min > KNOWN {
        return Err(OpenError::NewerSchema { database, found: schema, known: KNOWN });
    }
    if schema < KNOWN {
        return Err(OpenError::OlderSchema { database, found: schema, known: KNOWN });
    }
    Ok(())
}

/// Makes a new database the cluster `expected`, or a random one, once this process holds it. Returns the cluster's id.
pub(super) async fn claim(client: &Client, address: &Address, expected: Option<&Cluster>) -> Result<String, OpenError> {
    let own = expected.map_or_else(random_id, |cluster| cluster.id().to_owned());
    let row = client.query_one(CLAIM, &[&own]).await.and_then(|row| row.try_get(0));
    let cluster: String = row.map_err(|error| Refusal::from(error).at(address))?;
    check_cluster(expected, Some(&cluster)).map_err(|error| error.at(address))?;
    Ok(cluster)
}

/// What a service must look at again once it holds the database.
pub(super) async fn check_served(client: &Client, address: &Address) -> Result<(), OpenError> {
    let look = async {
        let read = "SELECT schema, schema_min, (SELECT source FROM transfer) FROM cluster WHERE id = 1";
        let row = client.query_one(read, &[]).await?;
        Ok::<(i32, i32, Option<String>), Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    };
    let (schema, schema_min, unfinished) = look.await.map_err(|error| Refusal::from(error).at(address))?;
    check_schema(address, schema, schema_min)?;
    match unfinished {
        Some(dir) => Err(OpenError::UnfinishedImport { database: address.shown.clone(), dir }),
        None => Ok(()),
    }
}

/// Why a database is refused: an error of the server, or what is wrong with it.
pub(super) enum Refusal {
    Engine(Error),
    Reason(String),
}

impl Refusal {
    pub(super) fn at(self, address: &Address) -> OpenError {
        let reason = match self {
            Self::Engine(error) => explain(&error),
            Self::Reason(reason) => reason,
        };
        OpenError::Database { database: address.shown.clone(), reason }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<ConnectError> for Refusal {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Engine(error) if text(&error).contains("does not allow writes") => {
                Self::Reason("it is a standby, or read-only: name the primary, or all hosts of the cluster".into())
            }
            ConnectError::Engine(error) => Self::Engine(error),
            ConnectError::Silent => {
                Self::Reason("it does not answer: restart the server, or correct host and port".into())
            }
        }
    }
}

/// How long each step of the start may take, apart from what counts or moves rows. A process that was killed keeps the
/// database for up to five seconds.
const STEP_MAX: Duration = Duration::from_secs(15);

/// A server without its standbys answers everything but a commit.
const NO_COMMIT: &str = "it does not commit: start the standbys that synchronous_standby_names asks for, or restart the \
    server";

/// Ends a step of the start that waits for the server without an end.
pub(super) async fn in_time<T>(
    address: &Address,
    step: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    match timeout(STEP_MAX, step).await {
        Ok(done) => done,
        Err(_) => Err(Refusal::Reason(NO_COMMIT.into()).at(address)),
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
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => {
            "another session holds a lock on a table for longer than two seconds: end it, and start again"
        }
        Some(_) => "see the server's log",
        None if text.contains("password missing") => "write it into a file, and give --database-password-file FILE",
        None if text.contains("does not support TLS") => {
            "set ssl = on at the server, or write sslmode=disable if the network may be trusted"
        }
        None if text.contains("certificate") || text.contains("TLS") => {
            "name the host as its certificate does, and the authority with sslrootcert=FILE"
        }
        None => "start the server, or correct host and port",
    };
    format!("{text}: {advice}")
}

pub(super) async fn connect(address: &Address) -> Result<Link, OpenError> {
    Link::open(address, Purpose::Any).await.map_err(|error| Refusal::from(error).at(address))
}

async fn check_settings(client: &Client, demands: &Demands<'_>) -> Result<(), Refusal> {
    let before = clock::wall_ms();
    let row = client.query_one(SETTINGS, &[]).await?;
    let after = clock::wall_ms();
    let refuse = |reason: &str| Err(Refusal::Reason(reason.to_owned()));
    let version: i32 = row.try_get(0)?;
    if version < VERSION_MIN {
        return Err(Refusal::Reason(format!(
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
        return refuse(SINGLE_COPY);
    }
    clock::check(before, row.try_get(5)?, after).map_err(Refusal::Reason)
}

/// Which cluster it is; `None`: no service uses it yet, or it is not ours.
pub(super) async fn cluster(client: &Client) -> Result<Option<String>, Refusal> {
    let found = client.query_one(RECOGNISE, &[]).await?;
    if !found.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_opt("SELECT cluster_id FROM cluster WHERE id = 1", &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.flatten())
}

/// What an empty or our own database holds. With `steps`, an empty one gets their tables.
pub(super) async fn recognise(client: &Client, steps: Option<&[&str]>) -> Result<Recognised, Refusal> {
    client.batch_execute("BEGIN").await?;
    client.batch_execute(LOCK).await?;
    let found = client.query_one(RECOGNISE, &[]).await?;
    let (is_ours, relations): (bool, i64) = (found.try_get(0)?, found.try_get(1)?);
    if !is_ours && relations > 0 {
        return Err(Refusal::Reason(
            "it has tables that are not doorbell's: give doorbell a database of its own; nothing was changed".into(),
        ));
    }
    if !is_ours {
        let Some(steps) = steps else {
            return Err(Refusal::Reason("it is empty: name the database of the service".into()));
        };
        migrate::create(client, steps).await?;
        tracing::info!(schema = steps.len(), "the tables were created");
    }
    let read = "SELECT cluster_id, schema, schema_min FROM cluster WHERE id = 1";
    let Some(row) = client.query_opt(read, &[]).await? else {
        return Err(Refusal::Reason("the row of its table cluster is missing: restore it from a backup".into()));
    };
    client.batch_execute("COMMIT").await?;
    Ok(Recognised { cluster: row.try_get(0)?, schema: row.try_get(1)?, schema_min: row.try_get(2)? })
}
