//! What answers to HTTP clients add: other places for the same resources.

use http::HeaderValue;

use super::error::ConfigError;
use super::settings::Settings;

/// Redirection and alternative services.
#[derive(Clone, Debug, Default)]
pub struct HttpSettings {
    /// The target of a redirect for agents that subscribe (307, RFC 8030 s7.1).
    pub subscribe_redirect: Option<HeaderValue>,
    /// The Alt-Svc field of every answer (RFC 7838, RFC 8030 s3).
    pub alt_svc: Option<HeaderValue>,
}

impl HttpSettings {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let unfit = |text: String| ConfigError::Unfit(text);
        let redirect = |url: &String| {
            let whole = url.parse::<http::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
            let value = HeaderValue::from_str(url).ok().filter(|_| whole);
            value.ok_or_else(|| unfit(format!("subscribe_redirect `{url}` is not an https URL")))
        };
        let alt_svc = |value: &String| {
            let field = HeaderValue::from_str(value).ok().filter(|_| value.contains('='));
            field.ok_or_else(|| unfit(format!("alt_svc `{value}` is not like h2=\":1001\" (RFC 7838 s3)")))
        };
        Ok(Self {
            subscribe_redirect: s.subscribe_redirect.as_ref().map(redirect).transpose()?,
            alt_svc: s.alt_svc.as_ref().map(alt_svc).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_work_as_a_header_is_refused_at_the_start() {
        let with = |redirect: Option<&str>, alt_svc: Option<&str>| {
            HttpSettings::from_settings(&Settings {
                subscribe_redirect: redirect.map(str::to_owned),
                alt_svc: alt_svc.map(str::to_owned),
                ..Settings::default()
            })
        };
        assert!(with(Some("https://b.example.org/subscribe"), Some("h2=\":1001\"")).is_ok());
        assert!(with(Some("http://b.example.org/subscribe"), None).is_err());
        assert!(with(Some("/subscribe"), None).is_err());
        assert!(with(None, Some("1001")).is_err());
    }
}
