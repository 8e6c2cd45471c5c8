//! What the desktop part is doing and did last, for `doorbell desktop status`: no contents and no addresses of messages.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::browser::{Mode, ProfileConfig, ProfileName};
use crate::clock::unix_seconds;
use crate::report::{ProfileEvent, Report};

const HOUR: u64 = 3600;
/// Wakes that are remembered: more than one hour allows.
const WAKES_MAX: usize = 64;

/// The state of a desktop part. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub process: u32,
    /// The origin of the push service.
    pub service: String,
    /// When it was started.
    pub since: u64,
    /// Whether it is connected.
    pub connection: Connection,
    /// Messages below this urgency wake no browser now, where the battery or the network asks for more than the settings.
    pub urgency: Option<String>,
    /// What of the session cannot be used, and what that means.
    pub missing: Vec<String>,
    /// Its profiles.
    pub profiles: Vec<ProfileStatus>,
}

/// The connection to the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// None was open yet.
    Connecting,
    /// It is open.
    Connected {
        /// Since when.
        since: u64,
    },
    /// It is lost, or was not opened.
    Lost {
        /// Since when.
        since: u64,
        /// What failed last.
        why: String,
        /// When the next attempt follows.
        retry: u64,
    },
}

/// The state of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStatus {
    /// Browser and folder.
    pub name: ProfileName,
    /// Whether its browser stays.
    pub mode: Mode,
    /// Whether the service reports what waits for it.
    pub followed: Followed,
    /// The process of its browser, if the desktop part knows one.
    pub process: Option<u32>,
    /// Its last wakes, the oldest first.
    pub wakes: VecDeque<Wake>,
    /// What failed last.
    pub failure: Option<Failure>,
}

/// Whether the service reports what waits for a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Followed {
    /// That is not known yet.
    Unknown,
    /// It does.
    Yes,
    /// It does not: why, and what to do.
    No(String),
}

/// A browser was started because a message waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// When.
    pub at: u64,
    /// How long it took until the browser was ready, in milliseconds, if it became ready.
    pub ready_ms: Option<u64>,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: u64,
    /// What, and what to do.
    pub why: String,
}

impl Status {
    /// A desktop part that has just been started for the service at `service`.
    pub fn new(service: String) -> Self {
        Self {
            process: std::process::id(),
            service,
            since: unix_seconds(),
            connection: Connection::Connecting,
            urgency: None,
            missing: Vec::new(),
            profiles: Vec::new(),
        }
    }

    /// Takes note of what is reported.
    pub fn note(&mut self, report: &Report) {
        self.note_at(report, unix_seconds());
    }

    /// A profile of the settings is not kept reachable: why, and what to do.
    pub fn not_added(&mut self, profile: &ProfileConfig, why: String) {
        let status = self.profile(&profile.name(), profile.mode);
        status.followed = Followed::No(why);
    }

    fn note_at(&mut self, report: &Report, now: u64) {
        match report {
            Report::Connected { .. } => self.connection = Connection::Connected { since: now },
            Report::Disconnected { why, retry } => {
                // An attempt that fails again does not begin the outage anew.
                let since = if let Connection::Lost { since, .. } = self.connection { since } else { now };
                self.connection = Connection::Lost { since, why: why.clone(), retry: now + retry.as_secs() };
                for profile in &mut self.profiles {
                    if profile.followed == Followed::Yes {
                        profile.followed = Followed::Unknown;
                    }
                }
            }
            Report::Added(profile) => {
                self.profile(&profile.name(), profile.mode).followed = Followed::Unknown;
            }
            Report::Missing(what) => self.missing.push(what.clone()),
            Report::Floor(floor) => self.urgency = Some(floor.to_string()),
            Report::Profile { name, event } => self.profile(name, Mode::Woken).note(event, now),
        }
    }

    fn profile(&mut self, name: &ProfileName, mode: Mode) -> &mut ProfileStatus {
        let index = self.profiles.iter().position(|profile| profile.name == *name).unwrap_or_else(|| {
            let (name, wakes) = (name.clone(), VecDeque::new());
            let unknown = Followed::Unknown;
            self.profiles.push(ProfileStatus { name, mode, followed: unknown, process: None, wakes, failure: None });
            self.profiles.len() - 1
        });
        &mut self.profiles[index]
    }
}

impl ProfileStatus {
    fn note(&mut self, event: &ProfileEvent, now: u64) {
        match event {
            ProfileEvent::Followed => self.followed = Followed::Yes,
            ProfileEvent::NotFollowed(why) => self.followed = Followed::No(why.clone()),
            ProfileEvent::Waking { process, waiting } => {
                self.process = Some(*process);
                if waiting.is_some() {
                    if self.wakes.len() == WAKES_MAX {
                        self.wakes.pop_front();
                    }
                    self.wakes.push_back(Wake { at: now, ready_ms: None });
                }
            }
            ProfileEvent::Awake(after) => {
                if let Some(wake) = self.wakes.back_mut() {
                    wake.ready_ms.get_or_insert(after.as_millis().try_into().unwrap_or(u64::MAX));
                }
            }
            ProfileEvent::BrowserRuns(process) => self.process = Some(*process),
            ProfileEvent::Ended(_) => self.process = None,
            ProfileEvent::NotWoken(why) | ProfileEvent::NotStarted(why) | ProfileEvent::Stays(why) => {
                self.failure = Some(Failure { at: now, why: why.clone() })
            }
        }
    }

