//! How Firefox's WebSocket protocol is served.

use std::time::Duration;

use doorbell_protocol::firefox::Broadcasts;

use super::compat::Compat;
use super::error::ConfigError;
use super::settings::Settings;

/// The door of Firefox, KDE's KUnifiedPush and Android's Sunup.
#[derive(Clone, Debug)]
pub struct FirefoxSettings {
    /// Whether it is open.
    pub enabled: bool,
    /// A second path besides `/`.
    pub path: Option<String>,
    /// An idle socket is pinged at this interval; `None`: never.
    pub ping_interval: Option<Duration>,
    /// The broadcasts that clients can follow.
    pub broadcasts: Broadcasts,
    /// Whether a client that follows a broadcast that is not there gets an error for it, as Mozilla's service sends it.
    pub reports_unknown_broadcasts: bool,
}

/// The name that is no broadcast's: errors stand beside the broadcasts under it.
const ERRORS: &str = "errors";

impl FirefoxSettings {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let unfit = |text: String| ConfigError::Unfit(text);
        let path = |path: &String| {
            let whole =
                path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok_and(|p| p.path() == path);
            let taken = ["/subscribe", "/errors", "/checkin", "/c2dm/register3"].contains(&path.as_str());
            if whole && !taken {
                Ok(path.clone())
            } else {
                Err(unfit(format!("firefox_path `{path}` is not an absolute path, or is already in use")))
            }
        };
        let broadcast = |text: &String| {
            let parts = text.split_once('=').filter(|(id, _)| !id.is_empty());
            let owned = parts.map(|(id, version)| (id.to_owned(), version.to_owned()));
            let owned = owned.filter(|(id, _)| id != ERRORS);
            owned.ok_or_else(|| {
                unfit(format!("firefox_broadcasts: `{text}` is not ID=VERSION, or its ID is `{ERRORS}`"))
            })
        };
        let ping_secs = s.firefox_ping_secs();
        Ok(Self {
            enabled: s.firefox(),
            path: s.firefox_path.as_ref().map(path).transpose()?,
            ping_interval: (ping_secs > 0).then(|| Duration::from_secs(ping_secs)),
            broadcasts: s.firefox_broadcasts.iter().flatten().map(broadcast).collect::<Result<_, _>>()?,
            reports_unknown_broadcasts: s.compat() == Compat::Mozilla,
        })
    }

    /// Whether a WebSocket is served at `path`.
    pub fn serves(&self, path: &str) -> bool {
        self.enabled && (path == "/" || self.path.as_deref() == Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: Option<&str>, broadcasts: &[&str]) -> Result<FirefoxSettings, ConfigError> {
        FirefoxSettings::from_settings(&Settings {
            firefox_path: path.map(str::to_owned),
            firefox_broadcasts: Some(broadcasts.iter().map(|text| (*text).to_owned()).collect()),
            ..Settings::default()
        })
    }

    #[test]
    fn it_is_open_at_the_root_and_at_the_path_that_was_given() {
        let settings = with(Some("/push"), &[]).unwrap();
        assert!(settings.serves("/") && settings.serves("/push"));
        assert!(!settings.serves("/push/") && !settings.serves("/subscribe"));
        for path in ["push", "/a b", "/push?x", "/subscribe"] {
            assert!(with(Some(path), &[]).is_err(), "{path}");
        }
    }

    #[test]
    fn broadcasts_are_ids_and_versions_and_anything_else_is_refused_fx_9() {
        let settings = with(None, &["remote-settings/monitor_changes=\"168\"", "a=b=c"]).unwrap();
        assert_eq!(settings.broadcasts["remote-settings/monitor_changes"], "\"168\"");
        assert_eq!(settings.broadcasts["a"], "b=c");
        assert!(with(None, &["a"]).is_err());
        assert!(with(None, &["=a"]).is_err());
        assert!(with(None, &["errors=a"]).is_err());
    }
}
