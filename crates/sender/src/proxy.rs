//! The HTTP proxy of a network that has no other way out (CONNECT, RFC 9110 s9.3.6).

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use thiserror::Error;

use crate::endpoint::Endpoint;

/// Where the environment names a proxy: the first one that is not empty counts.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// A proxy through which [`Client`](crate::client::Client) connects. It sees the host and the port of the push service,
/// and not the messages. It resolves the names, so the [`AddressPolicy`](crate::network::AddressPolicy) judges only
/// addresses that an endpoint itself contains: let the proxy refuse private ones.
#[derive(Clone)]
pub struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

/// Why there is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// The text is not a URL.
    #[error("the proxy is not one such as http://proxy.example:3128")]
    Malformed,
    /// SOCKS, or another scheme.
    #[error("the proxy is not an HTTP proxy (http://… or https://…)")]
    Scheme,
}

impl Proxy {
    /// Reads `http://[USER:PASSWORD@]HOST:PORT`, or the same with https.
    ///
    /// # Errors
    /// If the text is not the URL of an HTTP proxy.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        Self::choose(text, "", &Uri::from_static("https://any.invalid")).and_then(|it| it.ok_or(ProxyError::Malformed))
    }

    /// What the environment names for `endpoint`, as curl reads it: HTTPS_PROXY or ALL_PROXY unless NO_PROXY excepts the
    /// host, in small letters before capital ones. An endpoint on this machine needs none.
    ///
    /// # Errors
    /// If a variable is not the URL of an HTTP proxy.
    pub fn from_environment(endpoint: &Endpoint) -> Result<Option<Self>, ProxyError> {
        if endpoint.is_loopback() {
            return Ok(None);
        }
        let first = |names: &[&str]| names.iter().filter_map(|name| std::env::var(name).ok()).find(|it| !it.is_empty());
        let Some(proxy) = first(&VARIABLES) else { return Ok(None) };
        // Without exceptions every endpoint goes through the proxy.
        Self::choose(&proxy, &first(&EXCEPTIONS).unwrap_or_default(), endpoint.uri())
    }

    /// `http://HOST:PORT`, without the password.
    pub fn origin(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_owned()
    }

    fn choose(proxy: &str, exceptions: &str, target: &Uri) -> Result<Option<Self>, ProxyError> {
        let of = |proxy: &str, no: &str| Matcher::builder().all(proxy).no(no).build();
        if of("http://any.invalid", exceptions).intercept(target).is_none() {
            return Ok(None);
        }
        // The matcher drops what it cannot read, which would mean a direct connection.
        let chosen = of(proxy.trim(), "").intercept(target).ok_or(ProxyError::Malformed)?;
        if !matches!(chosen.uri().scheme_str(), Some("http" | "https")) {
            return Err(ProxyError::Scheme);
        }
        Ok(Some(Self { uri: chosen.uri().clone(), authorization: chosen.basic_auth().cloned() }))
    }

    /// The host, as the resolver gets it.
    pub(crate) fn host(&self) -> Option<&str> {
        self.uri.host()
    }

    /// The same for the HTTP client, for every request.
    pub(crate) fn for_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(self.uri.to_string())?;
        Ok(match &self.authorization {
            Some(authorization) => proxy.custom_http_auth(authorization.clone()),
            None => proxy,
        })
    }
}

/// Shows no password.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(proxy: &str, exceptions: &str) -> Result<Option<String>, ProxyError> {
        let target = Uri::from_static("https://push.example.net:8443/p/x");
        Proxy::choose(proxy, exceptions, &target).map(|proxy| proxy.map(|proxy| proxy.origin()))
    }

    #[test]
    fn a_proxy_is_taken_unless_the_host_is_excepted() {
        let taken = Ok(Some("http://proxy.corp:3128".to_owned()));
        for exceptions in ["", "example.org", "push.example.net.corp, 10.0.0.0/8"] {
            assert_eq!(chosen("http://proxy.corp:3128", exceptions), taken, "{exceptions}");
        }
        for exceptions in ["*", "example.net", ".example.net", "localhost, push.example.net"] {
            assert_eq!(chosen("http://proxy.corp:3128", exceptions), Ok(None), "{exceptions}");
            assert_eq!(chosen("socks5://proxy.corp:1080", exceptions), Ok(None), "it is not used: {exceptions}");
        }
        assert_eq!(chosen("proxy.corp:3128", ""), taken, "as curl reads it");
    }

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let proxy = Proxy::parse("http://ops:secret@proxy.corp:3128").unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic b3BzOnNlY3JldA==");
        assert_eq!(format!("{proxy:?} {}", proxy.origin()), "Proxy(http://proxy.corp:3128) http://proxy.corp:3128");
    }

    #[test]
    fn what_is_not_an_http_proxy_is_an_error_and_not_a_direct_connection() {
        for (text, error) in [
            ("socks5://proxy.corp:1080", ProxyError::Scheme),
            ("ftp://proxy.corp", ProxyError::Malformed),
            ("http://", ProxyError::Malformed),
            ("a b", ProxyError::Malformed),
        ] {
            assert_eq!(chosen(text, ""), Err(error), "{text}");
        }
    }
}
