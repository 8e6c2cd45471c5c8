//! What is wrong with a configuration.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with a configuration, and what to do about it.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A key that does not exist.
    #[error("{path}: there is no setting `{key}`{hint}; `doorbell serve --help` lists them all")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// `: did you mean ...?`, or nothing.
        hint: String,
    },
    /// TOML that does not parse, or a value of the wrong type.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: Box<toml::de::Error>,
    },
    /// Settings that fit together, but not with those that stay until a restart.
    #[error("{source}: that is so until a restart, which these settings need: {names}")]
    NotBeforeRestart {
        /// The settings that need one.
        names: String,
        /// What does not fit.
        source: Box<ConfigError>,
    },
    /// Settings that contradict each other or are out of range.
    #[error("{0}")]
    Unfit(String),
}
