//! The accept loops of the ports: a proxy's header, TLS, then the protocol that ALPN or the first bytes choose.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, sleep, timeout};
use tracing::{debug, warn};

use super::context::Context;
use super::handler::Handler;
use super::proxied::ProxyHeaders;
use super::tls::ACME_TLS;
use super::{http1, http2};
use crate::config::Config;
use crate::counts::{Counts, Handshake};
use crate::seldom::{self, Seldom};
use crate::transport::place::{Bounds, Places};
use crate::transport::source::Source;
use crate::transport::tls::TlsStream;
use crate::transport::{Place, mcs};

/// What runs on top of TCP.
#[derive(Clone)]
pub(crate) enum Security {
    /// TLS. ALPN chooses the HTTP version; Chromium offers no protocol for MCS, and old HTTP clients offer none either.
    Tls(Arc<ServerConfig>),
    /// TLS with MCS, and nothing else.
    Mcs(Arc<ServerConfig>),
    /// Plain HTTP/1.1, HTTP/2 with prior knowledge (RFC 9113 s3.3), or MCS.
    Plain,
}

/// A bound port and its handler.
pub(crate) struct Listener<H> {
    pub(crate) socket: TcpListener,
    pub(crate) security: Security,
    pub(crate) context: Arc<Context<H>>,
}

/// How long sent bytes may stay unacknowledged before TCP ends the connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// The first bytes of each HTTP/2 connection (RFC 9113 s3.4).
const H2_PREFACE_START: &[u8] = b"PRI * HTTP/2.0";

/// Listeners of one handler, whose connections share their places.
pub(crate) struct Listeners<H> {
    listeners: Vec<Listener<H>>,
    headers: Arc<ProxyHeaders>,
}

