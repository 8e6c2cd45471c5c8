//! Where a service stores its messages: which engine, which files of the state directory, and what does not belong
//! together.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use doorbell_private_file as private_file;
use doorbell_protocol::id::MessageId;
use doorbell_store::{CellSource, ClockRecord, DirLock, FirstCell, Limits, OpenError, SqliteEngine, Store};
#[cfg(feature = "postgres")]
use doorbell_store::{Cluster, PostgresEngine};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::{CellSettings, Config, DatabaseSettings};
use crate::state_dir::{self, StateDirError};
use crate::status::StoreStatus;

/// The file with the id of the database's cluster, which a state directory belongs to.
const CLUSTER: &str = "cluster.id";
/// An id has 32 characters. A longer one is none.
const CLUSTER_BYTES_MAX: usize = 64;
/// What follows the id in the file until a database has it.
const NEW: &str = " new";

/// An open store.
pub(crate) struct Storage {
    pub(crate) store: Store,
    pub(crate) status: StoreStatus,
    /// The state directory's, where no store in it has one.
    pub(crate) lock: Option<DirLock>,
}

/// Why the messages cannot be stored where the configuration says.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The engine refuses.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The state directory cannot be written.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The file with the cluster's id cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// The system's error, or what is in it.
        source: io::Error,
    },
    /// The messages are in a database, and none is given.
    #[error(
        "the messages of this service are in a database (cluster {cluster}), so give --database with its URL; or move \
         them back with `doorbell export`, or give another directory with --state-dir"
    )]
    NeedsDatabase {
        /// The cluster's id.
        cluster: String,
    },
    /// A database is given, and the messages are in the state directory.
    #[error(
        "the state directory {} holds messages that the database does not have: bring them there with `doorbell import \
         --from-sqlite {}`, or give another directory with --state-dir", dir.display(), dir.display()
    )]
    NotImported {
        /// The directory.
        dir: PathBuf,
    },
}

impl Storage {
    /// Opens the store. It blocks: an engine may migrate, or wait for the process before.
    /// `clock` is as it was before the store continues it.
    pub(crate) fn open(config: &Config, limits: Limits, clock: &Clock) -> Result<Self, StorageError> {
        let dir = &config.state_dir;
        let opened = match &config.database {
            Some(database) => on_database(config, database, limits, clock),
            None => in_directory(config, limits, clock),
        };
        opened.map_err(|error| match error {
            // After an error on its disk a file system is read-only, and only an attempt to write shows it.
            StorageError::Open(OpenError::Io { source, .. }) | StorageError::ClusterFile { source, .. }
                if rustix::io::Errno::from_io_error(&source) == Some(rustix::io::Errno::ROFS) =>
            {
                state_dir::failed(dir, source).into()
            }
            other => other,
        })
    }

    /// Whether the service of this state directory has had a store.
    pub(crate) fn is_in_use(config: &Config) -> Result<bool, StorageError> {
        Ok(Store::exists(&config.state_dir) || cluster_of(&config.state_dir)?.is_some())
    }
}

/// The store that begins with `first`, with the further cells of the configuration.
fn with_cells(config: &Config, first: FirstCell, limits: Limits, clock: &Clock) -> Result<Store, StorageError> {
    for cell in &config.cells {
        // A known one that is missing is not made, and a new one is made private.
        if let CellSettings::Dir(dir) = cell
            && dir.exists()
        {
            state_dir::prepare(dir)?;
        }
    }
    let source = |cell: &CellSettings| match cell {
        CellSettings::Dir(dir) => CellSource::Sqlite(dir.clone()),
        #[cfg(feature = "postgres")]
        CellSettings::Database(database) => CellSource::Postgres(database.options(None)),
        #[cfg(not(feature = "postgres"))]
        CellSettings::Database(database) => match *database {},
    };
    let others: Vec<_> = config.cells.iter().map(source).collect();
    let now = |record: &ClockRecord, greatest_id| continued(clock, record, greatest_id).now();
    Ok(Store::open_cells(&config.state_dir, first, &others, limits, now)?)
}

/// The clock that continues where the store ended.
pub(crate) fn continued(clock: &Clock, record: &ClockRecord, greatest_id: i64) -> Clock {
    let greatest_id = Some(greatest_id).filter(|id| *id > 0);
    clock.continued(record, greatest_id.map(|id| MessageId::from_raw(id).minted_at()))
}

