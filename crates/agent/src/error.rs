//! What can fail, sorted by who can do something about it.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

/// An error of the agent. No variant carries a capability URL, a key or a payload, so that it can be logged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller named a service by what is not its address.
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
    /// No certificate is trusted at all, so no service could be.
    #[error(
        "this system has no trusted certificates: install them (often a package called ca-certificates) or name a file"
    )]
    NoTrust,
    /// The profile cannot be read, written or understood.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The profile holds no subscription, and there is no handle that could add one.
    #[error("the profile holds no subscription at this service")]
    NotSubscribed,
    /// No key could be generated.
    #[error("the system provides no random numbers")]
    Randomness,
    /// The profile is full.
    #[error("the profile holds {0} subscriptions already, and that is the most: unsubscribe some")]
    TooManySubscriptions(usize),
    /// The service does not delete what it should, and the profile cannot hold more of it.
    #[error("{0} resources are to be deleted at the service already, and that is the most: try again later")]
    TooManyDeletions(usize),
    /// The call was interrupted.
    #[error("the runtime shut down during the call")]
    Shutdown,

    /// No server answers there.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The error of the system.
        why: String,
    },
    /// TLS failed, most often because the certificate is not trusted (RFC 8030 s3).
    #[error("cannot trust {host}: {why}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// The error of TLS.
        why: String,
    },
    /// The server offers no HTTP/2.
    #[error(
        "{host} offers HTTP/1.1 only, and user agents receive over HTTP/2: let the proxy in front of the service offer it \
         to clients (nginx: listen 443 ssl http2; HAProxy: alpn h2,http/1.1; Apache: Protocols h2 http/1.1), or pass TCP \
         through"
    )]
    WithoutHttp2 {
        /// Host and port.
        host: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// An answer took too long.
    #[error("no {0} within {time} s", time = .1.as_secs())]
    Timeout(&'static str, Duration),

    /// The service answered with an error.
    #[error("the service answered {status}{detail}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The service's explanation, ready to be appended; empty if it sent none.
        detail: String,
        /// How long the service wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// 404 or 410, and not in the form of Doorbell: most likely a proxy answers while the service is away. Nothing is
    /// concluded from it. At a push service of another kind it can mean that the subscription is gone.
    #[error(
        "{status}, which is not this push service's own answer: a proxy answers in its place, or its address is wrong"
    )]
    Stranger {
        /// The status.
        status: StatusCode,
        /// How long the client is to wait.
        retry_after: Option<Duration>,
    },
    /// The service answered with what RFC 8030 does not allow.
    #[error("the service does not follow RFC 8030: {0}")]
    Unusable(&'static str),
}

/// Why a profile cannot be used. Each message names the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The system reported an error.
    #[error("cannot {what} {}: {why}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The error of the system.
        why: std::io::Error,
    },
    /// Two agents with one profile would each lose what the other keeps.
    #[error("another agent is using the profile in {}: stop it, or name another profile", .0.display())]
    InUse(PathBuf),
    /// The file is not as it was written.
    #[error(
        "{} is damaged ({why}). Restore it from a backup; or move it away to start anew: \
         the old subscriptions then receive nothing any more",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The first error in it.
        why: String,
    },
    /// The file is of a newer version.
    #[error("{} was written by a newer doorbell (format {format}): use that one", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u32,
    },
}

impl Error {
    /// Whether it is an error of the network, of the service, or of what is in between, which can end without a change
    /// here.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Lost(_) | Self::Timeout(..) => true,
            Self::WithoutHttp2 { .. } => true,
            Self::Refused { .. } | Self::Stranger { .. } | Self::Unusable(_) => true,
            Self::Address(_) | Self::Trust { .. } | Self::NoTrust | Self::Profile(_) | Self::NotSubscribed => false,
            Self::Randomness | Self::TooManySubscriptions(_) | Self::TooManyDeletions(_) | Self::Shutdown => false,
        }
    }

    /// Whether an answer is wrong or missing: the connection works.
    pub(crate) fn is_of_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Stranger { .. } | Self::Unusable(_) | Self::Timeout("answer", _))
    }

    /// How long the service wants to be left alone, if it sent that.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Stranger { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
