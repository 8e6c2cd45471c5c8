//! Where a service stores its messages: which engine, which files of the state directory, and what does not belong
//! together.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use doorbell_private_file as private_file;
use doorbell_store::{DirLock, Limits, OpenError, Store};
use thiserror::Error;

use crate::config::{Config, DatabaseSettings};
use crate::state_dir::{self, StateDirError};
use crate::status::StoreStatus;

/// The file with the id of the database's cluster, which a state directory belongs to.
const CLUSTER: &str = "cluster.id";
/// An id has 36 characters. A longer file is another one.
const CLUSTER_BYTES_MAX: usize = 64;

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
    /// The database was filled with another state directory.
    #[error(
        "the database {database} belongs to a service with another state directory, whose keys open its URLs: give that \
         one with --state-dir, or copy its capability.keys and {CLUSTER} into {}, or give an empty database",
        dir.display()
    )]
    OtherStateDir {
        /// Its name and hosts.
        database: String,
        /// The directory.
        dir: PathBuf,
    },
}

impl Storage {
    /// Opens the store. It blocks: an engine may migrate, or wait for the process before.
    pub(crate) fn open(config: &Config, limits: Limits) -> Result<Self, StorageError> {
        let dir = &config.state_dir;
        let opened = match &config.database {
            Some(database) => on_database(dir, database, limits),
            None => in_directory(dir, limits),
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

fn in_directory(dir: &Path, limits: Limits) -> Result<Storage, StorageError> {
    if let Some(cluster) = cluster_of(dir)? {
        return Err(StorageError::NeedsDatabase { cluster });
    }
    let store = Store::open_sqlite(dir, limits)?;
    Ok(Storage { store, status: StoreStatus { engine: "sqlite", database: None }, lock: None })
}

#[cfg(not(feature = "postgres"))]
fn on_database(_: &Path, database: &DatabaseSettings, _: Limits) -> Result<Storage, StorageError> {
    match *database {}
}

#[cfg(feature = "postgres")]
fn on_database(dir: &Path, database: &DatabaseSettings, limits: Limits) -> Result<Storage, StorageError> {
    use doorbell_store::{Engine, PostgresEngine};

    let lock = DirLock::take(dir)?;
    let cluster = cluster_of(dir)?;
    let is_new = cluster.is_none();
    if is_new && Store::exists(dir) {
        return Err(StorageError::NotImported { dir: dir.into() });
    }
    let engine = PostgresEngine::open(&database.options(cluster), limits)?;
    let database = engine.database().to_owned();
    if is_new {
        if engine.greatest_id() > 0 {
            return Err(StorageError::OtherStateDir { database, dir: dir.into() });
        }
        bind_to_cluster(dir, engine.cluster())?;
    }
    let store = Store::start(engine, limits)?;
    tracing::info!(database, "messages are stored in PostgreSQL");
    Ok(Storage { store, status: StoreStatus { engine: "postgresql", database: Some(database) }, lock: Some(lock) })
}

/// The id of the cluster whose database stores what this state directory has the keys for; `None`: the directory itself
/// stores it, or it is new.
///
/// # Errors
/// [`StorageError::ClusterFile`].
pub fn cluster_of(dir: &Path) -> Result<Option<String>, StorageError> {
    let path = dir.join(CLUSTER);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StorageError::ClusterFile { path, source }),
    };
    let id = text.trim();
    if id.is_empty() || id.len() > CLUSTER_BYTES_MAX || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        let source = io::Error::new(ErrorKind::InvalidData, "it holds no id: restore it from a backup");
        return Err(StorageError::ClusterFile { path, source });
    }
    Ok(Some(id.to_owned()))
}

/// Records that the database of this cluster stores what this state directory has the keys for.
///
/// # Errors
/// [`StorageError::ClusterFile`].
#[cfg(feature = "postgres")]
pub fn bind_to_cluster(dir: &Path, cluster: &str) -> Result<(), StorageError> {
    let path = dir.join(CLUSTER);
    private_file::replace_public(&path, format!("{cluster}\n").as_bytes())
        .map_err(|source| StorageError::ClusterFile { path, source })
}
