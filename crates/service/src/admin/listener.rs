//! The accept loop of the admin listener. It has places of its own, so that it answers while the public one is full.
//!
//! It shares HTTP/1.1 with the public listener (`accept::serve_http1`), and not the loop of that one: TLS, HTTP/2, MCS
//! and sources have no place here, and a Unix socket has none of the options of TCP.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::Admin;
use crate::accept::{Context, serve_http1};
use crate::config::{AdminAddress, Limits};
use crate::seldom::Seldom;
use crate::transport::place::{Bounds, Place, Places};

/// Connections open at once: some monitors, some browsers. For one more the oldest is closed, so that clients that never
/// end do not keep a monitor out.
const CONNECTIONS_MAX: usize = 32;
/// A connection is closed after this time, whatever it does: a client that reads slowly must not hold it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);
/// The time for a request's head, and the silence before it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers in progress may take when the service ends: all of them are small.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The socket of the admin listener.
pub(crate) enum AdminSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A bound socket and its handler.
pub(crate) struct AdminListener {
    pub(crate) socket: AdminSocket,
    pub(crate) context: Arc<Context<Admin>>,
}

/// The limits of the connections here.
pub(crate) fn limits(public: &Limits) -> Limits {
    Limits { request_timeout: REQUEST_TIMEOUT, ..*public }
}

impl AdminSocket {
    pub(crate) async fn bind(address: &AdminAddress) -> io::Result<Self> {
        match address {
            AdminAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            AdminAddress::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    /// The address with the port that it really has.
    pub(crate) fn address(&self, asked: &AdminAddress) -> AdminAddress {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| asked.clone(), AdminAddress::Tcp),
            Self::Unix(_) => asked.clone(),
        }
    }
}

impl AdminListener {
    /// Answers until the context stops, then waits a moment for the answers in progress.
    pub(crate) async fn run(self) {
        let mut connections = Connections::default();
        tokio::select! {
            () = self.accept_all(&mut connections) => {}
            () = self.context.stopping() => {}
        }
        drop(self.socket);
        let ended = timeout(DRAIN_TIMEOUT, async { while connections.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            debug!("connections of the admin listener are closed");
        }
    }

    async fn accept_all(&self, connections: &mut Connections) {
        let places =
            Places::new(Bounds { connections_max: usize::MAX, strangers_max: usize::MAX, per_source_max: None });
        let failures = Seldom::default();
        loop {
            let now = self.context.clock.now();
            let accepted = match &self.socket {
                AdminSocket::Tcp(listener) => listener.accept().await.map(|(stream, _)| Accepted::Tcp(stream)),
                AdminSocket::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
            };
            match accepted {
                Ok(accepted) => {
                    let place = places.enter(None, now).await.expect("no source has a bound here");
                    match accepted {
                        Accepted::Tcp(stream) => connections.spawn(serve(stream, self.context.clone(), place)),
                        Accepted::Unix(stream) => connections.spawn(serve(stream, self.context.clone(), place)),
                    }
                }
                Err(error) => {
                    if let Some(times) = failures.count(self.context.clock.now()) {
                        warn!(%error, times, "the admin listener cannot accept a connection");
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn serve<IO>(io: IO, context: Arc<Context<Admin>>, place: Arc<Place>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // No answer here becomes a WebSocket, so nothing is left of the connection.
    let _ = timeout(CONNECTION_TIME_MAX, serve_http1(io, context, place)).await;
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Connections {
    fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|task| !task.is_finished());
        while self.order.len() >= CONNECTIONS_MAX {
            let oldest = self.order.pop_front().expect("it is not empty");
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(connection));
    }
}
