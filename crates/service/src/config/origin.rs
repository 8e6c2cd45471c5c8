//! The origin of all capability URLs, and the required audience of VAPID tokens (RFC 8292 s2).

use std::borrow::Cow;

use super::error::ConfigError;

/// `https://host[:port]`, in its ASCII serialization: lower case, no default port, no path (RFC 6454 s6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Parses an origin from the configuration. Its host may be written in Unicode.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| {
            ConfigError::Unfit(format!("public_url `{url}` {why}; give something like https://push.example.org"))
        };
        let ascii = with_ascii_host(url).ok_or_else(|| wrong("has a host that is not a domain name (UTS 46)"))?;
        let uri: http::Uri = ascii.parse().map_err(|_| wrong("is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("has no scheme or no host"));
        };
        let host = authority.host();
        if host.is_empty() {
            return Err(wrong("has no scheme or no host"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path: capability URLs begin at the root"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("has a user name"));
        }
        // It goes into command lines that are printed for a shell.
        if !host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c)) {
            return Err(wrong("has a host with characters that no name has"));
        }
        let port = authority.as_str().strip_prefix(host);
        if !port.is_some_and(|port| matches!(port, "" | ":") || port.starts_with(':') && authority.port_u16().is_some())
        {
            return Err(wrong("has a port that is not a number up to 65535"));
        }
        if scheme != "https" && !(scheme == "http" && is_loopback(host)) {
            return Err(wrong("is not https, which keeps its URLs secret"));
        }
        Ok(Self::new(scheme, host, authority.port_u16()))
    }

    /// The origin of a host and port.
    pub(super) fn new(scheme: &str, host: &str, port: Option<u16>) -> Self {
        let host = host.to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        let origin = match port.filter(|p| *p != default) {
            Some(port) => Self(format!("{scheme}://{host}:{port}")),
            None => Self(format!("{scheme}://{host}")),
        };
        debug_assert!(origin.0.bytes().all(|b| b.is_ascii_graphic()), "URLs that begin with it are header values");
        origin
    }

    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin as senders may write it: this serialization, and the one in Unicode (RFC 6454 s6.1) if the host has one.
    pub fn spellings(&self) -> Vec<String> {
        self.spelled(self.authority().strip_prefix(self.host()).expect("an authority begins with its host"))
    }

    /// The same without the port; empty if it has the default one.
    pub fn spellings_without_port(&self) -> Vec<String> {
        if self.authority() == self.host() { Vec::new() } else { self.spelled("") }
    }

    fn spelled(&self, port: &str) -> Vec<String> {
        let (scheme, host) = (self.scheme(), self.host());
        let (unicode, valid) = idna::domain_to_unicode(host);
        let unicode = Some(unicode).filter(|unicode| valid.is_ok() && unicode != host);
        [host.to_owned()].into_iter().chain(unicode).map(|host| format!("{scheme}://{host}{port}")).collect()
    }

    /// What follows the scheme: the `:authority` of requests to this service.
    pub fn authority(&self) -> &str {
        self.parts().1
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.host_and_port().0
    }

    /// The port; the text leaves out the scheme's default port.
    pub fn port(&self) -> u16 {
        self.host_and_port().1
    }

    /// `https` or, on loopback only, `http`.
    pub fn scheme(&self) -> &str {
        self.parts().0
    }

    /// Scheme and authority.
    fn parts(&self) -> (&str, &str) {
        self.0.split_once("://").expect("an origin has a scheme and an authority")
    }

    fn host_and_port(&self) -> (&str, u16) {
        let (scheme, authority) = self.parts();
        match authority.rsplit_once(':') {
            // The last colon of an IPv6 address without a port is within its brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().expect("an origin's port comes from a number"))
            }
            _ => (authority, if scheme == "https" { 443 } else { 80 }),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL with its host in ASCII (UTS 46, as browsers convert it). Everything else stays as it is.
fn with_ascii_host(url: &str) -> Option<Cow<'_, str>> {
    let (Some((scheme, rest)), false) = (url.split_once("://"), url.is_ascii()) else { return Some(url.into()) };
    let end = rest.find([':', '/', '?', '#']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let host = idna::domain_to_ascii(host).ok()?;
    Some(format!("{scheme}://{host}{rest}").into())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::headers::link::{Link, REL_PUSH};
    use http::HeaderValue;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn an_origin_is_serialized_without_its_default_port() {
        let origin = |url| Origin::parse(url).unwrap().0;
        assert_eq!(origin("https://Push.Example.org:443/"), "https://push.example.org");
        assert_eq!(origin("https://push.example.org:8443"), "https://push.example.org:8443");
        assert_eq!(origin("http://[::1]:80"), "http://[::1]");
    }

    #[test]
    fn a_host_is_a_name_and_nothing_that_a_shell_would_run() {
        for host in ["$(id)", "a;id", "a'b", "a&b", "(a)", "a*", "a=b"] {
            let error = Origin::parse(&format!("https://{host}")).unwrap_err().to_string();
            assert!(error.contains("characters that no name has"), "{host}: {error}");
        }
        assert!(Origin::parse("https://my_push-1.example").is_ok());
    }

    #[test]
    fn host_and_port_are_known_however_the_origin_is_written() {
        for (url, host, port) in [
            ("https://push.example.org", "push.example.org", 443),
            ("https://push.example.org:8443", "push.example.org", 8443),
            ("http://127.0.0.1", "127.0.0.1", 80),
            ("http://[::1]", "[::1]", 80),
            ("https://[::1]:8443", "[::1]", 8443),
        ] {
            let origin = Origin::parse(url).unwrap();
            assert_eq!((origin.host(), origin.port()), (host, port), "{url}");
        }
    }

    proptest! {
        /// Each answer with a Location relies on this.
        #[test]
        fn whatever_is_taken_for_an_origin_begins_header_values(host in r#"[!-~ äß]{1,20}"#, port in "(:[0-9]{0,6})?") {
            if let Ok(origin) = Origin::parse(&format!("https://{host}{port}")) {
                prop_assert!(HeaderValue::try_from(origin.as_str()).is_ok());
                prop_assert!(Link::new(origin.as_str(), REL_PUSH).to_value().is_some());
                prop_assert!(!origin.host().is_empty());
                prop_assert_eq!(origin.scheme(), "https");
                prop_assert!(origin.authority().starts_with(origin.host()));
                let _ = origin.port();
            }
        }
    }

    #[test]
    fn the_port_is_what_follows_the_last_colon_outside_an_address() {
        let without_port = |url| Origin::parse(url).unwrap().spellings_without_port();
        assert_eq!(without_port("https://push.example.org:8443"), ["https://push.example.org"]);
        assert_eq!(without_port("http://[::1]:8080"), ["http://[::1]"]);
        for default in ["https://push.example.org", "https://[::1]", "https://[2001:db8::1234]"] {
            assert!(without_port(default).is_empty(), "{default}");
        }
    }

    #[test]
    fn an_internationalised_host_has_two_spellings_and_urls_have_the_ascii_one_ps_8292_2_4() {
        for url in
            ["https://münchen.example:8443", "https://MÜNCHEN.example:8443/", "https://xn--mnchen-3ya.example:8443"]
        {
            let origin = Origin::parse(url).unwrap();
            assert_eq!(origin.as_str(), "https://xn--mnchen-3ya.example:8443", "{url}");
            assert_eq!(origin.spellings(), [origin.as_str(), "https://münchen.example:8443"]);
            let without_port = ["https://xn--mnchen-3ya.example", "https://münchen.example"];
            assert_eq!(origin.spellings_without_port(), without_port);
        }
        assert_eq!(Origin::parse("https://例え.テスト").unwrap().as_str(), "https://xn--r8jz45g.xn--zckzah");
        assert_eq!(Origin::parse("https://[::1]:8443").unwrap().spellings(), ["https://[::1]:8443"]);
        // What only looks like an internationalised name has one spelling.
        assert_eq!(Origin::parse("https://xn--a.example").unwrap().spellings(), ["https://xn--a.example"]);
        for bad in ["https://mün chen.example", "https://ü@b", "https://münchen.example/ü", "https://a\u{202e}b"] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_secure_origin_is_refused_ps_8030_3_1() {
        for url in
            ["http://push.example.org", "push.example.org", "https://a/b", "https://a?b", "https://u@a", "ftp://a"]
                .into_iter()
                .chain(["https://:8443", "https://a:99999", "https://a:b"])
        {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
    }
}
