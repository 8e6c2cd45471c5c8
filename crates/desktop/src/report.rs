//! What the desktop part does, for a user to read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::rules::Waiting;

/// An event that a user may want to know of. Its `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// The connection to the service is open.
    Connected {
        /// Host and port of the service.
        host: String,
    },
    /// The connection to the service is lost, or cannot be opened.
    Disconnected {
        /// Host and port of the service, and what failed.
        why: String,
        /// When the next attempt follows.
        retry: Duration,
    },
    /// The service reports what waits for this profile from now on.
    Followed {
        /// The folder of the profile.
        profile: PathBuf,
    },
    /// The service does not report what waits for this profile.
    NotFollowed {
        /// The folder of the profile.
        profile: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A browser was started without a window.
    Waking {
        /// The folder of the profile.
        profile: PathBuf,
        /// Its process.
        process: u32,
        /// What waits.
        waiting: Option<Waiting>,
    },
    /// The woken browser is ready for messages, and for pages.
    Awake {
        /// The folder of the profile.
        profile: PathBuf,
        /// How long after its start.
        after: Duration,
    },
    /// Messages wait, but a browser runs that does not take them.
    BrowserRuns {
        /// The folder of the profile.
        profile: PathBuf,
        /// Its process.
        process: u32,
    },
    /// A browser has ended.
    Ended {
        /// The folder of the profile.
        profile: PathBuf,
        /// How, if it is known.
        status: Option<String>,
    },
    /// A message waits, and the browser was not started.
    NotWoken {
        /// The folder of the profile.
        profile: PathBuf,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { host } => write!(f, "connected to {host}"),
            Self::Disconnected { why, retry } => write!(f, "{why}; trying again in {} s", retry.as_secs()),
            Self::Followed { profile } => write!(f, "{}: messages wake its Firefox", profile.display()),
            Self::NotFollowed { profile, why } => write!(f, "{}: {why}", profile.display()),
            Self::Waking { profile, process, waiting } => {
                let count = waiting.map_or(0, |waiting| waiting.messages);
                write!(f, "{}: {count} waiting, waking Firefox (process {process})", profile.display())
            }
            Self::Awake { profile, after } => {
                write!(f, "{}: Firefox is awake after {} ms", profile.display(), after.as_millis())
            }
            Self::BrowserRuns { profile, process } => {
                write!(f, "{}: messages wait, and Firefox runs (process {process})", profile.display())
            }
            Self::Ended { profile, status: Some(status) } => {
                write!(f, "{}: Firefox has ended ({status})", profile.display())
            }
            Self::Ended { profile, status: None } => write!(f, "{}: Firefox has ended", profile.display()),
            Self::NotWoken { profile, why } => {
                write!(f, "{}: a message waits, and Firefox could not be started: {why}", profile.display())
            }
        }
    }
}
