//! The address of the service and its public URL: address, TLS, origin.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::acme::AcmeSettings;
use super::error::ConfigError;
use super::origin::Origin;
use super::settings::Settings;

/// Address, TLS and public origin, which must fit together.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address to bind.
    pub listen: SocketAddr,
    /// Where TLS comes from.
    pub tls: TlsSource,
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
        let listen = match (s.listen, &acme) {
            (None, Some(_)) => AcmeSettings::LISTEN,
            _ => s.listen(),
        };
        let public_url = s.public_url.as_deref().map(Origin::parse).transpose()?;
        let public_url = public_url.or_else(|| acme.as_ref().map(AcmeSettings::origin));
        if let (Some(acme), Some(url)) = (&acme, &public_url)
            && url.host() != acme.domain
        {
            return unfit("public_url has another host than domain, which the certificate is for");
        }
        let (plain, proxied) = (s.plain(), s.trust_proxy());
        let tls = match (&s.tls_cert, &s.tls_key) {
            (Some(_), Some(_)) if plain => return unfit("plain and tls_cert exclude each other"),
            (Some(cert), Some(key)) => TlsSource::Files { cert: cert.clone(), key: key.clone() },
            (Some(_), None) => return unfit("tls_cert needs tls_key, the file with its private key"),
            (None, Some(_)) => return unfit("tls_key needs tls_cert, the file with the certificate chain"),
            (None, None) if plain => TlsSource::Plain,
            (None, None) => acme.map_or(TlsSource::SelfSigned, TlsSource::Acme),
        };
        if plain && proxied && public_url.is_none() {
            return unfit("trust_proxy needs public_url: the origin that the proxy serves, https://push.example.org");
        }
        if plain && !proxied && !listen.ip().is_loopback() {
            return unfit(
                "plain HTTP is served on loopback addresses only (RFC 8030 s3 asks for HTTPS); \
                 give tls_cert and tls_key, or trust_proxy with public_url when a proxy in front ends TLS",
            );
        }
        if listen.ip().is_unspecified() && public_url.is_none() {
            return unfit("listening on every address needs public_url: the origin that push URLs begin with");
        }
        Ok(Self { listen, tls, public_url })
    }

    /// The origin of the service once it listens on `bound`.
    pub fn origin(&self, bound: SocketAddr) -> Origin {
        let scheme = if matches!(self.tls, TlsSource::Plain) { "http" } else { "https" };
        let host = match bound.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        self.public_url.clone().unwrap_or_else(|| Origin::new(scheme, &host, Some(bound.port())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(s: Settings) -> Result<Place, ConfigError> {
        Place::from_settings(&s)
    }

    fn anywhere() -> Settings {
        Settings { listen: Some("0.0.0.0:80".parse().unwrap()), plain: Some(true), ..Settings::default() }
    }

    #[test]
    fn plain_http_is_refused_off_loopback_without_a_declared_proxy_ps_8030_3_1() {
        assert!(place(anywhere()).unwrap_err().to_string().contains("loopback"));
        let undeclared = Settings { trust_proxy: Some(true), ..anywhere() };
        assert!(place(undeclared).unwrap_err().to_string().contains("public_url"));
        let public_url = Some("https://push.example.org".to_owned());
        let proxied = place(Settings { trust_proxy: Some(true), public_url, ..anywhere() }).unwrap();
        assert_eq!(proxied.origin(proxied.listen).as_str(), "https://push.example.org");
    }

    #[test]
    fn a_domain_is_served_on_port_443_of_every_address() {
        let domain = Some("push.example.org".to_owned());
        let public = place(Settings { domain: domain.clone(), ..Settings::default() }).unwrap();
        assert_eq!(public.listen.to_string(), "[::]:443");
        assert_eq!(public.origin(public.listen).as_str(), "https://push.example.org");
        let forwarded =
            Settings { listen: Some("0.0.0.0:8443".parse().unwrap()), domain: domain.clone(), ..Settings::default() };
        let forwarded = place(forwarded).unwrap();
        assert_eq!(forwarded.origin(forwarded.listen).as_str(), "https://push.example.org", "port 443 leads there");
        let other = Settings { public_url: Some("https://example.org".to_owned()), domain, ..Settings::default() };
        assert!(place(other).unwrap_err().to_string().contains("another host"));
    }

    #[test]
    fn the_defaults_are_https_on_loopback() {
        let place = place(Settings::default()).unwrap();
        assert_eq!(place.origin(place.listen).as_str(), "https://127.0.0.1:8443");
    }
}
