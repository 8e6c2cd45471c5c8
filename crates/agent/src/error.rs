//! What can go wrong, sorted by who can do something about it.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

/// An error of the agent. No variant carries a capability URL, a key or a payload (invariant 8).
#[derive(Debug, Error)]
pub enum Error {
    /// The caller named a service that cannot be one.
    #[error("{0:?} is not the address of a push service: it must be an https URL without user name or fragment")]
    Address(String),
    /// The caller's trusted certificates cannot be used.
    #[error("the trusted certificates in {} cannot be used: {why}", file.display())]
    Trust {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No certificate is trusted at all, so that no service could be either.
    #[error(
        "this system has no trusted certificates: install them (often a package called ca-certificates) or name a file"
    )]
    NoTrust,
    /// The profile cannot be read, written or understood.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The caller asked for what the profile does not hold.
    #[error("the profile holds no subscription at this service")]
    NotSubscribed,
    /// No key could be made.
    #[error("the system gives no random numbers")]
    Randomness,
    /// The profile is full.
    #[error("the profile holds {0} subscriptions already, and that is the most: unsubscribe some")]
    TooManySubscriptions(usize),

    /// Nobody answers there.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system said.
        why: String,
    },
    /// TLS failed, most often because the certificate is not trusted (UA-8030-3-1).
    #[error("cannot trust {host}: {why}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// What TLS said.
        why: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// An answer took too long.
    #[error("no {0} within {time} s", time = .1.as_secs())]
    Late(&'static str, Duration),

    /// The service answered with an error.
    #[error("the service answered {status}{detail}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What the service said about it, ready to be appended; empty if it said nothing.
        detail: String,
        /// When the service wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The service answered with what RFC 8030 does not allow.
    #[error("the service does not speak RFC 8030: {0}")]
    Unusable(&'static str),
}

/// Why a profile is of no use. Each says what to do.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The system refused.
    #[error("cannot {what} {}: {why}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Two agents with one profile would each lose what the other keeps.
    #[error("another agent is using the profile in {}: stop it, or name another profile", .0.display())]
    InUse(PathBuf),
    /// The file is not what was written.
    #[error(
        "{} is damaged ({why}). Bring it back from a backup; or move it away to start afresh: \
         the old subscriptions then receive nothing any more",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where it stops making sense.
        why: String,
    },
    /// The file is from the future.
    #[error("{} was written by a newer doorbell (format {format}): use that one", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u32,
    },
}

impl Error {
    /// When the service wants to be asked again, if it said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
