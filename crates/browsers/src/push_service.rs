//! The push service as a browser is configured with it, and whether it answers.

use std::fmt;
use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::error::BrowserError;
use crate::pem::Authorities;

/// How long the service may take to answer: a person at a terminal waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of a push service that a browser can use: `https://`, or `http://` on a loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushService {
    /// Host and port, as the address has them.
    authority: String,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    path: String,
    plain: bool,
    /// Where Chromium's stream is, with its port, if not at the address.
    mcs: Option<String>,
}

impl PushService {
    /// Reads an address: `https://host[:port][/path]`, `wss://` for the same, or `http://` and `ws://` for a service on
    /// this machine.
    pub fn parse(url: &str) -> Result<Self, BrowserError> {
        let wrong = |reason: &str| BrowserError::Address { url: url.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("it is not a URL ({error})")))?;
        let (plain, default_port) = match uri.scheme_str() {
            Some("https" | "wss") => (false, 443),
            Some("http" | "ws") => (true, 80),
            _ => return Err(wrong("it must begin with https://, or with http:// for a service on this machine")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        // It goes into files that shells read and everyone can read.
        let is_plain_text = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if !authority.as_str().chars().all(is_plain_text) {
            return Err(wrong("a push service is named by its host, and its port where it has one, and nothing else"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let service = Self {
            authority: authority.as_str().to_owned(),
            host,
            port: uri.port_u16().unwrap_or(default_port),
            path: uri.path().to_owned(),
            plain,
            mcs: None,
        };
        debug_assert!(service.path.starts_with('/'), "a URL with a host has a path");
        if plain && !service.is_loopback() {
            return Err(wrong(
                "over a network a browser must reach its push service by https://, or others could read along",
            ));
        }
        Ok(service)
    }

    /// The same service, with Chromium's stream of messages (MCS) at another address: `HOST:PORT`, with or without
    /// `https://` before it.
    pub fn with_mcs(self, address: &str) -> Result<Self, BrowserError> {
        let wrong = || BrowserError::Address {
            url: address.to_owned(),
            reason: "the stream of messages is named by a host and a port, such as push.example.org:5228".to_owned(),
        };
        let named = address.strip_prefix("https://").unwrap_or(address);
        let authority: Authority = named.trim_end_matches('/').parse().map_err(|_| wrong())?;
        if authority.port_u16().is_none() {
            return Err(wrong());
        }
        let stream = Self::parse(&format!("https://{authority}"))?;
        Ok(Self { mcs: Some(stream.host_and_port()), ..self })
    }

    /// Where Chromium's stream of messages is, with its port; `None` if it is at the address of the service.
    pub fn mcs(&self) -> Option<&str> {
        self.mcs.as_deref()
    }

    /// Whether it is served without TLS.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether it is on this machine, as far as its address shows.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Its host and, if the address has one, its port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `https://` or `http://`, and the authority.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.plain { "http" } else { "https" }, self.authority)
    }

    /// Its host and its port, also where the address leaves the port out.
    pub fn host_and_port(&self) -> String {
        let host = &self.host;
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }

    /// The path of the address: at least a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Checks that the service answers and, if there is a `ca`, that this authority signed its certificate. A browser
    /// would only try again and again, silently. Blocks for a few seconds at most.
    pub fn check(&self, ca: Option<&Path>) -> Result<(), BrowserError> {
        let stream = self.connect().map_err(|why| BrowserError::Unreachable { url: self.to_string(), why })?;
        let Some(file) = ca else { return Ok(()) };
        let config = Arc::new(trusting(file)?);
        self.handshake(stream, config).map_err(|why| BrowserError::Untrusted {
            url: self.to_string(),
            ca: file.to_owned(),
            why,
        })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, ANSWER_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn handshake(&self, mut stream: TcpStream, config: Arc<ClientConfig>) -> io::Result<()> {
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        tls.complete_io(&mut stream).map(drop)
    }
}

impl fmt::Display for PushService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// A TLS client that trusts the authorities in `file` and no others.
fn trusting(file: &Path) -> Result<ClientConfig, BrowserError> {
    let unusable = |error: rustls::Error| BrowserError::CaFile { file: file.to_owned(), reason: error.to_string() };
    let mut roots = RootCertStore::empty();
    for certificate in Authorities::read(file)?.certificates {
        roots.add(certificate).map_err(unusable)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(unusable)?.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use rustix::net::{self, AddressFamily, SocketType};

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
            let error = PushService::parse(url).unwrap_err().to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn the_port_is_named_also_where_the_address_leaves_it_out() {
        for (url, named) in [
            ("https://push.example.org", "push.example.org:443"),
            ("https://[::1]:8443", "[::1]:8443"),
            ("http://localhost", "localhost:80"),
        ] {
            assert_eq!(PushService::parse(url).unwrap().host_and_port(), named);
        }
    }

    #[test]
    fn the_stream_may_have_an_address_of_its_own_which_names_its_port() {
        let service = || PushService::parse("https://push.example.org").unwrap();
        for (address, named) in [
            ("push.example.org:5228", "push.example.org:5228"),
            ("https://push.example.org:443/", "push.example.org:443"),
            ("[::1]:5228", "[::1]:5228"),
        ] {
            assert_eq!(service().with_mcs(address).unwrap().mcs(), Some(named));
        }
        for wrong in
            ["", "push.example.org", "5228", "push.example.org:", "push.example.org:5228/x", "http://a:1", "a b:1"]
        {
            assert!(service().with_mcs(wrong).is_err(), "{wrong}");
        }
        assert_eq!(service().mcs(), None);
    }

    #[test]
    fn a_service_that_does_not_run_is_unreachable() {
        // Bound, so that no other process gets the port, and not listening.
        let refusing = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        net::bind(&refusing, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddrV4::try_from(net::getsockname(&refusing).unwrap()).unwrap();
        let error = PushService::parse(&format!("https://{address}")).unwrap().check(None).unwrap_err();
        assert!(matches!(error, BrowserError::Unreachable { .. }), "{error}");
    }
}
