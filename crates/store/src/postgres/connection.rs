//! A connection to the database: how it is made, what its session is set to, and what it reports beside the answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures_util::future::{poll_fn, try_join_all};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Row, Statement};

use super::address::Address;
use super::sql;
use crate::seldom::Seldom;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Whatever is asked of it, each statement a transaction of its own.
    Any,
    /// The batches of a life: nothing is written outside a transaction that says so ([`sql::begin`]).
    Batches,
    Reads,
}

impl Purpose {
    fn statements(self) -> &'static [&'static str] {
        match self {
            Self::Any => &[],
            Self::Batches => sql::WRITER,
            Self::Reads => sql::READER,
        }
    }
}

/// An open connection. It works while its runtime runs a future.
pub(super) struct Link {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
    /// The server warned: a commit may be on this server alone.
    warned: Arc<AtomicBool>,
    /// One server alone is good enough.
    allows_single_copy: bool,
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

/// Why there is no connection.
pub(super) enum ConnectError {
    Engine(Error),
    /// The host takes connections and does not answer them.
    Silent,
}

impl ConnectError {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Engine(error) => text(error),
            Self::Silent => "the server does not answer".into(),
        }
    }
}

/// A connection that is being made. The attempt outlasts a caller that waits no longer: with several hosts it takes
/// longer than callers wait while the database is away.
#[derive(Default)]
pub(super) struct Attempt(Option<JoinHandle<Result<Link, ConnectError>>>);

impl Attempt {
    /// Waits for the attempt, or for a new one. Giving up the wait loses nothing.
    pub(super) async fn link(&mut self, address: &Address, purpose: Purpose) -> Result<Link, ConnectError> {
        let attempt = self.0.get_or_insert_with(|| {
            let address = address.clone();
            tokio::spawn(async move { Link::open(&address, purpose).await })
        });
        let opened = attempt.await;
        self.0 = None;
        match opened {
            Ok(opened) => opened,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

impl Link {
    /// Connects to the server that takes writes, and prepares its statements. Begins with the host that was the last one.
    pub(super) async fn open(address: &Address, purpose: Purpose) -> Result<Self, ConnectError> {
        let (hosts, first) = (&address.hosts, address.last_host.load(Ordering::Relaxed));
        let mut reason: Option<ConnectError> = None;
        for at in (first..hosts.len()).chain(0..first) {
            let opened = timeout(address.host_wait, Self::open_at(&hosts[at], address, purpose)).await;
            let error = match opened {
                Ok(Ok(link)) => {
                    address.last_host.store(at, Ordering::Relaxed);
                    return Ok(link);
                }
                Ok(Err(error)) => ConnectError::Engine(error),
                Err(_) => ConnectError::Silent,
            };
            // What a server answers says more than that another one is gone.
            let is_answer =
                |error: &ConnectError| matches!(error, ConnectError::Engine(error) if error.code().is_some());
            if !reason.as_ref().is_some_and(is_answer) {
                reason = Some(error);
            }
        }
        Err(reason.expect("an address has a host"))
    }

    async fn open_at(config: &Config, address: &Address, purpose: Purpose) -> Result<Self, Error> {
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
        let mut link = Self {
            client,
            statements: HashMap::new(),
            warned,
            allows_single_copy: address.allow_single_copy,
            driver: driver.abort_handle(),
        };
        link.client.batch_execute(sql::SESSION).await?;
        if purpose != Purpose::Any {
            link.client.batch_execute(sql::READ_ONLY).await?;
        }
        let statements = purpose.statements();
        let prepared = try_join_all(statements.iter().map(|text| link.client.prepare(text))).await?;
        link.statements = statements.iter().copied().zip(prepared).collect();
        Ok(link)
    }

    /// Runs a prepared statement.
    pub(super) async fn query(&self, text: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.client.query(&self.statements[text], params).await
    }

    /// Reports that the server waits for no standbys.
    pub(super) fn note_single_copy(&self) {
        if !self.allows_single_copy {
            self.warned.store(true, Ordering::Relaxed);
        }
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

/// The server's function that warns when the wait for its standbys was ended.
const WAIT_FOR_STANDBYS: &str = "SyncRepWaitForLSN";

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
            // Others are about the server: they say nothing of this commit.
            && notice.routine().is_none_or(|routine| routine == WAIT_FOR_STANDBYS)
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

/// Whether the same may succeed on another connection, and has not happened on this one.
pub(super) fn passes(error: &Error) -> bool {
    let passing = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        // The server is a standby now, or it has forgotten the statements, or a table has changed since they were prepared.
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    error.code().is_some_and(|code| passing.contains(code))
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
