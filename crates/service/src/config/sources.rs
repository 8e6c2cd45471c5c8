//! What one source of connections may take, and which connections come from a proxy.

use std::net::IpAddr;

use super::error::ConfigError;
use super::networks::Networks;
use super::settings::Settings;

/// The bound of one source of connections: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Connections of one source; `None` for no bound. Without it one client takes all places.
    pub connections_max: Option<usize>,
    proxies: Proxies,
}

/// Whose connections come from many sources.
#[derive(Clone, Debug)]
enum Proxies {
    /// All of them: a proxy in front is declared, and its address is not known.
    All,
    /// Those in these networks.
    In(Networks),
}

impl Sources {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let per_source_max = s.connections_per_source_max.unwrap_or_else(|| (s.connections_max() / 4).max(1));
        let proxies = match &s.trusted_proxies {
            Some(networks) => Proxies::In(Networks::parse("trusted_proxies", Some(networks))?),
            None if s.trust_proxy() => Proxies::All,
            None => Proxies::In(Networks::default()),
        };
        Ok(Self { connections_max: Some(per_source_max).filter(|&max| max > 0), proxies })
    }

    /// Whether connections from this address count for their source: not those of a proxy.
    pub fn counts(&self, address: IpAddr) -> bool {
        match &self.proxies {
            Proxies::All => false,
            Proxies::In(networks) => !networks.contains(address),
        }
    }

    /// The same where no unnamed proxy can be: the address is one that a proxy has named, or no proxy is in front.
    pub fn counts_unless_named(&self, address: IpAddr) -> bool {
        match &self.proxies {
            Proxies::All => true,
            Proxies::In(networks) => !networks.contains(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(settings: Settings) -> Sources {
        Sources::from_settings(&settings).unwrap()
    }

    fn counts(sources: &Sources, address: &str) -> bool {
        sources.counts(address.parse().unwrap())
    }

    #[test]
    fn one_source_may_have_a_quarter_of_the_places_unless_it_is_set_otherwise() {
        assert_eq!(sources(Settings::default()).connections_max, Some(4096));
        let few = Settings { connections_max: Some(3), ..Settings::default() };
        assert_eq!(sources(few).connections_max, Some(1));
        let set = |max| sources(Settings { connections_per_source_max: Some(max), ..Settings::default() });
        assert_eq!((set(7).connections_max, set(0).connections_max), (Some(7), None));
    }

    #[test]
    fn loopback_counts_unless_it_is_declared_a_proxy() {
        let plain = sources(Settings::default());
        assert!(counts(&plain, "127.0.0.1") && counts(&plain, "192.0.2.1"));
        let networks = ["127.0.0.1", " 10.0.0.0/8", "2001:db8::/32"].map(str::to_owned).to_vec();
        let proxied = sources(Settings { trusted_proxies: Some(networks), ..Settings::default() });
        for proxy in ["127.0.0.1", "::ffff:127.0.0.1", "10.9.8.7", "2001:db8::1"] {
            assert!(!counts(&proxied, proxy), "{proxy}");
        }
        assert!(counts(&proxied, "127.0.0.2") && counts(&proxied, "2001:db9::1"));
        let somewhere = sources(Settings { trust_proxy: Some(true), ..Settings::default() });
        assert!(!counts(&somewhere, "192.0.2.1"), "without a list, every connection is the proxy's");
        let client = "192.0.2.1".parse().unwrap();
        assert!(somewhere.counts_unless_named(client), "but not if it names its client");
        assert!(!proxied.counts_unless_named("10.9.8.7".parse().unwrap()), "a proxy behind the proxy");
    }

    #[test]
    fn a_network_that_is_none_is_an_error_that_shows_it() {
        let networks = Some(vec!["10.0.0.0/33".to_owned()]);
        let error = Sources::from_settings(&Settings { trusted_proxies: networks, ..Settings::default() }).unwrap_err();
        assert!(error.to_string().contains("`10.0.0.0/33`"), "{error}");
    }
}
