//! The push service as a browser is told of it, and whether it answers.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::state::is_loopback;

/// How long the service may take to answer: this is somebody at a terminal.
const PATIENCE: Duration = Duration::from_secs(5);

/// The service's address.
#[derive(Debug)]
pub(crate) struct Door {
    uri: Uri,
    host: String,
    port: u16,
    plain: bool,
}

impl Door {
    /// From the address of the service, as the other verbs take it.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        let (plain, default_port) = match uri.scheme_str() {
            Some("https" | "wss") => (false, 443),
            Some("http" | "ws") => (true, 80),
            _ => bail!("{url:?} must begin with https://, or with http:// for a service on this machine"),
        };
        if plain && !is_loopback(url) {
            bail!(
                "{url}: over a network a browser must reach its push service by https://, or others could read along"
            );
        }
        let host = uri.host().filter(|host| !host.is_empty()).with_context(|| format!("{url:?} names no host"))?;
        // It goes into files that shells read and everybody can.
        let is_plain_text = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        if !authority.chars().all(is_plain_text) {
            bail!("{url:?}: a push service is named by its host, and its port where it has one, and nothing else");
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(default_port);
        Ok(Self { uri, host, port, plain })
    }

    /// Without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Its host and, if the address has one, its port.
    pub(crate) fn authority(&self) -> &str {
        self.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default()
    }

    /// Where it is, for HTTP.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.plain { "http" } else { "https" }, self.authority())
    }

    /// Its host and its port, which stands there even where it could be left out.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", self.uri.host().unwrap_or_default(), self.port)
    }

    /// The path of the address, at least a slash.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// Checks that somebody answers there, and that the authority in `ca` speaks for them. A browser would only
    /// try again and again, silently.
    pub(crate) fn answers(&self, ca: Option<&Path>) -> Result<()> {
        let stream = self.connect().with_context(|| {
            let hint = if is_loopback(&self.uri.to_string()) { "; start `doorbell serve` first" } else { "" };
            format!("nobody answers at {}{hint}", self.uri)
        })?;
        match ca {
            Some(file) => self.proves_itself(stream, file),
            None => Ok(()),
        }
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn proves_itself(&self, mut stream: TcpStream, ca: &Path) -> Result<()> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| unusable(ca, &e))? {
            roots.add(certificate.map_err(|e| unusable(ca, &e))?).map_err(|e| unusable(ca, &e))?;
        }
        if roots.is_empty() {
            bail!("there is no certificate in the CA file {}", ca.display());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(self.host.clone())?)?;
        tls.complete_io(&mut stream).with_context(|| {
            format!(
                "{} does not prove itself by the CA in {}; name the right file with --ca (`doorbell serve` prints its own)",
                self.uri,
                ca.display()
            )
        })?;
        Ok(())
    }
}

fn unusable(ca: &Path, why: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("the CA file {} cannot be used: {why}", ca.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_browser_could_use_is_refused_with_what_to_do() {
        for (url, hint) in [
            ("http://push.example.org", "https://"),
            ("ftp://127.0.0.1", "must begin with https://"),
            ("127.0.0.1:8443", "must begin with https://"),
            ("/bell", "must begin with https://"),
            ("https://exa mple", "is not a URL"),
        ] {
            let error = format!("{:#}", Door::parse(url).unwrap_err());
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn a_service_that_does_not_run_is_named_with_the_command_that_starts_it() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Door::parse(&format!("https://{free}")).unwrap().answers(None).unwrap_err();
        assert!(format!("{error:#}").contains("start `doorbell serve` first"), "{error:#}");
    }
}
