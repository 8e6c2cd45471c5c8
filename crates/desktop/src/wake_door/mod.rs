//! The client of the service's wake door: one connection, on it one `GET /wake` per profile.

mod connection;
mod events;
mod stream;
mod trust;

use std::path::PathBuf;
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use crate::error::DesktopError;
use crate::report::Report;
use crate::rules::Waiting;

use connection::Connector;
use stream::Stream;

pub use trust::Trust;

/// The first wait after a connection or a stream broke; it doubles up to [`RETRY_MAX`], and a random share is taken.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A connection or a stream that held this long shows that the next one is worth an attempt soon.
const STABLE: Duration = Duration::from_secs(60);
/// Events that a profile has not read yet: each replaces the one before, so that few are enough.
const EVENTS_MAX: usize = 8;

/// What the service reports of one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoorEvent {
    /// Messages wait, and the browser is not connected or does not acknowledge.
    Waiting(Waiting),
    /// No message waits, or the browser is connected.
    Quiet,
    /// The stream has ended: what was reported is no longer known.
    Lost,
}

/// Where events of one profile come from and go to.
pub(crate) struct Follower {
    profile: PathBuf,
    events: mpsc::Sender<DoorEvent>,
}

impl Follower {
    /// For the profile in this folder, and the other end.
    pub(crate) fn of(profile: PathBuf) -> (Self, mpsc::Receiver<DoorEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        (Self { profile, events }, receiver)
    }
}

/// The wake door of one service.
pub(crate) struct WakeDoor {
    connector: Connector,
    floor: Urgency,
    reports: mpsc::Sender<Report>,
}

impl WakeDoor {
    /// The door of the service at `url`. Messages below `floor` wake no browser.
    pub(crate) fn new(
        url: Url,
        trust: Trust,
        floor: Urgency,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, DesktopError> {
        Ok(Self { connector: Connector::new(url, trust)?, floor, reports })
    }

    /// Holds the streams of all `followers`, and connects again as often as the connection breaks.
    pub(crate) async fn follow(self, followers: Vec<Follower>) {
        let mut retry = Retry::default();
        loop {
            let clock = crate::clock::Clock::start();
            let error = match self.connector.connect().await {
                Ok(connection) => {
                    self.report(Report::Connected { host: self.connector.host() }).await;
                    let mut streams = JoinSet::new();
                    for follower in &followers {
                        let stream = Stream::new(&self.connector, connection.requests(), self.floor);
                        let profile = follower.profile.clone();
                        streams.spawn(stream.hold(profile, follower.events.clone(), self.reports.clone()));
                    }
                    // Dropped, the set ends the streams.
                    connection.broken(&mut streams).await
                }
                Err(error) => error,
            };
            for follower in &followers {
                // The other end may be gone when the program ends.
                follower.events.send(DoorEvent::Lost).await.ok();
            }
            let wait = retry.after(clock.now());
            self.report(Report::Disconnected { why: error.to_string(), retry: wait }).await;
            tokio::time::sleep(wait).await;
        }
    }

    async fn report(&self, report: Report) {
        self.reports.send(report).await.ok();
    }
}

/// How long to wait before trying again.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

impl Retry {
    /// After something that held for `held`.
    fn after(&mut self, held: Duration) -> Duration {
        self.failures = if held >= STABLE { 1 } else { self.failures.saturating_add(1) };
        self.bound().mul_f64(fastrand::f64())
    }

    fn bound(&self) -> Duration {
        RETRY_FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(31)).min(RETRY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_with_each_failure_and_begins_anew_after_something_that_held() {
        let mut retry = Retry::default();
        let bounds: Vec<u64> = (0..9)
            .map(|_| {
                assert!(retry.after(Duration::ZERO) <= RETRY_MAX);
                retry.bound().as_secs()
            })
            .collect();
        assert_eq!(bounds, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        retry.after(STABLE);
        assert_eq!(retry.bound(), RETRY_FIRST);
    }
}
