//! The client of the service's wake door: one connection, on it one `GET /wake` per profile.

mod connection;
mod events;
mod stream;
mod trust;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use h2::client::SendRequest;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use url::Url;

use crate::browser::ProfileName;
use crate::clock::Clock;
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

/// What the service reports of one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoorEvent {
    /// The service is connected, and reports anew what it knows.
    Connected,
    /// A stream is open for the profile, and nothing waits as long as nothing else is reported.
    Followed,
    /// Messages wait, and the browser is not connected or does not acknowledge.
    Waiting(Waiting),
    /// No message waits, or the browser is connected.
    Quiet,
    /// The stream has ended: what was reported is no longer known.
    Lost,
}

/// What the connection is asked for while it is held.
#[derive(Debug)]
pub(crate) enum DoorCommand {
    /// One more profile.
    Follow(Follower),
    /// The network has changed: the connection may be dead without showing it.
    Reconnect,
    /// Messages below this urgency wake no browser from now on.
    Floor(Urgency),
}

/// Where events of one profile come from and go to.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    profile: ProfileName,
    /// The last event, which replaces the one before: a profile that is busy keeps no other one from its events.
    events: watch::Sender<DoorEvent>,
    /// Notified when the profile may have got another credential.
    credential: Arc<Notify>,
}

impl Follower {
    /// For this profile, and the other end.
    pub(crate) fn of(profile: ProfileName, credential: Arc<Notify>) -> (Self, watch::Receiver<DoorEvent>) {
        let (events, receiver) = watch::channel(DoorEvent::Lost);
        (Self { profile, events, credential }, receiver)
    }

    fn send(&self, event: DoorEvent) {
        // The other end is gone when the program ends.
        self.events.send(event).ok();
    }
}

/// The wake door of one service.
pub(crate) struct WakeDoor {
    connector: Connector,
    floor: Urgency,
    followers: Vec<Follower>,
    reports: mpsc::Sender<Report>,
}

/// Why a connection is no longer held.
enum End {
    /// It broke, or was not opened.
    Broken(DesktopError),
    /// Another one shall take its place at once.
    Renewed,
    /// The program ends.
    Closed,
}

impl WakeDoor {
    /// The door of the service at `url`. Messages below `floor` wake no browser.
    pub(crate) fn new(
        url: Url,
        trust: Trust,
        floor: Urgency,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, DesktopError> {
        Ok(Self { connector: Connector::new(url, trust)?, floor, followers: Vec::new(), reports })
    }

    /// Holds the streams of all profiles, and connects again as often as the connection breaks, until `commands` ends.
    pub(crate) async fn follow(mut self, mut commands: mpsc::Receiver<DoorCommand>) {
        let mut retry = Retry::default();
        let mut wait = Duration::ZERO;
        while self.rest(wait, &mut commands).await {
            let clock = Clock::start();
            let end = self.connection(&mut commands).await;
            for follower in &self.followers {
                follower.send(DoorEvent::Lost);
            }
            wait = match end {
                End::Broken(error) => {
                    let wait = retry.after(clock.now());
                    self.report(Report::Disconnected { why: error.to_string(), retry: wait }).await;
                    wait
                }
                End::Renewed => Duration::ZERO,
                End::Closed => return,
            };
        }
    }

    /// Waits before the next attempt, and until there is a profile: without one there is nothing to connect for. `false`
    /// if `commands` has ended.
    async fn rest(&mut self, wait: Duration, commands: &mut mpsc::Receiver<DoorCommand>) -> bool {
        let clock = Clock::start();
        let mut renewed = false;
        while self.followers.is_empty() || (clock.now() < wait && !renewed) {
            let moment = (!self.followers.is_empty()).then_some(wait);
            tokio::select! {
                () = clock.reaches(moment) => {}
                command = commands.recv() => match command {
                    Some(DoorCommand::Follow(follower)) => self.followers.push(follower),
                    Some(DoorCommand::Floor(floor)) => self.floor = floor,
                    Some(DoorCommand::Reconnect) => renewed = true,
                    None => return false,
                },
            }
        }
        true
    }

    /// One connection: opened, and held until it breaks.
    async fn connection(&mut self, commands: &mut mpsc::Receiver<DoorCommand>) -> End {
        let connection = match self.connector.connect().await {
            Ok(connection) => connection,
            Err(error) => return End::Broken(error),
        };
        self.report(Report::Connected { host: self.connector.host() }).await;
        let requests = connection.requests();
        let mut broken = pin!(connection.broken());
        // Dropped, the set ends the streams.
        let mut streams = self.streams(&requests);
        loop {
            tokio::select! {
                error = &mut broken => return End::Broken(error),
                Some(_) = streams.join_next() => return End::Broken(self.connector.takes_no_more()),
                command = commands.recv() => match command {
                    Some(DoorCommand::Follow(follower)) => {
                        streams.spawn(self.stream(&requests, &follower));
                        self.followers.push(follower);
                    }
                    Some(DoorCommand::Floor(floor)) if floor == self.floor => {}
                    Some(DoorCommand::Floor(floor)) => {
                        self.floor = floor;
                        streams = self.streams(&requests);
                    }
                    Some(DoorCommand::Reconnect) => return End::Renewed,
                    None => return End::Closed,
                },
            }
        }
    }

    fn streams(&self, requests: &SendRequest<Bytes>) -> JoinSet<()> {
        self.followers.iter().map(|follower| self.stream(requests, follower)).collect()
    }

    fn stream(&self, requests: &SendRequest<Bytes>, follower: &Follower) -> impl Future<Output = ()> + use<> {
        Stream::new(&self.connector, requests.clone(), self.floor).hold(follower.clone(), self.reports.clone())
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
    use std::path::PathBuf;

    use super::*;
    use crate::browser::Browser;

    #[tokio::test]
    async fn a_profile_that_reads_no_events_holds_nothing_up_and_gets_the_last_one() {
        let name = ProfileName { browser: Browser::Firefox, folder: PathBuf::from("/alice") };
        let (follower, mut events) = Follower::of(name, Arc::default());
        for messages in 1..=100 {
            follower.send(DoorEvent::Waiting(Waiting { messages, urgency: Urgency::Normal, since_ms: 1 }));
        }
        events.changed().await.unwrap();
        let DoorEvent::Waiting(last) = *events.borrow_and_update() else { panic!("messages wait") };
        assert_eq!(last.messages, 100);
        drop(follower);
        events.changed().await.expect_err("the door is gone");
    }

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
