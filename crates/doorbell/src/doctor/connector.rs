//! Connections to the service: TCP, TLS, and the result of the handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::STEP_MAX;
use super::report::Finding;
use super::target::Target;
use super::trust::{self, Verifier};

/// Opens connections to an address of the service that accepts TCP.
pub(super) struct Connector {
    pub(super) target: Target,
    address: SocketAddr,
    verifier: Verifier,
}

impl Connector {
    /// The step of TCP: the first address that accepts a connection, and those that do not.
    pub(super) async fn open(
        target: Target,
        addresses: Vec<SocketAddr>,
        verifier: Verifier,
    ) -> Result<(Self, Finding), Finding> {
        let mut failed = Vec::new();
        let mut open = None;
        for address in addresses {
            match within(TcpStream::connect(address)).await {
                Ok(_) => open = open.or(Some(address)),
                Err(error) => failed.push(format!("{address}: {error}")),
            }
        }
        let port = target.port;
        match (open, failed.as_slice()) {
            (None, failed) => Err(Finding::failed(
                format!("no address accepts a connection: {}", failed.join("; ")),
                format!(
                    "start the service, let it listen on that address (--listen), open port {port} in the firewall"
                ),
            )),
            (Some(address), []) => {
                Ok((Self { target, address, verifier }, Finding::ok(format!("connected to {address}"))))
            }
            (Some(address), failed) => Ok((
                Self { target, address, verifier },
                Finding::warning(
                    format!("connected to {address}, but not to {}", failed.join("; ")),
                    "listen on every address that the name has, or take the others out of DNS: some users wait for them",
                ),
            )),
        }
    }

    /// The step of TLS.
    pub(super) async fn certificate(&self) -> Finding {
        match self.tls(&[b"h2", b"http/1.1"]).await {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates().expect("a finished handshake has a chain");
                match self.server_name() {
                    Ok(name) => trust::accepted(&self.verifier, chain, &name),
                    Err(error) => trust::refused(&error, &self.target),
                }
            }
            Err(error) => trust::refused(&error, &self.target),
        }
    }

    /// The step of HTTP/2.
    pub(super) async fn http2(&self) -> Finding {
        let fix = "user agents that receive by server push need it from end to end: let `doorbell serve` end TLS itself, \
                   or let the proxy pass TCP through on this port (nginx `stream`, haproxy `mode tcp`). Those that \
                   receive events, such as `doorbell listen` and `doorbell desktop`, need it up to the proxy: let it offer \
                   HTTP/2 to clients (nginx: listen 443 ssl http2; HAProxy: alpn h2,http/1.1; Apache: Protocols h2 \
                   http/1.1). Senders, Firefox and Chromium do without";
        match self.tls(&[b"h2", b"http/1.1"]).await {
            Ok(stream) => match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Finding::ok("HTTP/2 was chosen (ALPN)"),
                _ => Finding::failed("there is only HTTP/1.1: ALPN does not offer h2", fix),
            },
            Err(error) => Finding::failed(format!("a second connection fails: {error}"), fix),
        }
    }

    /// A new connection that offers the protocols in `alpn`.
    pub(super) async fn tls(&self, alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            versions.map_err(io::Error::other)?.with_webpki_verifier(self.verifier.clone()).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = self.server_name()?;
        within(async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        })
        .await
    }

    fn server_name(&self) -> io::Result<ServerName<'static>> {
        ServerName::try_from(self.target.host.clone()).map_err(io::Error::other)
    }
}

/// The result, or an error after [`STEP_MAX`].
pub(super) async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", STEP_MAX.as_secs()));
    timeout(STEP_MAX, work).await.map_err(late)?
}
