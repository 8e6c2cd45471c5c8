//! The URL of a push resource, as a subscription names it (RFC 8030 s4, s8.1): https, absolute, without credentials.

use std::net::IpAddr;

use http::Uri;
use thiserror::Error;
use url::{Host, Url};

use crate::network::AddressPolicy;
use crate::vendor::Vendor;

/// The longest endpoint, in bytes. The longest in use have about 700.
pub const ENDPOINT_MAX: usize = 4096;

/// A push resource. Anyone with its URL can send to it, so the URL is a secret (RFC 8030 s8.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    uri: Uri,
}

/// Why a URL is not an endpoint, or not one that the policy permits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Longer than [`ENDPOINT_MAX`].
    #[error("the endpoint is longer than {ENDPOINT_MAX} bytes")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("the endpoint is not an absolute URL")]
    Malformed,
    /// Not https. Plain http is accepted for a loopback address only, where no other machine can read the connection.
    #[error("the endpoint is not an https URL (http is allowed for a loopback address only)")]
    NotHttps,
    /// A user name or a password before the host.
    #[error("the endpoint carries a user name or a password")]
    Credentials,
    /// An address that the [`AddressPolicy`] does not permit. [`AddressPolicy::allow_loopback`],
    /// [`AddressPolicy::allow_private`] or [`AddressPolicy::allow`] permit one.
    #[error(
        "the endpoint is at a private, loopback or otherwise special address, which AddressPolicy does not permit: use \
         AddressPolicy::allow_loopback, AddressPolicy::allow_private or AddressPolicy::allow if it is yours"
    )]
    Address,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// If it is not an absolute https URL, has credentials, or is longer than [`ENDPOINT_MAX`].
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
        // Letters outside ASCII become longer in the form that is sent.
        if url.as_str().len() > ENDPOINT_MAX {
            return Err(EndpointError::TooLong);
        }
        let uri = url.as_str().parse().map_err(|_| EndpointError::Malformed)?;
        Ok(Self { url, uri })
    }

    /// Checks the address in the URL, if it has one, against `policy`. [`Client`](crate::client::Client) also checks the
    /// addresses that a name resolves to; a caller with another HTTP client must do that itself.
    ///
    /// # Errors
    /// [`EndpointError::Address`].
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

    /// The vendor whose browsers have such endpoints.
    pub fn vendor(&self) -> Option<Vendor> {
        Vendor::of_host(self.url.domain()?)
    }

    /// The URL that `reference`, for example a Location, means in an answer of this endpoint; `None` if its scheme is not
    /// https (`file:`, `javascript:`).
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

    /// Whether there is nothing after the origin.
    pub(crate) fn is_origin(&self) -> bool {
        self.url.path() == "/" && self.url.query().is_none()
    }

    /// The URL as the target of a request.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host, if it is an address. The URL parser has already normalized forms such as `0x7f.1`.
    fn address(&self) -> Option<IpAddr> {
        address(&self.url)
    }
}

/// Shows the origin only: the path is a secret.
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
    fn https_is_accepted_and_http_only_on_the_machine_itself_as_ssrf_1() {
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
    fn an_address_in_any_spelling_is_checked_as_what_it_reaches_as_ssrf_1() {
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
    fn debug_output_does_not_show_the_path() {
        let endpoint = Endpoint::parse("https://h/secret").unwrap();
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://h/..)");
    }

    #[test]
    fn a_rejected_address_names_the_option_that_allows_it() {
        let text = EndpointError::Address.to_string();
        for option in ["allow_loopback", "allow_private", "AddressPolicy::allow "] {
            assert!(text.contains(option), "{text}");
        }
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
