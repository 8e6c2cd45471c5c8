//! One connection to the service: TCP, TLS with ALPN `h2`, HTTP/2, and a PING at intervals.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use super::trust::Trust;
use crate::error::DesktopError;

/// For TCP, TLS and HTTP/2 together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Routers forget a connection after some minutes of silence. Between two of these PINGs a desktop at rest does nothing.
const PING_INTERVAL: Duration = Duration::from_secs(240);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Events are about a hundred bytes.
const WINDOW: u32 = 16 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024;
const HEADER_LIST_MAX: u32 = 8 * 1024;

/// What is wrong with a proxy that offers no HTTP/2, and what to do.
const WITHOUT_HTTP2: &str = "it offers HTTP/1.1 only, and the wake door needs HTTP/2: let the proxy in front of the \
    service offer it to clients (nginx: listen 443 ssl http2; HAProxy: alpn h2,http/1.1; Apache: Protocols h2 http/1.1), \
    or pass TCP through";

/// Opens connections to one service.
pub(super) struct Connector {
    url: Url,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    address: String,
    port: u16,
}

/// An open connection.
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    driver: h2::client::Connection<TlsStream<TcpStream>, Bytes>,
    pings: PingPong,
    host: String,
}

impl Connector {
    /// For the service at `url`, which begins with `https://`.
    pub(super) fn new(url: Url, trust: Trust) -> Result<Self, DesktopError> {
        let wrong = |reason| DesktopError::Address { url: url.to_string(), reason };
        if url.scheme() != "https" {
            return Err(wrong("the wake door needs https://"));
        }
        let port = url.port_or_known_default().ok_or_else(|| wrong("it names no port"))?;
        let (name, address) = match url.host().ok_or_else(|| wrong("it names no host"))? {
            Host::Domain(domain) => {
                let name = ServerName::try_from(domain.to_owned()).map_err(|_| wrong("its host has no valid name"))?;
                (name, domain.to_owned())
            }
            Host::Ipv4(ip) => (ServerName::from(IpAddr::from(ip)), ip.to_string()),
            Host::Ipv6(ip) => (ServerName::from(IpAddr::from(ip)), ip.to_string()),
        };
        Ok(Self { tls: trust.client_config(), name, address, port, url })
    }

    /// The host and the port of the service.
    pub(super) fn host(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// The address of a resource at the top of the service, such as `wake`.
    pub(super) fn resource(&self, name: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{name}", self.url.path().trim_end_matches('/')));
        url.set_query(None);
        url
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Connection, DesktopError> {
        let opened = timeout(CONNECT_TIMEOUT, self.open()).await;
        opened.unwrap_or_else(|_| Err("it does not answer".to_owned())).map_err(|why| self.error(why))
    }

    /// The error of a connection on which no more requests can be sent.
    pub(super) fn takes_no_more(&self) -> DesktopError {
        self.error("the service takes no more requests on this connection".to_owned())
    }

    fn error(&self, why: String) -> DesktopError {
        DesktopError::Connection { host: self.host(), why }
    }

    async fn open(&self) -> Result<Connection, String> {
        let tcp = TcpStream::connect((self.address.as_str(), self.port)).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), tcp).await;
        let stream = stream
            .map_err(|error| if knows_no_http2(&error) { WITHOUT_HTTP2.to_owned() } else { error.to_string() })?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(WITHOUT_HTTP2.to_owned());
        }
        let (requests, mut driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_MAX)
            .handshake(stream)
            .await
            .map_err(|error| error.to_string())?;
        let pings = driver.ping_pong().expect("a connection is asked for its pings once");
        Ok(Connection { requests, driver, pings, host: self.host() })
    }
}

impl Connection {
    /// For sending requests.
    pub(super) fn requests(&self) -> SendRequest<Bytes> {
        self.requests.clone()
    }

    /// Moves frames until the connection breaks: why.
    pub(super) async fn broken(self) -> DesktopError {
        let Self { requests: _requests, driver, pings, host } = self;
        let why = tokio::select! {
            ended = driver => match ended {
                Ok(()) => "the service has closed the connection".to_owned(),
                Err(error) => error.to_string(),
            },
            () = peer_is_silent(pings) => "the service does not answer".to_owned(),
        };
        DesktopError::Connection { host, why }
    }
}

/// Whether a server ended a handshake because it has no protocol in common with us (RFC 7301 s3.2).
fn knows_no_http2(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)))
}

/// Sends a PING at intervals; returns when one is not answered.
async fn peer_is_silent(mut pings: PingPong) {
    loop {
        sleep(PING_INTERVAL).await;
        match timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The driver sees the same error, and ends.
            Ok(Err(_)) => pending().await,
            Err(_) => return,
        }
    }
}
