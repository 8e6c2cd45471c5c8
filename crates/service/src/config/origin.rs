//! The origin that capability URLs begin with, and that a VAPID token must be made out to (RFC 8292 s2).

use super::ConfigError;

/// `https://host[:port]`, in its serialized form: lower case, no default port, no path (RFC 6454 s6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin that somebody configured.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| {
            ConfigError::Unfit(format!("public_url `{url}` {why}; give something like https://push.example.org"))
        };
        let uri: http::Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong("has no scheme or no host"));
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path: capability URLs begin at the root"));
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(wrong("has a user name"));
        }
        if scheme != "https" && !(scheme == "http" && is_loopback(host)) {
            return Err(wrong("is not https (PS-8030-3-1)"));
        }
        Ok(Self::new(scheme, host, uri.port_u16()))
    }

    /// The origin of a host and port.
    pub(super) fn new(scheme: &str, host: &str, port: Option<u16>) -> Self {
        let host = host.to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        match port.filter(|p| *p != default) {
            Some(port) => Self(format!("{scheme}://{host}:{port}")),
            None => Self(format!("{scheme}://{host}")),
        }
    }

    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin without its port; `None` if it has the default one.
    pub fn without_port(&self) -> Option<String> {
        let (origin, port) = self.0.rsplit_once(':')?;
        // The colon of an IPv6 address, or of the scheme, is not one before a port.
        port.bytes().all(|byte| byte.is_ascii_digit()).then(|| origin.to_owned())
    }

    /// What follows the scheme: the `:authority` of requests to this service.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// `https` or, on loopback only, `http`.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_serialized_without_its_default_port() {
        let origin = |url| Origin::parse(url).unwrap().0;
        assert_eq!(origin("https://Push.Example.org:443/"), "https://push.example.org");
        assert_eq!(origin("https://push.example.org:8443"), "https://push.example.org:8443");
        assert_eq!(origin("http://[::1]:80"), "http://[::1]");
    }

    #[test]
    fn the_port_is_what_follows_the_last_colon_outside_an_address() {
        let without_port = |url| Origin::parse(url).unwrap().without_port();
        assert_eq!(without_port("https://push.example.org:8443").as_deref(), Some("https://push.example.org"));
        assert_eq!(without_port("http://[::1]:8080").as_deref(), Some("http://[::1]"));
        for default in ["https://push.example.org", "https://[::1]", "https://[2001:db8::1234]"] {
            assert_eq!(without_port(default), None, "{default}");
        }
    }

    #[test]
    fn what_is_not_a_secure_origin_is_refused_ps_8030_3_1() {
        for url in
            ["http://push.example.org", "push.example.org", "https://a/b", "https://a?b", "https://u@a", "ftp://a"]
        {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
    }
}
