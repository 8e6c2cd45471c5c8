//! A service with a domain, whose certificates come from an authority of the test.

use std::path::Path;
use std::process::Command;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::peer::{BoxError, Peer, tls_of};
use super::process::Running;
use super::service::doorbell;

pub const DOMAIN: &str = "push.example.org";

/// A running service for [`DOMAIN`].
pub struct Host {
    pub port: u16,
    pub service: Running,
}

impl Host {
    /// Starts one on a port that the authority validates: its directory, and the CA of that.
    pub fn start(state: &Path, port: u16, (directory, ca): (&str, &Path), more: &[&str]) -> Self {
        let mut command = doorbell("serve");
        command.args(["--domain", DOMAIN, "--listen", &format!("127.0.0.1:{port}"), "--state-dir"]).arg(state);
        command.args(["--public-url", &format!("https://{DOMAIN}:{port}"), "--acme-directory", directory]);
        command.arg("--acme-ca").arg(ca).args(["--acme-contact", "ops@example.org"]).args(more);
        let service = Running::start(&mut command);
        service.prints("listening on");
        Self { port, service }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub async fn handshake(&self, root: &str, protocols: &[&[u8]]) -> Result<TlsStream<TcpStream>, BoxError> {
        let socket = TcpStream::connect(self.address()).await?;
        Ok(TlsConnector::from(tls_of(root, protocols)).connect(ServerName::try_from(DOMAIN)?, socket).await?)
    }

    pub async fn peer(&self, root: &str) -> Result<Peer, BoxError> {
        let origin = format!("https://{DOMAIN}:{}", self.port);
        Peer::connect_as(DOMAIN, &origin, &self.address(), tls_of(root, &[b"h2"])).await
    }

    /// The certificate that a new connection gets.
    pub async fn leaf(&self, root: &str) -> Vec<u8> {
        let stream = self.handshake(root, &[b"h2"]).await.expect("a handshake");
        let (_, session) = stream.get_ref();
        session.peer_certificates().expect("a certificate")[0].to_vec()
    }

    /// Waits until this many certificates came into use.
    pub fn uses(&self, certificates: usize) {
        self.service.prints_times("a new certificate is in use", certificates);
    }

    /// SIGHUP, as an operator sends it who has solved a problem.
    pub fn hang_up(&self) {
        let sent = Command::new("kill").args(["-HUP", &self.service.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -HUP");
    }
}
