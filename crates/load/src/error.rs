//! Why a measurement failed, sorted by whose fault it is.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A measurement that was not carried out to its end.
#[derive(Debug, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LoadError {
    /// The caller asked for something that cannot be measured.
    #[error("{0}")]
    Usage(String),
    /// The push service did not do what a push service must.
    #[error("{0}")]
    Service(String),
    /// This machine or the load generator itself failed.
    #[error("{0}")]
    Generator(String),
}

/// The result of most functions here.
pub(crate) type Result<T, E = LoadError> = std::result::Result<T, E>;

/// Turns a foreign error, or a missing value, into one of ours: `what` failed, and why.
pub(crate) trait Blame<T> {
    /// It is the caller's fault.
    fn blame_usage(self, what: impl Display) -> Result<T>;
    /// It is the push service's fault.
    fn blame_service(self, what: impl Display) -> Result<T>;
    /// It is the fault of this machine or of the generator.
    fn blame_generator(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Blame<T> for Result<T, E> {
    fn blame_usage(self, what: impl Display) -> Result<T> {
        self.map_err(|why| LoadError::Usage(format!("{what}: {why}")))
    }

    fn blame_service(self, what: impl Display) -> Result<T> {
        self.map_err(|why| LoadError::Service(format!("{what}: {why}")))
    }

    fn blame_generator(self, what: impl Display) -> Result<T> {
        self.map_err(|why| LoadError::Generator(format!("{what}: {why}")))
    }
}

impl<T> Blame<T> for Option<T> {
    fn blame_usage(self, what: impl Display) -> Result<T> {
        self.ok_or_else(|| LoadError::Usage(what.to_string()))
    }

    fn blame_service(self, what: impl Display) -> Result<T> {
        self.ok_or_else(|| LoadError::Service(what.to_string()))
    }

    fn blame_generator(self, what: impl Display) -> Result<T> {
        self.ok_or_else(|| LoadError::Generator(what.to_string()))
    }
}
