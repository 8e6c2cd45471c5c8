//! Where the database is, and whether the way there is encrypted.
//!
//! `sslmode` is stricter than in libpq: a connection is either verified in full or not encrypted at all. Without it, it
//! is verified unless every host is this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use crate::error::OpenError;
use crate::seldom::Seldom;

/// A server that does not answer for so long is gone, and the next host is tried. A connection with all that it needs may
/// take twice as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A firewall forgets connections that are silent for longer.
const KEEPALIVE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Address {
    /// One for each host, in the order of the URL.
    pub(super) hosts: Vec<Config>,
    /// The place of the host that a connection was made to last.
    pub(super) last_host: Arc<AtomicUsize>,
    /// How long one host may take.
    pub(super) host_wait: Duration,
    /// Whether a server without synchronous standbys is good enough.
    pub(super) allow_single_copy: bool,
    /// `None`: not encrypted.
    pub(super) tls: Option<MakeRustlsConnect>,
    /// Hosts and database, for the operator: no password.
    pub(super) shown: String,
    /// The warnings of all connections to it.
    pub(super) warnings: Arc<Seldom>,
}

impl Address {
    /// Begins with another host the next time: the last one takes connections, and is not the one that it was.
    pub(super) fn leave_last_host(&self) {
        let hosts = self.hosts.len();
        let next = |last| Some((last + 1) % hosts);
        let _ = self.last_host.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    pub(super) fn of(options: &PostgresOptions) -> Result<Self, OpenError> {
        Self::parse(&options.url, options.password.as_deref())
            .map(|address| Self { allow_single_copy: options.allow_single_copy, ..address })
            .map_err(|reason| OpenError::Database { database: "of this URL".into(), reason })
    }

    /// The error says what to write instead.
    fn parse(url: &str, password: Option<&str>) -> Result<Self, String> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err("write it as postgres://USER@HOST/DATABASE".into());
        }
        let (url, options) = take_options(url)?;
        let config = config_of(&url)?;
        if config.get_hosts().is_empty() {
            return Err("it names no host: write it as postgres://USER@HOST/DATABASE".into());
        }
        // The rest of a password, which is shown with host and database otherwise.
        let has_at = |name: &str| name.contains('@');
        let host_has_at = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if has_at(name)));
        if host_has_at || config.get_dbname().is_some_and(has_at) {
            return Err(
                "it has a second @: write an @ of the password as %40 and a / as %2F, or put the password into a \
                        file"
                    .into(),
            );
        }
        if password.is_some() && config.get_password().is_some() {
            return Err("it has a password, and a file has one too: remove one of them".into());
        }
        if config.get_dbname().is_none() {
            return Err("it names no database: write it as postgres://USER@HOST/DATABASE".into());
        }
        let is_encrypted = match options.mode.as_deref() {
            None => !config.get_hosts().iter().all(is_here),
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(other) => {
                return Err(format!(
                    "sslmode={other} would connect without encryption if need be: write sslmode=verify-full, or \
                     sslmode=disable"
                ));
            }
        };
        let tls = if is_encrypted { Some(verifying(options.root.as_deref())?) } else { None };
        let connect_timeout = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let tcp_user_timeout = config.get_tcp_user_timeout().copied().unwrap_or(SILENCE_MAX);
        let complete = |mut host: Config| {
            if let Some(password) = password {
                host.password(password);
            }
            host.connect_timeout(connect_timeout).tcp_user_timeout(tcp_user_timeout).keepalives_idle(KEEPALIVE);
            host.application_name("doorbell").target_session_attrs(TargetSessionAttrs::ReadWrite);
            host.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
            host
        };
        let hosts: Vec<_> = of_hosts(&url).map(|url| config_of(&url).map(complete)).collect::<Result<_, _>>()?;
        debug_assert_eq!(hosts.len(), config.get_hosts().len(), "each host has a URL");
        Ok(Self {
            hosts,
            last_host: Arc::default(),
            host_wait: 2 * connect_timeout,
            allow_single_copy: false,
            tls,
            shown: shown(&config),
            warnings: Arc::default(),
        })
    }
}

fn config_of(url: &str) -> Result<Config, String> {
    url.parse().map_err(|error: tokio_postgres::Error| {
        let error = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        format!("{error}; write it as postgres://USER@HOST/DATABASE")
    })
}

/// The URLs of the single hosts of `url`: the library would wait for a host that hangs without an end, and always begins
/// with the first one.
fn of_hosts(url: &str) -> impl Iterator<Item = String> {
    let (before, rest) = url.split_once("://").expect("the caller has checked the scheme");
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    hosts.split(',').map(move |host| format!("{before}://{user}{host}{path}"))
}