impl<H: Handler> Listener<H> {
    /// `is_direct`: no proxy without a declared address is in front of this one.
    async fn accept_all(&self, is_direct: bool, places: &Arc<Places>, headers: &Arc<ProxyHeaders>) {
        let failures = Seldom::default();
        loop {
            match self.socket.accept().await {
                Ok((stream, address)) => {
                    let is_proxy = headers.are_expected_from(address.ip());
                    let forwards = !is_proxy && headers.forward_from(address.ip());
                    let config = self.context.config();
                    let counts = if is_direct {
                        config.sources.counts_unless_named(address.ip())
                    } else {
                        config.sources.counts(address.ip())
                    };
                    let source = (counts && !is_proxy && !forwards).then(|| Source::of(address.ip()));
                    // Without a place the connection is closed here.
                    let Some(place) = places.enter(source, self.context.clock.now()).await else { continue };
                    if forwards {
                        place.forwards();
                    }
                    let (security, context) = (self.security.clone(), self.context.clone());
                    let accepted = Accepted { stream, is_proxy, headers: headers.clone() };
                    let task = tokio::spawn(connection(accepted, security, context, place.clone()));
                    place.serve_in(task.abort_handle());
                }
                Err(error) => {
                    // The usual cause is too few file descriptors: connections that end free some.
                    if let Some(times) = failures.count(self.context.clock.now()) {
                        warn!(%error, times, "cannot accept a connection");
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl<H: Handler> Listeners<H> {
    pub(crate) fn new(listeners: Vec<Listener<H>>, headers: ProxyHeaders) -> Self {
        Self { listeners, headers: Arc::new(headers) }
    }

    /// Accepts until the service drains, then waits for the connections to end, at most the drain time-out. The limits of
    /// the first listener hold for all of them together.
    pub(crate) async fn run(self) {
        let first = self.listeners.first().expect("a service has a listener");
        let context = first.context.clone();
        let places = Places::counted(bounds(&context.config()), context.handler.counts());
        let is_plain = |listener: &Listener<H>| matches!(listener.security, Security::Plain);
        let has_plain = self.listeners.iter().any(is_plain);
        let accepting = self.listeners.iter().map(|listener| {
            // Proxies that name their clients are declared by their addresses: then from elsewhere comes no proxy.
            let is_direct = (has_plain && !is_plain(listener)) || self.headers.are_declared();
            listener.accept_all(is_direct, &places, &self.headers)
        });
        tokio::select! {
            _ = join_all(accepting) => {}
            () = report(&places, &context) => {}
            () = follow(&places, &context) => {}
            () = context.stopping() => {}
        }
        drop(self.listeners);
        context.handler.shut_down();
        if timeout(context.config().limits.drain_timeout, places.empty()).await.is_err() {
            warn!("drain time-out: closing the connections that are still open");
        }
    }
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections_max: config.limits.connections_max,
        strangers_max: config.limits.strangers_max,
        per_source_max: config.sources.connections_max,
    }
}

/// Changes the number of places with the configuration.
async fn follow<H>(places: &Places, context: &Context<H>) {
    let mut changes = context.config.changes();
    loop {
        let config = changes.borrow_and_update().clone();
        places.set_bounds(bounds(&config));
        // The context holds the sender: there is always a next change to wait for.
        changes.changed().await.expect("the configuration outlives the listener");
    }
}

/// A connection, before its first byte was read.
struct Accepted {
    stream: TcpStream,
    /// It must begin with a proxy's header.
    is_proxy: bool,
    headers: Arc<ProxyHeaders>,
}

/// Logs regularly what happened to connections that have no place.
async fn report<H>(places: &Places, context: &Context<H>) {
    let mut times = interval(seldom::INTERVAL);
    loop {
        times.tick().await;
        places.report(context.clock.now());
    }
}

/// Each phase of a connection is a separate future on the heap, because the longest phase, an idle agent's, is the
/// smallest.
async fn connection<H: Handler>(accepted: Accepted, security: Security, context: Arc<Context<H>>, place: Arc<Place>) {
    if let Err(error) = prepare(&accepted.stream) {
        debug!(%error, "cannot set the socket's options");
    }
    let opening = async {
        let stream = accepted.client(&context, &place).await?;
        open(stream, security, context.handler.counts()).await
    };
    let opening = Box::pin(timeout(context.config().limits.request_timeout, opening));
    // A connection that is not yet open when the service drains has sent no request.
    let opened = tokio::select! {
        opened = opening => opened,
        () = context.stopping() => return,
    };
    match opened {
        Ok(Ok(Opened::Tls(tls, protocol))) => protocol.serve(tls, context, place).await,
        Ok(Ok(Opened::Plain(stream, protocol))) => protocol.serve(stream, context, place).await,
        Ok(Ok(Opened::Validated)) => debug!("a certificate authority validated the domain"),
        Ok(Err(error)) => debug!(%error, "a connection did not open"),
        Err(_) => debug!("a connection did not open in time"),
    }
}

impl Accepted {
    /// The stream of the client, which counts for its source from now on.
    async fn client<H>(mut self, context: &Context<H>, place: &Place) -> io::Result<TcpStream> {
        let now = context.clock.now();
        if !self.is_proxy {
            self.headers.note_undeclared(&self.stream, now).await?;
            return Ok(self.stream);
        }
        match self.headers.read(&mut self.stream, now).await? {
            Some(client)
                if context.config().sources.counts_unless_named(client)
                    && !place.name_source(Source::of(client), now) =>
            {
                Err(io::Error::other("its source has enough connections"))
            }
            _ => Ok(self.stream),
        }
    }
}

async fn open(stream: TcpStream, security: Security, counts: Option<Arc<Counts>>) -> io::Result<Opened> {
    let (config, has_http) = match security {
        Security::Tls(config) => (config, true),
        Security::Mcs(config) => (config, false),
        Security::Plain => {
            return protocol_of(&stream).await.map(|protocol| Opened::Plain(stream, protocol));
        }
    };
    let mut tls = Box::new(handshake(config, stream, counts).await?);
    let protocol = match tls.alpn() {
        Some(b"h2") => Protocol::Http2,
        // The handshake was all that the authority wanted, and no other protocol may follow (RFC 8737 s3).
        Some(ACME_TLS) => return Ok(Opened::Validated),
        Some(_) => Protocol::Http1,
        None => Protocol::of_first(tls.first_byte().await?),
    };
    if has_http || matches!(protocol, Protocol::Mcs) {
        Ok(Opened::Tls(tls, protocol))
    } else {
        Err(io::Error::other("HTTP on an address that serves Chromium's stream only (mcs:)"))
    }
}

/// Performs the TLS handshake, and counts how it ended.
async fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    counts: Option<Arc<Counts>>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut ended = Ended { counts, how: Handshake::Failed };
    let tls = TlsStream::accept(config, stream).await?;
    ended.how = if tls.is_resumed() { Handshake::Resumed } else { Handshake::Full };
    Ok(tls)
}

/// Counts the handshake when it is dropped: one that takes too long ends that way.
struct Ended {
    counts: Option<Arc<Counts>>,
    how: Handshake,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(counts) = &self.counts {
            counts.handshake(self.how);
        }
    }
}

/// A connection and its protocol. TLS is boxed: otherwise each future on the way reserves its size.
enum Opened {
    Tls(Box<TlsStream<TcpStream>>, Protocol),
    Plain(TcpStream, Protocol),
    /// A certificate authority has validated the domain.
    Validated,
}

/// The protocol of a connection.
enum Protocol {
    Http1,
    Http2,
    Mcs,
}

impl Protocol {
    /// The protocol of a connection that is not HTTP/2 and begins with this byte.
    fn of_first(byte: Option<u8>) -> Self {
        if byte == Some(mcs::VERSION) { Self::Mcs } else { Self::Http1 }
    }

    async fn serve<H, IO>(self, io: IO, context: Arc<Context<H>>, place: Arc<Place>)
    where
        H: Handler,
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self {
            Self::Http2 => Box::pin(http2::serve(io, context, place)).await,
            Self::Mcs if context.handler.has_mcs() => {
                let socket = mcs::Socket::new(io, context.config().limits.idle_timeout, place.clone());
                place.serve_in(tokio::spawn(context.handler.clone().serve_mcs(socket)).abort_handle());
            }
            // The HTTP/1.1 server answers 400 to MCS.
            Self::Http1 | Self::Mcs => {
                if let Some(socket) = Box::pin(http1::serve(io, context.clone(), place.clone())).await {
                    place.serve_in(tokio::spawn(context.handler.clone().serve_websocket(socket)).abort_handle());
                }
            }
        }
    }
}

/// Sends small frames immediately, and detects vanished peers: an idle agent may be silent for hours.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(600)).with_interval(Duration::from_secs(60));
    let socket = SockRef::from(stream);
    // Unacknowledged bytes end the connection: on an open connection the peer has received all older bytes.
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(&keepalive)
}

/// Looks at the first bytes without reading them.
async fn protocol_of(stream: &TcpStream) -> io::Result<Protocol> {
    let mut start = [0; H2_PREFACE_START.len()];
    loop {
        let seen = stream.peek(&mut start).await?;
        if seen == 0 || !H2_PREFACE_START.starts_with(&start[..seen]) {
            return Ok(Protocol::of_first(start.first().copied().filter(|_| seen > 0)));
        }
        if seen == start.len() {
            return Ok(Protocol::Http2);
        }
        // Part of a preface has arrived: the rest is on its way, and the caller's time-out limits the wait.
        sleep(Duration::from_millis(5)).await;
    }
}