    fn lines(&self, f: &mut fmt::Formatter<'_>, now: u64) -> fmt::Result {
        let ProfileName { browser, folder } = &self.name;
        let mode = if self.mode == Mode::Resident { ", stays" } else { "" };
        writeln!(f, "\n{browser}{mode}: {}", folder.display())?;
        match &self.followed {
            Followed::Yes => writeln!(f, "  a message wakes it")?,
            Followed::Unknown => writeln!(f, "  not yet: the service has not answered for it")?,
            Followed::No(why) => writeln!(f, "  no message wakes it: {why}")?,
        }
        if let Some(process) = self.process {
            writeln!(f, "  it runs (process {process})")?;
        }
        if let Some(wake) = self.wakes.back() {
            let ready = wake.ready_ms.map_or_else(String::new, |ms| format!(", ready after {ms} ms"));
            let hour = self.wakes.iter().filter(|wake| now.saturating_sub(wake.at) < HOUR).count();
            writeln!(f, "  last woken {}{ready}; {hour} in the last hour", ago(now, wake.at))?;
        }
        if let Some(failure) = &self.failure {
            writeln!(f, "  failed {}: {}", ago(now, failure.at), failure.why)?;
        }
        Ok(())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = unix_seconds();
        writeln!(f, "runs       process {}, started {}", self.process, ago(now, self.since))?;
        write!(f, "service    {}, ", self.service)?;
        match &self.connection {
            _ if self.profiles.is_empty() => {
                writeln!(f, "not connected: there is no profile to wait for")?;
            }
            Connection::Connecting => writeln!(f, "not connected yet")?,
            Connection::Connected { since } => writeln!(f, "connected {}", since_when(now, *since))?,
            Connection::Lost { since, why, retry } => {
                let next = retry.saturating_sub(now);
                writeln!(f, "not connected {}: {why}; next attempt in {next} s", since_when(now, *since))?;
            }
        }
        if let Some(urgency) = &self.urgency {
            writeln!(f, "urgency    {urgency} or greater wakes a browser")?;
        }
        self.missing.iter().try_for_each(|what| writeln!(f, "missing    {what}"))?;
        self.profiles.iter().try_for_each(|profile| profile.lines(f, now))
    }
}

fn ago(now: u64, then: u64) -> String {
    format!("{} ago", span(now.saturating_sub(then)))
}

fn since_when(now: u64, then: u64) -> String {
    format!("for {}", span(now.saturating_sub(then)))
}

/// A time span, as exact as a reader needs it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use doorbell_protocol::headers::urgency::Urgency;

    use super::*;
    use crate::browser::Browser;
    use crate::rules::Waiting;

    fn name() -> ProfileName {
        ProfileName { browser: Browser::Firefox, folder: "/profiles/alice".into() }
    }

    fn status() -> Status {
        Status::new("https://push.example.org".to_owned())
    }

    fn waking() -> Report {
        let waiting = Some(Waiting { messages: 1, urgency: Urgency::Normal, since_ms: 1 });
        ProfileEvent::Waking { process: 7, waiting }.of(&name())
    }

    #[test]
    fn the_last_wake_and_those_of_the_last_hour_are_shown() {
        let mut status = status();
        let now = unix_seconds();
        for at in [now - 4000, now - 3000, now - 60] {
            status.note_at(&waking(), at);
        }
        status.note_at(&ProfileEvent::Awake(Duration::from_millis(812)).of(&name()), now - 59);
        let text = status.to_string();
        assert!(text.contains("last woken 60 s ago, ready after 812 ms; 2 in the last hour"), "{text}");
        assert!(text.contains("it runs (process 7)"), "{text}");
        status.note_at(&ProfileEvent::Ended(None).of(&name()), now);
        assert!(!status.to_string().contains("it runs"), "{status}");
    }

    #[test]
    fn what_failed_is_shown_with_what_to_do() {
        let mut status = status();
        status.note(&ProfileEvent::NotWoken("cannot write /x: no space; free some".to_owned()).of(&name()));
        status.note(&ProfileEvent::NotFollowed("start its Firefox once".to_owned()).of(&name()));
        let text = status.to_string();
        assert!(text.contains("failed 0 s ago: cannot write /x: no space; free some"), "{text}");
        assert!(text.contains("no message wakes it: start its Firefox once"), "{text}");
    }

    #[test]
    fn an_outage_begins_with_the_first_failure_and_a_profile_is_followed_anew_after_it() {
        let mut status = status();
        status.note_at(&Report::Connected { host: "h".to_owned() }, 1);
        status.note_at(&ProfileEvent::Followed.of(&name()), 1);
        for at in [10, 20] {
            let why = format!("refused at {at}");
            status.note_at(&Report::Disconnected { why, retry: Duration::from_secs(5) }, at);
        }
        let lost = Connection::Lost { since: 10, why: "refused at 20".to_owned(), retry: 25 };
        assert_eq!(status.connection, lost);
        assert_eq!(status.profiles[0].followed, Followed::Unknown);
    }

    #[test]
    fn a_site_that_wakes_again_and_again_does_not_make_it_grow() {
        let mut status = status();
        (0..1000).for_each(|at| status.note_at(&waking(), at));
        assert_eq!(status.profiles[0].wakes.len(), WAKES_MAX);
    }
}
