//! The accept loop: one port, TLS, and what is spoken on top: ALPN's choice, or what the first octets say.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{Context, http1, http2};
use crate::transport::mcs;
use crate::transport::tls::TlsStream;

/// What runs on top of TCP.
#[derive(Clone)]
pub(crate) enum Transport {
    /// TLS, with the HTTP version chosen by ALPN. Chromium offers nothing there when it wants MCS, as old HTTP clients do.
    Tls(Arc<ServerConfig>),
    /// Plain HTTP/1.1, HTTP/2 with prior knowledge (RFC 9113 s3.3), or MCS.
    Plain,
}

/// A bound port and what it serves.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) transport: Transport,
    pub(crate) context: Arc<Context>,
}

/// How long octets may be on their way before TCP gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// The first octets of every HTTP/2 connection (RFC 9113 s3.4).
const H2_PREFACE_START: &[u8] = b"PRI * HTTP/2.0";

impl Listener {
    /// Accepts until the service drains, then waits for the connections to end, at most the drain time-out.
    pub(crate) async fn run(self) {
        let most = self.context.limits.connections_max;
        let places = Arc::new(Semaphore::new(most));
        tokio::select! {
            () = self.accept_all(&places) => {}
            () = self.context.stopping() => {}
        }
        drop(self.socket);
        self.context.doors.dismiss();
        let everyone = u32::try_from(most).unwrap_or(u32::MAX);
        if timeout(self.context.limits.drain_timeout, places.acquire_many(everyone)).await.is_err() {
            warn!("drain time-out: connections that are still open are cut");
        }
    }

    async fn accept_all(&self, places: &Arc<Semaphore>) {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, self.transport.clone(), self.context.clone(), place));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: those in use will come free.
                    warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Each phase of a connection is a future of its own on the heap, because the longest one, an idle agent's, is the smallest.
async fn connection(stream: TcpStream, transport: Transport, context: Arc<Context>, place: OwnedSemaphorePermit) {
    if let Err(error) = prepare(&stream) {
        debug!(%error, "cannot set the socket's options");
    }
    let opening = Box::pin(timeout(context.limits.request_timeout, open(stream, transport)));
    // Whoever is not through when the service drains has asked nothing yet.
    let opened = tokio::select! {
        opened = opening => opened,
        () = context.stopping() => return,
    };
    match opened {
        Ok(Ok(Opened::Tls(tls, spoken))) => spoken.serve(tls, context, place).await,
        Ok(Ok(Opened::Plain(stream, spoken))) => spoken.serve(stream, context, place).await,
        Ok(Err(error)) => debug!(%error, "a connection did not open"),
        Err(_) => debug!("a connection did not open in time"),
    }
}

async fn open(stream: TcpStream, transport: Transport) -> io::Result<Opened> {
    match transport {
        Transport::Tls(config) => {
            let mut tls = Box::new(TlsStream::accept(config, stream).await?);
            let spoken = match tls.alpn() {
                Some(b"h2") => Spoken::Http2,
                Some(_) => Spoken::Http1,
                None => Spoken::of_first(tls.first_octet().await?),
            };
            Ok(Opened::Tls(tls, spoken))
        }
        Transport::Plain => spoken_on(&stream).await.map(|spoken| Opened::Plain(stream, spoken)),
    }
}

/// A connection of which it is known what is spoken on it. TLS is boxed, because it goes through many hands, each of which
/// would keep room for it.
enum Opened {
    Tls(Box<TlsStream<TcpStream>>, Spoken),
    Plain(TcpStream, Spoken),
}

/// What is spoken on a connection.
enum Spoken {
    Http1,
    Http2,
    Mcs,
}

impl Spoken {
    /// What a connection speaks that is not HTTP/2 and begins with this octet.
    fn of_first(octet: Option<u8>) -> Self {
        if octet == Some(mcs::VERSION) { Self::Mcs } else { Self::Http1 }
    }

    async fn serve<IO>(self, io: IO, context: Arc<Context>, place: OwnedSemaphorePermit)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self {
            Self::Http2 => Box::pin(http2::serve(io, context)).await,
            Self::Mcs if context.doors.has_mcs() => {
                let socket = mcs::Socket::new(io, context.limits.idle_timeout, place);
                tokio::spawn(context.doors.clone().attend(socket));
            }
            // Of MCS it will say that this is no HTTP.
            Self::Http1 | Self::Mcs => {
                if let Some(socket) = Box::pin(http1::serve(io, context.clone(), place)).await {
                    tokio::spawn(context.doors.clone().converse(socket));
                }
            }
        }
    }
}

/// Sends small frames at once, and notices peers that vanished: an idle agent may be silent for hours.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(600)).with_interval(Duration::from_secs(60));
    let socket = SockRef::from(stream);
    // Octets that nobody acknowledges end the connection: whoever still has one after a while has what was sent.
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(&keepalive)
}

/// Looks at the first octets without taking them.
async fn spoken_on(stream: &TcpStream) -> io::Result<Spoken> {
    let mut start = [0; H2_PREFACE_START.len()];
    loop {
        let seen = stream.peek(&mut start).await?;
        if seen == 0 || !H2_PREFACE_START.starts_with(&start[..seen]) {
            return Ok(Spoken::of_first(start.first().copied().filter(|_| seen > 0)));
        }
        if seen == start.len() {
            return Ok(Spoken::Http2);
        }
        // Part of a preface: the rest is on its way, and the caller's time-out bounds the wait.
        sleep(Duration::from_millis(5)).await;
    }
}
