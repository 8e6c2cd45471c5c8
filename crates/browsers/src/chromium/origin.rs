//! A web site, as Chromium's settings name it.

use std::str::FromStr;

use http::Uri;
use thiserror::Error;

/// A scheme, a host and a port: what a permission in Chromium is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Origin {
    /// As Chromium's policies have it.
    pub(super) fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }

    /// The key under which Chromium keeps what a site may do: the site, on any page that embeds it.
    pub(super) fn pattern(&self) -> String {
        format!("{},*", self.url())
    }
}

/// Why a text is not the origin of a web site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OriginError {
    /// It does not parse.
    #[error("it is not a URL")]
    Syntax,
    /// It has another scheme, or none.
    #[error("a site is https://HOST or http://localhost, with a port if it has one")]
    Scheme,
    /// It names a page and not a site.
    #[error("a permission is for a whole site: leave out what comes after the host and the port")]
    Path,
    /// It names no host.
    #[error("there is no host in it")]
    Host,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let uri: Uri = text.parse().map_err(|_| OriginError::Syntax)?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            _ => return Err(OriginError::Scheme),
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(OriginError::Path);
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(OriginError::Host)?;
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port: uri.port_u16().unwrap_or(default_port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_named_with_its_port_as_chromium_does() {
        for (text, pattern) in [
            ("https://App.Example.org", "https://app.example.org:443,*"),
            ("https://app.example.org/", "https://app.example.org:443,*"),
            ("http://localhost:8000", "http://localhost:8000,*"),
            ("http://localhost", "http://localhost:80,*"),
            ("https://[::1]:1", "https://[::1]:1,*"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().pattern(), pattern);
        }
    }

    #[test]
    fn a_text_that_is_not_a_site_is_refused_with_the_form_of_one() {
        for (text, error) in [
            ("app.example.org", OriginError::Scheme),
            ("*", OriginError::Scheme),
            ("file:///etc", OriginError::Syntax),
            ("https://app.example.org/inbox", OriginError::Path),
            ("https://app.example.org/?a", OriginError::Path),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }
}
