//! The servers of these tests, as options of the store.

use std::sync::OnceLock;

use doorbell_store::PostgresOptions;

pub(crate) use doorbell_postgres_server::{PASSWORD, Server, shared};

/// Databases as the store opens them.
pub(crate) trait Databases {
    /// The options to open a fresh database.
    fn fresh(&self) -> PostgresOptions;

    /// The options to open this database.
    fn options(&self, database: &str) -> PostgresOptions;
}

impl Databases for Server {
    fn fresh(&self) -> PostgresOptions {
        self.options(&self.create_database())
    }

    fn options(&self, database: &str) -> PostgresOptions {
        PostgresOptions { url: self.url(database), password: None, allow_single_copy: true, cluster: None }
    }
}

/// A database of the shared server that is used again and again.
pub(crate) fn reused() -> Option<(&'static Server, &'static PostgresOptions)> {
    static REUSED: OnceLock<Option<PostgresOptions>> = OnceLock::new();
    let server = shared()?;
    Some((server, REUSED.get_or_init(|| Some(server.fresh())).as_ref()?))
}

/// The database of these options.
pub(crate) fn database(options: &PostgresOptions) -> &str {
    options.url.rsplit('/').next().unwrap()
}
