//! The configuration: flags over environment over TOML file over defaults, checked as a whole before anything starts.

mod chromium;
mod error;
mod file;
mod firefox;
mod http;
mod limits;
mod origin;
mod place;
mod settings;

use std::path::{Path, PathBuf};

pub use chromium::ChromiumSettings;
pub use error::ConfigError;
pub use file::suggest;
pub use firefox::FirefoxSettings;
pub use http::HttpSettings;
pub use limits::Limits;
pub use origin::Origin;
pub use place::{Place, TlsSource};
pub use settings::Settings;

/// A configuration that fits together.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the service listens, and how it is reached.
    pub place: Place,
    /// The directory of all that must survive a restart.
    pub state_dir: PathBuf,
    /// The bounds of everything.
    pub limits: Limits,
    /// What HTTP clients are told beside their answers.
    pub http: HttpSettings,
    /// How Firefox's protocol is served.
    pub firefox: FirefoxSettings,
    /// How Chromium's protocol is served.
    pub chromium: ChromiumSettings,
    /// Whether a VAPID token must name our origin with its port (RFC 8292 s2).
    pub strict_audience: bool,
}

impl Config {
    /// Lays `given` (flags and environment) over the file, if there is one, and checks the whole.
    pub fn load(given: Settings, file: Option<&Path>) -> Result<Self, ConfigError> {
        let below = file.map(file::read).transpose()?.unwrap_or_default();
        Self::from_settings(given.over(below))
    }

    /// Checks settings and fills in the defaults.
    pub fn from_settings(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            place: Place::from_settings(&settings)?,
            limits: Limits::from_settings(&settings)?,
            http: HttpSettings::from_settings(&settings)?,
            firefox: FirefoxSettings::from_settings(&settings)?,
            chromium: ChromiumSettings::from_settings(&settings)?,
            strict_audience: settings.strict_audience.unwrap_or(false),
            state_dir: settings.state_dir.or_else(default_state_dir).ok_or_else(|| {
                ConfigError::Unfit("there is no home directory to keep state in; give --state-dir".into())
            })?,
        })
    }
}

/// `$XDG_STATE_HOME/doorbell`, or `~/.local/state/doorbell`.
pub fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("doorbell"))
}
