//! What stands between a push service and its users, with one fault each: ends TLS, and passes bytes on to a service
//! without TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::authority::Signed;
use super::process::Running;
use super::service::doorbell;

/// The byte with which Chromium's stream begins.
const MCS: u8 = 0x29;

/// What is wrong. By default nothing is.
#[derive(Clone, Copy)]
pub struct Faults {
    /// Whom the certificate names.
    pub name: &'static str,
    /// The year in which the certificate ends.
    pub last_year: i32,
    /// Whether HTTP/2 is on offer.
    pub http2: bool,
    /// Connections on which nothing moves for so long are cut.
    pub idle_max: Option<Duration>,
    /// How far the clock in HTTP/1.1 answers is ahead.
    pub ahead: Duration,
    /// Connections that do not begin like HTTP are closed.
    pub closes_mcs: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            name: "127.0.0.1",
            last_year: 2099,
            http2: true,
            idle_max: None,
            ahead: Duration::ZERO,
            closes_mcs: false,
        }
    }
}

/// A service behind a proxy.
pub struct Front {
    address: SocketAddr,
    folder: TempDir,
    _service: Running,
}

impl Front {
    /// Starts both.
    pub async fn with(faults: Faults) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (service, behind) = service_behind(&format!("https://{address}"), folder.path());
        let acceptor = acceptor(faults, &folder.path().join("front-ca.pem"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { carry(stream, acceptor, behind, faults).await });
            }
        });
        Self { address, folder, _service: service }
    }

    pub fn origin(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("front-ca.pem")
    }
}

/// A service without TLS that its users know as `public_url`, and where it listens.
pub(super) fn service_behind(public_url: &str, folder: &Path) -> (Running, SocketAddr) {
    let mut command = doorbell("serve");
    command.args(["--listen", "127.0.0.1:0", "--plain", "--trust-proxy", "--public-url", public_url]);
    let running = Running::start(command.arg("--state-dir").arg(folder.join("state")));
    // It prints the address of its users; its log has that of its listener.
    let line = running.prints("serving address=");
    let (_, address) = line.split_once("serving address=").expect("the line has the words");
    let behind = address.trim().parse().expect("an address");
    running.wait_for("line `listening on`", |line| line.starts_with("listening on").then_some(()));
    (running, behind)
}

/// TLS with a certificate of a CA of its own, which is written to `ca_file`.
pub(super) fn acceptor(faults: Faults, ca_file: &Path) -> TlsAcceptor {
    let signed = Signed::until(faults.last_year, faults.name);
    std::fs::write(ca_file, &signed.ca_pem).expect("the CA file");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let certified = versions
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.der.clone()], signed.private_key());
    let mut config = certified.expect("a certificate and its key");
    let protocols: &[&[u8]] = if faults.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// One connection, until either end has enough or a fault ends it.
async fn carry(stream: TcpStream, acceptor: TlsAcceptor, behind: SocketAddr, faults: Faults) -> Option<()> {
    let mut client = acceptor.accept(stream).await.ok()?;
    let is_http1 = client.get_ref().1.alpn_protocol() != Some(b"h2");
    let mut service = TcpStream::connect(behind).await.ok()?;
    let idle_max = faults.idle_max.unwrap_or(Duration::from_secs(3600));
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let moved = timeout(idle_max, async {
            tokio::select! {
                read = client.read(&mut up) => (read, true),
                read = service.read(&mut down) => (read, false),
            }
        });
        match moved.await.ok()? {
            (Ok(1..), true) if up[0] == MCS && is_http1 && faults.closes_mcs => return None,
            (Ok(n @ 1..), true) => service.write_all(&up[..n]).await.ok()?,
            (Ok(n @ 1..), false) if is_http1 && !faults.ahead.is_zero() => {
                client.write_all(&ahead(&down[..n], faults.ahead)).await.ok()?;
            }
            (Ok(n @ 1..), false) => client.write_all(&down[..n]).await.ok()?,
            _ => {
                client.shutdown().await.ok()?;
                return None;
            }
        }
    }
}

/// The bytes with another Date, if they contain one.
fn ahead(bytes: &[u8], by: Duration) -> Vec<u8> {
    let changed = || {
        let text = std::str::from_utf8(bytes).ok()?;
        let at = text.to_ascii_lowercase().find("\r\ndate: ")? + "\r\ndate: ".len();
        let end = at + text[at..].find("\r\n")?;
        let date = httpdate::parse_http_date(&text[at..end]).ok()?;
        Some(format!("{}{}{}", &text[..at], httpdate::fmt_http_date(date + by), &text[end..]).into_bytes())
    };
    changed().unwrap_or_else(|| bytes.to_vec())
}
