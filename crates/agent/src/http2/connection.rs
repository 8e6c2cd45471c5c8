//! One connection: TCP, TLS with ALPN `h2`, HTTP/2 with push enabled, PING at intervals, and a watch for GOAWAY
//! (RFC 9113).

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use crate::error::Error;
use crate::limits::Limits;

/// For one stream: a body of the largest size, so that a push never waits for a window of its own.
const STREAM_WINDOW: u32 = 64 * 1024;
/// For all streams together: what the service may send ahead while the app is busy.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The fields of one response or promise; capability URLs and an `aesgcm` Crypto-Key are the longest of them.
const HEADER_LIST_MAX: u32 = 16 * 1024;
/// How long a closing connection may take to send its GOAWAY.
const CLOSE_MAX: Duration = Duration::from_secs(1);

type H2Connection = h2::client::Connection<TlsStream<TcpStream>, Bytes>;

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) limits: Limits,
}

/// An open connection; it is closed, with GOAWAY, when this and all its streams are gone.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    leaving: watch::Receiver<bool>,
    _open: oneshot::Sender<()>,
}

impl Connector {
    /// A connection to the origin of `url`.
    pub(crate) async fn connect(&self, url: &Url) -> Result<Connection, Error> {
        let limit = self.limits.connect_timeout;
        timeout(limit, self.open(url)).await.map_err(|_| Error::Timeout("connection", limit))?
    }

    async fn open(&self, url: &Url) -> Result<Connection, Error> {
        let stream = self.handshake_tls(url).await?;
        let (requests, mut connection) = h2::client::Builder::new()
            .enable_push(true)
            .max_concurrent_streams(self.limits.pushes_max)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_MAX)
            .handshake(stream)
            .await
            .map_err(lost)?;
        let pings = connection.ping_pong().expect("a connection is asked for its pings once");
        let (left, leaving) = watch::channel(false);
        let (open, closed) = oneshot::channel();
        let probe = requests.clone();
        let limits = self.limits;
        tokio::spawn(async move {
            tokio::select! {
                () = drive(connection, probe, left, closed) => {}
                () = peer_is_silent(pings, &limits) => tracing::debug!("the peer does not answer: connection dropped"),
            }
        });
        Ok(Connection { requests, leaving, _open: open })
    }

    async fn handshake_tls(&self, url: &Url) -> Result<TlsStream<TcpStream>, Error> {
        let (name, address, port) = peer(url).ok_or_else(|| Error::Address(url.scheme().to_owned()))?;
        let host = format!("{}:{port}", url.host_str().expect("a peer has a host"));
        let unreachable = |e: std::io::Error| Error::Unreachable { host: host.clone(), why: e.to_string() };
        let tcp = TcpStream::connect((address.as_str(), port)).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        match TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => Ok(stream),
            Ok(_) => Err(Error::WithoutHttp2 { host }),
            Err(error) if knows_no_http2(&error) => Err(Error::WithoutHttp2 { host }),
            Err(error) => Err(Error::Untrusted { host, why: error.to_string() }),
        }
    }
}

impl Connection {
    /// For sending requests.
    pub(crate) fn requests(&self) -> SendRequest<Bytes> {
        self.requests.clone()
    }

    /// Resolves when the service wants the agent to leave (GOAWAY), and never if the connection just ends.
    pub(crate) async fn leaving(&self) {
        let mut leaving = self.leaving.clone();
        if leaving.wait_for(|left| *left).await.is_err() {
            std::future::pending().await
        }
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn closed(&self) {
        let mut leaving = self.leaving.clone();
        while leaving.changed().await.is_ok() {}
    }
}

/// The error of a connection or stream that broke.
pub(crate) fn lost(error: h2::Error) -> Error {
    // The texts of TLS and h2 explain the protocol, not the event.
    let code = error.reason().map_or_else(String::new, |reason| format!(" ({reason:?})"));
    Error::Lost(match error.get_io() {
        Some(io) if matches!(io.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => "it was closed".to_owned(),
        Some(io) => io.to_string(),
        None if error.is_go_away() => format!("it was closed{code}"),
        None if error.is_reset() => format!("a request on it was ended{code}"),
        None => error.to_string(),
    })
}

/// Whether a server ended a handshake because it has no protocol in common with us (RFC 7301 s3.2).
fn knows_no_http2(error: &std::io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

/// The name for TLS, the address for TCP, and the port.
fn peer(url: &Url) -> Option<(ServerName<'static>, String, u16)> {
    let port = url.port_or_known_default()?;
    let (name, address) = match url.host()? {
        Host::Domain(domain) => (ServerName::try_from(domain.to_owned()).ok()?, domain.to_owned()),
        Host::Ipv4(ip) => (ServerName::from(std::net::IpAddr::from(ip)), ip.to_string()),
        Host::Ipv6(ip) => (ServerName::from(std::net::IpAddr::from(ip)), ip.to_string()),
    };
    Some((name, address, port))
}

/// Moves frames until the connection ends. h2 does not report a GOAWAY that leaves streams open, but it refuses new
/// requests from then on: so `probe` asks after every batch of frames.
async fn drive(
    connection: H2Connection,
    mut probe: SendRequest<Bytes>,
    left: watch::Sender<bool>,
    closed: oneshot::Receiver<()>,
) {
    let mut connection = pin!(connection);
    let watched = poll_fn(|cx| {
        if let Poll::Ready(end) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(end));
        }
        if let Poll::Ready(Err(_)) = probe.poll_ready(cx) {
            left.send_if_modified(|left| !std::mem::replace(left, true));
        }
        Poll::Pending
    });
    let end = tokio::select! {
        end = watched => end,
        _ = closed => None,
    };
    if let Some(end) = end {
        tracing::debug!(?end, "the connection ended");
        return;
    }
    drop(probe);
    // Nothing waits for this GOAWAY; it only shows the peer that the end was meant.
    let _ = timeout(CLOSE_MAX, connection).await;
}

/// Sends a PING at intervals; returns when one is not answered.
async fn peer_is_silent(mut pings: PingPong, limits: &Limits) {
    loop {
        tokio::time::sleep(limits.ping_interval).await;
        match timeout(limits.ping_timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The driver sees the same error, and ends.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}
