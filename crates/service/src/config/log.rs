//! What the program logs, and how. The program that runs the service applies it: a library has no log of its own.

use serde::Deserialize;

use super::settings::Settings;

/// The target of the access log's lines. The program leaves them out unless its filter names this target.
pub const ACCESS_LOG: &str = "doorbell_service::access";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people, or for journald.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

/// The settings of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Levels for everything and for parts of the program, with commas between.
    pub filter: String,
    /// How lines are written.
    pub format: LogFormat,
}

impl LogSettings {
    pub(super) fn from_settings(settings: &Settings) -> Self {
        let mut filter = settings.log.clone().unwrap_or_else(|| "info".to_owned());
        if settings.access_log() {
            // The last one counts, so a filter that switches the access log off does not contradict.
            filter.push_str(&format!(",{ACCESS_LOG}=info"));
        }
        Self { filter, format: settings.log_format() }
    }
}
