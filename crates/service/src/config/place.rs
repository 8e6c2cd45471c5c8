//! The addresses of the service and its public URL: addresses, TLS, origin.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::acme::AcmeSettings;
use super::error::ConfigError;
use super::listen::{Listen, ListenAddress, Served};
use super::networks::Networks;
use super::origin::Origin;
use super::settings::Settings;

/// The address without any settings.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// More listeners than a service needs; each is a task.
const LISTEN_MAX: usize = 64;

/// Addresses, TLS and public origin, which must fit together.
#[derive(Clone, Debug)]
pub struct Place {
    /// The addresses to bind. At least one serves HTTP.
    pub listen: Vec<Listen>,
    /// Where TLS comes from, for all addresses with TLS.
    pub tls: TlsSource,
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol_from: Networks,
    /// Whose requests have their client's address at the end of X-Forwarded-For.
    pub forwarded_for_from: Networks,
    /// The configured origin, if any.
    public_url: Option<Origin>,
}

/// What ends TLS, and with which certificate.
#[derive(Clone, Debug)]
pub enum TlsSource {
    /// A certificate for localhost, signed by a CA that the service creates and keeps.
    SelfSigned,
    /// Configured files.
    Files {
        /// The chain, PEM.
        cert: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
    /// A certificate authority signs one for a domain.
    Acme(AcmeSettings),
    /// None: loopback, or a proxy in front.
    Plain,
}

impl Place {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let unfit = |text: &str| Err(ConfigError::Unfit(text.into()));
        let acme = AcmeSettings::from_settings(s)?;
        let listen = listen(s, acme.is_some())?;
        let has_tls = listen.iter().any(|listen| listen.served != Served::Plain);
        let public_url = s.public_url.as_deref().map(Origin::parse).transpose()?;
        let public_url = public_url.or_else(|| acme.as_ref().map(AcmeSettings::origin));
        if let (Some(acme), Some(url)) = (&acme, &public_url)
            && url.host() != acme.domain
        {
            return unfit(
                "public_url has another host than domain, which the certificate is for: remove public_url, or correct one of them",
            );
        }
        let tls = match (&s.tls_cert, &s.tls_key) {
            (Some(_), Some(_)) if !has_tls && s.plain() => return unfit("plain and tls_cert exclude each other"),
            (Some(_), Some(_)) if !has_tls => {
                return unfit("tls_cert is for TLS, and every address of listen is plain");
            }
            (Some(cert), Some(key)) => TlsSource::Files { cert: cert.clone(), key: key.clone() },
            (Some(_), None) => return unfit("tls_cert needs tls_key, the file with its private key"),
            (None, Some(_)) => return unfit("tls_key needs tls_cert, the file with the certificate chain"),
            (None, None) if !has_tls && acme.is_some() => {
                return unfit(
                    "domain is for TLS, and every address of listen is plain: give tls: before one, or, if a proxy obtains the \
                     certificate, public_url instead of domain",
                );
            }
            (None, None) if !has_tls => TlsSource::Plain,
            (None, None) => acme.map_or(TlsSource::SelfSigned, TlsSource::Acme),
        };
        // Where the first address for HTTP is plain, push URLs would begin with it: clients cannot reach it.
        let first_http = listen.iter().find(|listen| listen.served != Served::Mcs).map(|listen| listen.served);
        if first_http == Some(Served::Plain) && s.trust_proxy() && public_url.is_none() {
            return unfit("trust_proxy needs public_url: the origin that the proxy serves, https://push.example.org");
        }
        for Listen { address, .. } in listen.iter().filter(|listen| listen.served == Served::Plain) {
            if !s.trust_proxy() && !address.ip().is_loopback() {
                return unfit(&format!(
                    "{address}: plain HTTP is served on loopback addresses only (RFC 8030 s3 asks for HTTPS); \
                     give tls_cert and tls_key, or trust_proxy with public_url when a proxy in front ends TLS"
                ));
            }
        }
        if let Some(every) = listen.iter().find(|listen| listen.address.ip().is_unspecified())
            && public_url.is_none()
        {
            return unfit(&format!(
                "{}: listening on every address needs public_url: the origin that push URLs begin with",
                every.address
            ));
        }
        let proxy_protocol_from = Networks::parse("proxy_protocol_from", s.proxy_protocol_from.as_ref())?;
        let forwarded_for_from = Networks::parse("forwarded_for_from", s.forwarded_for_from.as_ref())?;
        Ok(Self { listen, tls, proxy_protocol_from, forwarded_for_from, public_url })
    }

