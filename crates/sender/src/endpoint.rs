//! The URL of a push resource, as a subscription names it (RFC 8030 s4, s8.1): https, absolute, without credentials.

use std::net::IpAddr;

use http::Uri;
use thiserror::Error;
use url::{Host, Url};

use crate::network::AddressPolicy;

/// The longest endpoint, in octets. The longest that are in use have about 700.
pub const ENDPOINT_MAX: usize = 4096;

/// A push resource. Whoever knows its URL can send to it, so that it is a secret (RFC 8030 s8.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    uri: Uri,
}

/// Why a URL is no endpoint, or not one that may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Longer than [`ENDPOINT_MAX`].
    #[error("the endpoint is longer than {ENDPOINT_MAX} octets")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("the endpoint is not an absolute URL")]
    Malformed,
    /// Anything but https. Plain http is taken only towards a loopback address, where no wire can be tapped.
    #[error("the endpoint is not an https URL (http is allowed towards a loopback address only)")]
    NotHttps,
    /// A user name or a password before the host.
    #[error("the endpoint carries a user name or a password")]
    Credentials,
    /// An address that the [`AddressPolicy`] does not permit.
    #[error("the endpoint is at a private, loopback or otherwise special address, which is not allowed")]
    Address,
}

impl Endpoint {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.len() > ENDPOINT_MAX {
            return Err(EndpointError::TooLong);
        }
        let mut url = Url::parse(text).map_err(|_| EndpointError::Malformed)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(EndpointError::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        url.set_fragment(None);
        // Letters outside ASCII take more room in the form that is sent.
        if url.as_str().len() > ENDPOINT_MAX {
            return Err(EndpointError::TooLong);
        }
        let uri = url.as_str().parse().map_err(|_| EndpointError::Malformed)?;
        Ok(Self { url, uri })
    }

    /// Whether a message may be sent there, as far as the URL tells. A name is judged again when it was resolved.
    pub fn check(&self, policy: &AddressPolicy) -> Result<(), EndpointError> {
        match self.address() {
            Some(address) if !policy.permits(address) => Err(EndpointError::Address),
            _ => Ok(()),
        }
    }

    /// The origin of the push service: the audience of VAPID tokens (RFC 8292 s2).
    pub fn origin(&self) -> String {
        self.url.origin().unicode_serialization()
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the host is written as a loopback address, or as `localhost`.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// The URL that `reference`, a Location for instance, means in an answer of this endpoint; `None` if it leaves the
    /// web, as `file:` and `javascript:` do.
    pub fn resolve(&self, reference: &str) -> Option<String> {
        let url = self.url.join(reference).ok()?;
        (url.scheme() == "https" || url.scheme() == self.url.scheme()).then(|| url.into())
    }

    /// The same path and query at the origin of `other`.
    pub(crate) fn moved_to(&self, other: &Self) -> Result<Self, EndpointError> {
        let mut url = other.url.clone();
        url.set_path(self.url.path());
        url.set_query(self.url.query());
        Self::parse(url.as_str())
    }

    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }

    /// Whether there is nothing behind the origin.
    pub(crate) fn is_origin(&self) -> bool {
        self.url.path() == "/" && self.url.query().is_none()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host, if it is written as an address. The parser has already seen through `0x7f.1` and the like.
    fn address(&self) -> Option<IpAddr> {
        address(&self.url)
    }
}

/// Says the origin only: the path is a secret (invariant 8).
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}/..)", self.origin())
    }
}

fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

fn is_loopback(url: &Url) -> bool {
    let named = || url.domain().is_some_and(|name| name == "localhost" || name.ends_with(".localhost"));
    address(url).map_or_else(named, |address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> EndpointError {
        Endpoint::parse(text).unwrap_err()
    }

    #[test]
    fn https_is_taken_and_http_only_on_the_machine_itself_as_ssrf_1() {
        for good in [
            "https://push.example.net/p/x",
            "https://[2606:4700::1]:8443/",
            "http://127.0.0.1:8080/p/x",
            "http://localhost/p",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://push.example.net/p/x",
            "http://10.0.0.1/",
            "ftp://push.example.net/",
            "file:///etc/passwd",
            "javascript:alert(1)",
        ] {
            assert_eq!(refused(bad), EndpointError::NotHttps, "{bad}");
        }
        for bad in ["", "push.example.net/p", "/p/x", "https://", "https://a b/"] {
            assert_eq!(refused(bad), EndpointError::Malformed, "{bad}");
        }
        assert_eq!(refused("https://user:pass@push.example.net/"), EndpointError::Credentials);
        assert_eq!(refused(&format!("https://h/{}", "x".repeat(ENDPOINT_MAX))), EndpointError::TooLong);
        assert_eq!(refused(&format!("https://h/{}", "\u{22d}".repeat(ENDPOINT_MAX / 4))), EndpointError::TooLong);
    }

    #[test]
    fn an_address_in_any_spelling_is_judged_as_what_it_reaches_as_ssrf_1() {
        let public = AddressPolicy::public();
        for inside in
            ["127.0.0.1", "0x7f.1", "2130706433", "017700000001", "10.0.0.1", "[::1]", "[fc00::1]", "[::ffff:10.0.0.1]"]
        {
            let endpoint = Endpoint::parse(&format!("https://{inside}/p")).unwrap();
            assert_eq!(endpoint.check(&public), Err(EndpointError::Address), "{inside}");
        }
        assert_eq!(Endpoint::parse("https://1.1.1.1/p").unwrap().check(&public), Ok(()));
        assert_eq!(Endpoint::parse("https://127.0.0.1/p").unwrap().check(&public.allow_loopback()), Ok(()));
    }

    #[test]
    fn the_origin_has_a_port_only_if_it_is_not_the_default_as_8292_2_1() {
        for (endpoint, origin) in [
            ("https://Push.Example.NET:443/p/x?y#z", "https://push.example.net"),
            ("https://push.example.net:8443/", "https://push.example.net:8443"),
            ("https://xn--mnchen-3ya.example/", "https://münchen.example"),
            ("https://[::1]:8443/p", "https://[::1]:8443"),
        ] {
            assert_eq!(Endpoint::parse(endpoint).unwrap().origin(), origin);
        }
    }

    #[test]
    fn a_location_is_resolved_against_the_endpoint() {
        let endpoint = Endpoint::parse("https://h:8443/p/x").unwrap();
        assert_eq!(endpoint.resolve("/m/1").as_deref(), Some("https://h:8443/m/1"));
        for elsewhere in ["file:///etc/passwd", "javascript:alert(1)", "http://h/m/1"] {
            assert_eq!(endpoint.resolve(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(endpoint.resolve("https://other/m").as_deref(), Some("https://other/m"));
    }

    #[test]
    fn debug_output_keeps_the_path_to_itself() {
        let endpoint = Endpoint::parse("https://h/secret").unwrap();
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://h/..)");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(https?:)?[/:@\[\].a-z0-9%?#|{}^ -]{0,60}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                let _ = (endpoint.origin(), endpoint.check(&AddressPolicy::public()), endpoint.resolve(&text));
            }
        }
    }
}
