//! What the desktop part does, for a user to read.

use std::fmt;
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;

use crate::browser::{ProfileConfig, ProfileName};
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
    /// Something of the desktop is missing: what, what does not work without it, and what to do.
    Missing(String),
    /// Messages below this urgency wake no browser from now on: the machine is on battery, or on a metered connection, or
    /// no longer.
    Floor(Urgency),
    /// A profile is kept reachable from now on.
    Added(ProfileConfig),
    /// Something happened to a profile.
    Profile {
        /// The profile.
        name: ProfileName,
        /// What happened.
        event: ProfileEvent,
    },
}

/// What happened to a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileEvent {
    /// The service reports what waits for this profile from now on.
    Followed,
    /// The service does not report what waits for this profile: why, and what to do.
    NotFollowed(String),
    /// A browser was started without a window.
    Waking {
        /// Its process.
        process: u32,
        /// What waits; `None` for one that was started without a message: to stay, or to get its credential.
        waiting: Option<Waiting>,
    },
    /// The woken browser is ready for messages, and for pages: how long after its start.
    Awake(Duration),
    /// Messages wait, but this process, a browser, works with the profile and does not take them.
    BrowserRuns(u32),
    /// A woken browser stays, although it should end when nothing is left to do: why.
    Stays(String),
    /// A browser has ended: how, if it is known.
    Ended(Option<String>),
    /// A message waits, and the browser was not started: why.
    NotWoken(String),
    /// A browser that shall stay was not started: why. A message that comes wakes it.
    NotStarted(String),
}

impl ProfileEvent {
    /// The same with the profile that it happened to.
    pub(crate) fn of(self, name: &ProfileName) -> Report {
        Report::Profile { name: name.clone(), event: self }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { host } => write!(f, "connected to {host}"),
            Self::Disconnected { why, retry } => {
                write!(f, "{why}; trying again in {} s", retry.as_millis().div_ceil(1000))
            }
            Self::Missing(what) => f.write_str(what),
            Self::Floor(floor) => {
                write!(f, "messages of urgency {} or more wake a browser from now on", floor.as_str())
            }
            Self::Added(profile) => write!(f, "{}: {} is kept reachable", profile.folder.display(), profile.browser),
            Self::Profile { name, event } => {
                write!(f, "{}: ", name.folder.display())?;
                let browser = name.browser;
                match event {
                    ProfileEvent::Followed => write!(f, "messages wake its {browser}"),
                    ProfileEvent::NotFollowed(why) => f.write_str(why),
                    ProfileEvent::Waking { process, waiting: Some(waiting) } => {
                        write!(f, "{} waiting, waking {browser} (process {process})", waiting.messages)
                    }
                    ProfileEvent::Waking { process, waiting: None } => {
                        write!(f, "starting {browser} without a window (process {process})")
                    }
                    ProfileEvent::Awake(after) => write!(f, "{browser} is awake after {} ms", after.as_millis()),
                    ProfileEvent::BrowserRuns(process) => {
                        write!(f, "messages wait, and {browser} runs (process {process})")
                    }
                    ProfileEvent::Stays(why) => write!(f, "{browser} stays: {why}"),
                    ProfileEvent::Ended(Some(status)) => write!(f, "{browser} has ended ({status})"),
                    ProfileEvent::Ended(None) => write!(f, "{browser} has ended"),
                    ProfileEvent::NotStarted(why) => write!(f, "{browser} could not be started: {why}"),
                    ProfileEvent::NotWoken(why) => {
                        write!(f, "a message waits, and {browser} could not be started: {why}")
                    }
                }
            }
        }
    }
}
