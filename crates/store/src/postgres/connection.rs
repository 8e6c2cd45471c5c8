//! A connection to the database: how it is made, what its session is set to, and what it reports beside the answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures_util::future::{poll_fn, try_join_all};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, Error, NoTls, Row, Statement};

use super::address::Address;
use super::sql;
use crate::seldom::Seldom;

/// An open connection. It works while its runtime runs a future.
pub(super) struct Link {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
    /// The server warned: a commit may be on this server alone.
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

/// A runtime for the connections of one thread.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs `work` on a thread of its own, because the caller may be in a runtime, where no other can run.
pub(crate) fn outside_runtimes<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("store-open".into()).spawn_scoped(scope, work)?;
        match thread.join() {
            Ok(done) => Ok(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Link {
    /// Connects to the server that takes writes, and prepares `statements`.
    pub(super) async fn open(address: &Address, statements: &[&'static str]) -> Result<Self, Error> {
        let mut link = Self::open_bare(address, TargetSessionAttrs::ReadWrite).await?;
        let prepared = try_join_all(statements.iter().map(|text| link.client.prepare(text))).await?;
        link.statements = statements.iter().copied().zip(prepared).collect();
        Ok(link)
    }

    /// Connects without a statement.
    pub(super) async fn open_bare(address: &Address, kind: TargetSessionAttrs) -> Result<Self, Error> {
        let mut config = address.config.clone();
        config.target_session_attrs(kind);
        let warned = Arc::new(AtomicBool::new(false));
        let (client, driver) = match &address.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, tokio::spawn(drive(connection, Arc::clone(&warned), Arc::clone(&address.warnings))))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(drive(connection, Arc::clone(&warned), Arc::clone(&address.warnings))))
            }
        };
        let link = Self { client, statements: HashMap::new(), warned, driver: driver.abort_handle() };
        link.client.batch_execute(sql::SESSION).await?;
        Ok(link)
    }

    /// Runs a prepared statement.
    pub(super) async fn query(&self, text: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.client.query(&self.statements[text], params).await
    }

    /// Whether the server has warned since the last call.
    pub(super) fn take_warning(&self) -> bool {
        self.warned.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Link {
    /// What was not sent yet is not sent any more.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Reads and writes the connection until it ends.
async fn drive<S, T>(mut connection: Connection<S, T>, warned: Arc<AtomicBool>, warnings: Arc<Seldom>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        // It comes before the answer to the statement that it is about.
        if let AsyncMessage::Notice(notice) = message
            && *notice.code() == SqlState::WARNING
        {
            warned.store(true, Ordering::Relaxed);
            warnings.log(1, move |times| tracing::warn!(text = notice.message(), times, "the database warns"));
        }
    }
}

/// The error and its cause, in one line without the statement.
pub(super) fn text(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) if !error.to_string().contains(&source.to_string()) => format!("{error}: {source}"),
            _ => error.to_string(),
        },
    }
}

/// Whether the server answered with this error, and lives on with this session.
pub(super) fn session_goes_on(error: &Error) -> bool {
    error.as_db_error().is_some_and(|db| {
        let severity = db.parsed_severity();
        !matches!(
            severity,
            Some(tokio_postgres::error::Severity::Fatal | tokio_postgres::error::Severity::Panic) | None
        )
    })
}
