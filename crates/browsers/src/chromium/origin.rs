//! A web site, as Chromium's settings name it.

use std::str::FromStr;

use http::Uri;

/// A scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Origin {
    /// What Chromium's policies take.
    pub(super) fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }

    /// The key under which Chromium keeps what a site may do: the site, on whatever page it is embedded.
    pub(super) fn pattern(&self) -> String {
        format!("{},*", self.url())
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| format!("{text:?} is not a URL"))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            _ => return Err("a site is https://HOST or http://localhost, with a port if it has one".to_owned()),
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err("a permission is for a whole site: leave out what comes after the host and the port".to_owned());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("there is no host in it")?;
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
    fn what_is_no_site_is_refused_with_what_one_is() {
        for (text, hint) in [
            ("app.example.org", "a site is https://HOST"),
            ("*", "a site is https://HOST"),
            ("file:///etc", "not a URL"),
            ("https://app.example.org/inbox", "for a whole site"),
            ("https://app.example.org/?a", "for a whole site"),
        ] {
            let error = text.parse::<Origin>().unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