#[derive(Default)]
struct Options {
    mode: Option<String>,
    root: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of the URL.
fn take_options(url: &str) -> Result<(String, Options), String> {
    let mut options = Options::default();
    let Some((base, query)) = url.split_once('?') else { return Ok((url.into(), options)) };
    let mut kept = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("sslmode", mode)) => options.mode = Some(mode.into()),
            Some(("sslrootcert", path)) => options.root = Some(decoded(path)?),
            Some((name @ ("host" | "hostaddr" | "port"), _)) => {
                return Err(format!("{name}= cannot be given: write each host as HOST:PORT before the database"));
            }
            _ => kept.push(part),
        }
    }
    let url = if kept.is_empty() { base.into() } else { format!("{base}?{}", kept.join("&")) };
    Ok((url, options))
}

/// A path of a URL.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                value.ok_or("sslrootcert: % is written as %25")?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| "sslrootcert is no UTF-8".into())
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

fn verifying(root: Option<&str>) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match root {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = read.map_err(|error| format!("cannot read sslrootcert {path}: {error}"))?;
            for certificate in certificates {
                roots.add(certificate).map_err(|error| format!("sslrootcert {path}: {error}"))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err("there is no certificate to verify it with: write &sslrootcert=FILE".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has these versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn shown(config: &Config) -> String {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<_> = config.get_hosts().iter().map(host).collect();
    format!("{} at {}", config.get_dbname().expect("an address names a database"), hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Address::parse(url, None).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_with_what_to_write() {
        for (url, text) in [
            ("mysql://a/b", "write it as postgres://USER@HOST/DATABASE"),
            ("postgres:///b", "it names no host"),
            ("postgres://a", "it names no database"),
            ("postgres://a/b?sslmode=prefer", "write sslmode=verify-full"),
            ("postgres://a/b?sslrootcert=/none.pem", "cannot read sslrootcert /none.pem"),
            ("postgres://a/b?connect_timeout=x", "connect_timeout"),
            ("postgres://u:se@cret@a/b", "write an @ of the password as %40"),
            ("postgres://u:se@cr/et@a/b", "write an @ of the password as %40 and a / as %2F"),
            ("postgres://localhost/b?hostaddr=192.0.2.1", "write each host as HOST:PORT before the database"),
        ] {
            assert!(refused(url).contains(text), "{url}: {}", refused(url));
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_encryption_unless_the_url_allows_it() {
        let is_encrypted = |url: &str| Address::parse(url, None).unwrap().tls.is_some();
        for url in
            ["postgres://localhost/b", "postgres://[::1]/b", "postgres://%2Frun/b", "postgres://db/b?sslmode=disable"]
        {
            assert!(!is_encrypted(url), "{url}");
        }
    }

    #[test]
    fn each_host_is_tried_by_itself_with_the_user_the_database_and_the_options_of_all() {
        let url = "postgres://u:p%40@db1:6000,[::1],%2Frun/push?connect_timeout=5&sslmode=disable";
        let address = Address::parse(url, None).unwrap();
        let hosts: Vec<_> = address.hosts.iter().map(|host| (host.get_hosts(), host.get_ports())).collect();
        let tcp = |name: &str| [Host::Tcp(name.into())];
        assert_eq!(hosts[0], (&tcp("db1")[..], &[6000][..]));
        assert_eq!(hosts[1], (&tcp("::1")[..], &[5432][..]));
        assert!(matches!(hosts[2].0, [Host::Unix(_)]) && hosts.len() == 3);
        for host in &address.hosts {
            assert_eq!((host.get_user(), host.get_dbname()), (Some("u"), Some("push")));
            assert_eq!(host.get_password(), Some(&b"p@"[..]));
            assert_eq!(host.get_connect_timeout(), Some(&Duration::from_secs(5)));
        }
        assert_eq!(address.host_wait, Duration::from_secs(10));
    }

    #[test]
    fn the_operator_sees_no_password() {
        let address = Address::parse("postgres://u:secret@localhost,127.0.0.1/push", None).unwrap();
        assert_eq!(address.shown, "push at localhost,127.0.0.1");
        let both = Address::parse("postgres://u:secret@localhost/push", Some("secret")).map(|_| ()).unwrap_err();
        assert!(both.contains("remove one") && !both.contains("secret"), "{both}");
        let refused = refused("postgres://u:se@cret@localhost/push");
        assert!(!refused.contains("cret"), "{refused}");
    }
}
