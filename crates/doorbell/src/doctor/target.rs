//! The examined service: its URL, and the addresses of its name.

use std::net::SocketAddr;

use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use super::STEP_MAX;
use super::report::Finding;

/// The origin of a push service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    /// Reads an https URL; its path is ignored, since every resource begins at the root.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL ({error})"))?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(format!("{text:?} names no host")),
        };
        // The doctor prints commands with it.
        if !host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c)) {
            return Err(format!("{text:?} names a host with characters that no name has"));
        }
        if url.scheme() != "https" {
            return Err(format!("it is {}, and user agents take a push service by https only", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or a password, which a push service does not have".to_owned());
        }
        let port = url.port_or_known_default().expect("https has a default port");
        let mut origin = url;
        origin.set_path("/");
        origin.set_query(None);
        origin.set_fragment(None);
        Ok(Self { url: origin, host, port })
    }

    /// The step of the URL.
    pub(super) fn check(text: &str) -> Result<(Self, Finding), Finding> {
        match Self::parse(text) {
            Ok(target) => {
                let found = Finding::ok(target.origin());
                Ok((target, found))
            }
            Err(why) => Err(Finding::failed(why, "give the origin of the service, such as https://push.example.org")),
        }
    }

    /// The step of the name.
    pub(super) async fn resolve(&self) -> Result<(Vec<SocketAddr>, Finding), Finding> {
        let host = &self.host;
        let fix = format!("add an A or AAAA record for {host}, or wait until it is known here; `getent hosts {host}`");
        match timeout(STEP_MAX, lookup_host((host.as_str(), self.port))).await {
            Ok(Ok(found)) => {
                let mut addresses: Vec<SocketAddr> = found.collect();
                addresses.dedup();
                match addresses.as_slice() {
                    [] => Err(Finding::failed(format!("{host} has no address"), fix)),
                    [one] if one.ip().to_string() == *host => {
                        let found = Finding::ok(format!("{host} is an address, not a name"));
                        Ok((addresses, found))
                    }
                    all => {
                        let shown: Vec<String> = all.iter().map(|address| address.ip().to_string()).collect();
                        let found = Finding::ok(format!("{host} is {}", shown.join(", ")));
                        Ok((addresses, found))
                    }
                }
            }
            Ok(Err(error)) => Err(Finding::failed(format!("{host} does not resolve: {error}"), fix)),
            Err(_) => Err(Finding::failed(format!("no answer about {host} within {} s", STEP_MAX.as_secs()), fix)),
        }
    }

    /// `https://host[:port]`.
    pub(super) fn origin(&self) -> String {
        self.url.origin().unicode_serialization()
    }

    /// `host[:port]`, as it stands in the Host field.
    pub(super) fn authority(&self) -> &str {
        self.url.authority()
    }

    /// Whether `url` is of this service.
    pub(super) fn serves(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| url.origin() == self.url.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_the_origin_of_an_https_url() {
        let parsed = |text| Target::parse(text).map(|t| (t.origin(), t.host.clone(), t.port, t.authority().to_owned()));
        let of = |origin: &str, host: &str, port, authority: &str| {
            Ok((origin.to_owned(), host.to_owned(), port, authority.to_owned()))
        };
        assert_eq!(
            parsed("https://Push.example/subscribe"),
            of("https://push.example", "push.example", 443, "push.example")
        );
        assert_eq!(parsed("https://[::1]:8443"), of("https://[::1]:8443", "::1", 8443, "[::1]:8443"));
        for wrong in
            ["push.example", "http://push.example", "https://", "https://u:p@push.example", "https://$(id).example", ""]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_of_the_service_differs_from_one_elsewhere() {
        let target = Target::parse("https://push.example").unwrap();
        assert!(target.serves("https://push.example:443/p/x"));
        assert!(!target.serves("https://push.example:8443/p/x") && !target.serves("http://push.example/p/x"));
    }
}