fn in_directory(config: &Config, limits: Limits, clock: &Clock) -> Result<Storage, StorageError> {
    let dir = &config.state_dir;
    let check_unbound = || match cluster_of(dir)? {
        Some(cluster) => Err(StorageError::NeedsDatabase { cluster }),
        None => Ok(()),
    };
    check_unbound()?;
    Store::check_first_cell(dir)?;
    let first = FirstCell::sqlite(SqliteEngine::open(dir, limits)?, dir);
    // A move to a database may have ended while the store waited for its lock.
    check_unbound()?;
    let store = with_cells(config, first, limits, clock)?;
    Ok(Storage { store, status: StoreStatus { engine: "sqlite", database: None }, lock: None })
}

#[cfg(not(feature = "postgres"))]
fn on_database(_: &Config, database: &DatabaseSettings, _: Limits, _: &Clock) -> Result<Storage, StorageError> {
    match *database {}
}

#[cfg(feature = "postgres")]
fn on_database(
    config: &Config,
    database: &DatabaseSettings,
    limits: Limits,
    clock: &Clock,
) -> Result<Storage, StorageError> {
    let dir = &config.state_dir;
    let lock = DirLock::take(dir)?;
    if cluster_of(dir)?.is_none() && Store::exists(dir) {
        return Err(StorageError::NotImported { dir: dir.clone() });
    }
    let cluster = cluster_for(dir)?;
    let engine = PostgresEngine::open(&database.options(Some(cluster.clone())), limits)?;
    let database = engine.database().to_owned();
    bind_to_cluster(dir, &cluster)?;
    let store = with_cells(config, FirstCell::postgres(engine), limits, clock)?;
    tracing::info!(database, "messages are stored in PostgreSQL");
    Ok(Storage { store, status: StoreStatus { engine: "postgresql", database: Some(database) }, lock: Some(lock) })
}

/// The id of the cluster whose database stores what this state directory has the keys for; `None`: the directory itself
/// stores it, or it is new.
///
/// # Errors
/// [`StorageError::ClusterFile`].
pub fn cluster_of(dir: &Path) -> Result<Option<String>, StorageError> {
    let noted = noted(dir)?;
    Ok(noted.filter(|noted| noted.is_bound).map(|noted| noted.id))
}

/// What the file with the cluster's id holds.
struct Noted {
    id: String,
    is_bound: bool,
}

fn noted(dir: &Path) -> Result<Option<Noted>, StorageError> {
    let path = dir.join(CLUSTER);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StorageError::ClusterFile { path, source }),
    };
    let text = text.trim_end();
    let (id, is_bound) = text.strip_suffix(NEW).map_or((text, true), |id| (id, false));
    if id.is_empty() || id.len() > CLUSTER_BYTES_MAX || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        let source = io::Error::new(ErrorKind::InvalidData, "it holds no id: restore it from a backup");
        return Err(StorageError::ClusterFile { path, source });
    }
    Ok(Some(Noted { id: id.to_owned(), is_bound }))
}

/// The cluster that the database of this state directory must be. A new id is noted before a database gets it, so that
/// the next start has the same if this one is interrupted in between.
///
/// # Errors
/// [`StorageError::ClusterFile`].
#[cfg(feature = "postgres")]
pub fn cluster_for(dir: &Path) -> Result<Cluster, StorageError> {
    if let Some(Noted { id, is_bound }) = noted(dir)? {
        return Ok(if is_bound { Cluster::Bound(id) } else { Cluster::New(id) });
    }
    let id = doorbell_store::random_id();
    write_cluster(dir, &format!("{id}{NEW}\n"))?;
    Ok(Cluster::New(id))
}

/// Records that the database of this cluster stores what this state directory has the keys for.
///
/// # Errors
/// [`StorageError::ClusterFile`].
#[cfg(feature = "postgres")]
pub fn bind_to_cluster(dir: &Path, cluster: &Cluster) -> Result<(), StorageError> {
    match cluster {
        Cluster::New(id) => write_cluster(dir, &format!("{id}\n")),
        Cluster::Bound(_) => Ok(()),
    }
}

#[cfg(feature = "postgres")]
fn write_cluster(dir: &Path, text: &str) -> Result<(), StorageError> {
    let path = dir.join(CLUSTER);
    private_file::replace_public(&path, text.as_bytes()).map_err(|source| StorageError::ClusterFile { path, source })
}

/// Records that the state directory itself stores what it has the keys for.
///
/// # Errors
/// [`StorageError::ClusterFile`].
#[cfg(feature = "postgres")]
pub fn release_from_cluster(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(CLUSTER);
    let removed = match std::fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // It must not come back with a power failure.
        removed => removed.and_then(|()| std::fs::File::open(dir)?.sync_all()),
    };
    removed.map_err(|source| StorageError::ClusterFile { path, source })
}