    /// The first address that serves HTTP, among `bound`, the addresses in the order of [`listen`](Self::listen).
    pub fn first_http(bound: &[Listen]) -> &Listen {
        bound.iter().find(|listen| listen.served != Served::Mcs).expect("one address serves HTTP, which is checked")
    }

    /// The origin of the service once it listens on `bound`, its first address that serves HTTP.
    pub fn origin(&self, bound: &Listen) -> Origin {
        let scheme = if bound.served == Served::Plain { "http" } else { "https" };
        let host = match bound.address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        self.public_url.clone().unwrap_or_else(|| Origin::new(scheme, &host, Some(bound.address.port())))
    }
}

/// The addresses of the settings, or the usual one.
fn listen(s: &Settings, has_domain: bool) -> Result<Vec<Listen>, ConfigError> {
    let unfit = |text: String| Err(ConfigError::Unfit(text));
    let usual = if has_domain { AcmeSettings::LISTEN } else { DEFAULT_LISTEN };
    let given = s.listen.clone().unwrap_or_else(|| vec![usual.into()]);
    let other = if s.plain() { Served::Plain } else { Served::Tls };
    let served = |given: &ListenAddress| Listen { served: given.served.unwrap_or(other), address: given.address };
    let listen: Vec<Listen> = given.iter().map(served).collect();
    if listen.len() > LISTEN_MAX {
        return unfit(format!("listen has {} addresses, and {LISTEN_MAX} are the most", listen.len()));
    }
    for (index, Listen { address, served }) in listen.iter().enumerate() {
        let is_twice = listen.iter().skip(index + 1).any(|later| later.address == *address);
        if is_twice && address.port() != 0 {
            return unfit(format!("listen has {address} twice"));
        }
        if *served == Served::Mcs && !s.chromium() {
            return unfit(format!("listen has mcs:{address} for Chromium, and the setting chromium is off"));
        }
    }
    if listen.iter().all(|listen| listen.served == Served::Mcs) {
        return unfit(
            "listen has no address that serves HTTP, which Chromium, its pages' senders and all others need; add one, \
             such as 127.0.0.1:8443"
                .to_owned(),
        );
    }
    Ok(listen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(s: Settings) -> Result<Place, ConfigError> {
        Place::from_settings(&s)
    }

    fn listening(addresses: &[&str]) -> Settings {
        let listen = Some(addresses.iter().map(|address| address.parse().unwrap()).collect());
        Settings { listen, ..Settings::default() }
    }

    fn anywhere() -> Settings {
        Settings { plain: Some(true), ..listening(&["0.0.0.0:80"]) }
    }

    fn origin(place: &Place) -> String {
        place.origin(Place::first_http(&place.listen)).as_str().to_owned()
    }

    #[test]
    fn plain_http_is_refused_off_loopback_without_a_declared_proxy_ps_8030_3_1() {
        assert!(place(anywhere()).unwrap_err().to_string().contains("loopback"));
        let undeclared = Settings { trust_proxy: Some(true), ..anywhere() };
        assert!(place(undeclared).unwrap_err().to_string().contains("public_url"));
        let beside = ["plain:127.0.0.1:80", "mcs:127.0.0.1:5228"].map(|text| text.parse().unwrap()).to_vec();
        let beside = Settings { trust_proxy: Some(true), listen: Some(beside), ..Settings::default() };
        assert!(place(beside).unwrap_err().to_string().contains("public_url"), "clients cannot reach loopback");
        let public_url = Some("https://push.example.org".to_owned());
        let proxied = place(Settings { trust_proxy: Some(true), public_url, ..anywhere() }).unwrap();
        assert_eq!(origin(&proxied), "https://push.example.org");
    }

    #[test]
    fn a_domain_is_served_on_port_443_of_every_address() {
        let domain = Some("push.example.org".to_owned());
        let public = place(Settings { domain: domain.clone(), ..Settings::default() }).unwrap();
        assert_eq!(public.listen[0].address.to_string(), "[::]:443");
        assert_eq!(origin(&public), "https://push.example.org");
        let forwarded = Settings { domain: domain.clone(), ..listening(&["0.0.0.0:8443"]) };
        let forwarded = place(forwarded).unwrap();
        assert_eq!(origin(&forwarded), "https://push.example.org", "port 443 leads there");
        let other = Settings { public_url: Some("https://example.org".to_owned()), domain, ..Settings::default() };
        assert!(place(other).unwrap_err().to_string().contains("another host"));
    }

    #[test]
    fn the_defaults_are_https_on_loopback() {
        let place = place(Settings::default()).unwrap();
        assert_eq!(origin(&place), "https://127.0.0.1:8443");
    }

    #[test]
    fn the_rules_about_plain_http_hold_for_each_address() {
        let url = Some("https://push.example.org".to_owned());
        let refused = |addresses: &[&str], settings: Settings| {
            place(Settings { listen: listening(addresses).listen, ..settings }).unwrap_err().to_string()
        };
        let public = || Settings { public_url: url.clone(), ..Settings::default() };
        let both = ["tls:0.0.0.0:443", "plain:192.0.2.1:80"];
        assert!(refused(&both, public()).starts_with("192.0.2.1:80: plain HTTP"));
        assert!(refused(&["127.0.0.1:1", "mcs:[::]:5228"], Settings::default()).starts_with("[::]:5228: listening"));
        let proxied = place(Settings { trust_proxy: Some(true), listen: listening(&both).listen, ..public() }).unwrap();
        assert_eq!(proxied.listen.iter().map(|listen| listen.served).collect::<Vec<_>>(), [Served::Tls, Served::Plain]);
        let local = place(listening(&["plain:127.0.0.1:8080", "tls:127.0.0.1:8443"])).unwrap();
        assert_eq!(origin(&local), "http://127.0.0.1:8080", "the first one");
        assert!(matches!(local.tls, TlsSource::SelfSigned));
    }

    #[test]
    fn chromium_s_stream_may_have_an_address_of_its_own_with_the_same_certificate() {
        let files = Settings { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..Settings::default() };
        let with = |addresses: &[&str]| Settings { listen: listening(addresses).listen, ..files.clone() };
        let two = place(Settings { plain: Some(true), ..with(&["mcs:127.0.0.1:5228", "127.0.0.1:8080"]) }).unwrap();
        assert_eq!(two.listen.iter().map(|listen| listen.served).collect::<Vec<_>>(), [Served::Mcs, Served::Plain]);
        assert!(matches!(two.tls, TlsSource::Files { .. }));
        assert_eq!(origin(&two), "http://127.0.0.1:8080", "the one that serves HTTP");
        let error = |settings| place(settings).unwrap_err().to_string();
        assert!(error(with(&["plain:127.0.0.1:8080"])).contains("tls_cert is for TLS"));
        assert!(error(listening(&["mcs:127.0.0.1:5228"])).contains("no address that serves HTTP"));
        let off = Settings { chromium: Some(false), ..with(&["127.0.0.1:1", "mcs:127.0.0.1:5228"]) };
        assert!(error(off).contains("the setting chromium is off"));
        assert!(error(listening(&["127.0.0.1:1", "plain:127.0.0.1:1"])).contains("127.0.0.1:1 twice"));
        assert!(error(listening(&[])).contains("no address"));
    }
}
