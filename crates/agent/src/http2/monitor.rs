//! Monitoring a resource: a held GET that is renewed, with back-off, whenever it or its connection ends.
//!
//! Where pushes cannot pass, the same resource is received as events; now and then pushes are tried again.
//!
//! When the service announces that it leaves (GOAWAY), or the urgency changes, the replacement is opened first and the
//! old connection may finish what it carries (RFC 8030 s7.1, s5.3).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use h2::client::SendRequest;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use crate::clock::Clock;
use crate::error::Error;
use crate::http2::connection::{Connection, Connector};
use crate::http2::held_get::{End, HeldGet, Push, Way};
use crate::task::joined;

/// How long a GET may take to notice that its connection has ended. It takes longer only if the inbox is full, because
/// it waits for room then.
const NOTICE_MAX: Duration = Duration::from_secs(1);
/// A GET for pushes that follows an error answer and is held this long was accepted: no answer shows it.
const ACCEPTED_AFTER: Duration = Duration::from_secs(1);
/// Old connections that may finish what they carry; over it they are all closed, and what they carried comes again.
/// Only a program that changes the urgency over and over has so many.
const LEAVING_MAX: usize = 4;

/// The monitor of one resource.
pub(crate) struct Monitor {
    /// Identifies it in its reports.
    pub(crate) number: u64,
    pub(crate) connector: Connector,
    pub(crate) resource: Url,
    /// Fetch what is stored, and nothing else.
    pub(crate) drain: bool,
    /// The least urgency that is asked for.
    pub(crate) urgency: watch::Receiver<Option<Urgency>>,
    /// Carries what it received, in order. A full inbox does not read it.
    pub(crate) reports: mpsc::Sender<(u64, Report)>,
    /// Carries its state. It is always read: a full inbox is emptied over a new connection.
    pub(crate) states: mpsc::Sender<(u64, State)>,
}

/// What a monitor received.
pub(crate) enum Report {
    Push(Push),
    /// What was stored has come, `pushes` of them. `again` makes it ask again, on the same connection.
    Drained {
        pushes: u64,
        again: oneshot::Sender<()>,
    },
    /// The resource no longer exists: this is the last report.
    Gone,
}

/// Whether a monitor has a connection.
pub(crate) enum State {
    /// Connected; DELETE requests go this way.
    Connected(SendRequest<Bytes>),
    /// The service has accepted the GET, as far as can be known.
    Receiving,
    /// Pushes cannot pass: from here on messages come as events. This is reported once.
    WithoutPushes,
    /// Not connected; the next attempt follows after `wait`.
    Disconnected { why: Error, wait: Duration },
}

/// How one connection's time ended.
enum Session {
    /// The replacement is due; the old connection finishes by itself.
    Left,
    /// The same, because the program wants another urgency, or pushes are due to be tried again: no failure, so that the
    /// replacement is due at once.
    Renewed,
    Failed(Error),
    /// There is nothing more to do, or the run that reads the reports has ended.
    Done,
}

/// What a monitor remembers from one connection to the next.
struct Memory {
    clock: Clock,
    /// Until when messages are asked for as events; `None` while pushes pass.
    events_until: Option<Duration>,
    /// Whether it was reported that pushes cannot pass.
    is_without_pushes: bool,
    /// Whether it was reported that messages may come.
    is_receiving: bool,
    /// Whether the last GET got an error, or no answer: then a connection alone does not show that messages may come.
    is_in_doubt: bool,
}

impl Memory {
    fn way(&mut self) -> Way {
        self.events_until = self.events_until.filter(|until| self.clock.now() < *until);
        if self.events_until.is_some() { Way::Events } else { Way::Pushes }
    }
}

impl Monitor {
    /// Runs until the resource is gone or the reports are no longer read.
    pub(crate) async fn run(mut self) {
        let clock = Clock::start();
        let mut memory =
            Memory { clock, events_until: None, is_without_pushes: false, is_receiving: false, is_in_doubt: false };
        let mut leaving = JoinSet::new();
        let mut failures = 0;
        loop {
            let start = clock.now();
            let session = self.session(&mut memory, &mut leaving).await;
            let steady = clock.now() - start >= self.connector.limits.steady_after;
            failures = match session {
                _ if steady => 0,
                Session::Renewed => failures,
                _ => failures + 1,
            };
            memory.is_receiving &= matches!(session, Session::Renewed);
            let wait = match session {
                Session::Done => return,
                Session::Renewed => Duration::ZERO,
                // A service that sends every agent away at once must not be called again in a tight loop.
                Session::Left if steady => Duration::ZERO,
                Session::Left => self.wait(failures),
                Session::Failed(why) => {
                    memory.is_in_doubt = why.is_of_answer();
                    let wait = self.wait(failures.max(1));
                    let wait = why.retry_after().map_or(wait, |asked| wait.max(asked));
                    if self.set_state(State::Disconnected { why, wait }).await.is_none() {
                        return;
                    }
                    wait
                }
            };
            tokio::time::sleep(wait).await;
            while leaving.try_join_next().is_some() {}
        }
    }

    async fn session(&mut self, memory: &mut Memory, leaving: &mut JoinSet<()>) -> Session {
        let connection = match self.connector.connect(&self.resource).await {
            Ok(connection) => connection,
            Err(why) => return Session::Failed(why),
        };
        if self.set_state(State::Connected(connection.requests())).await.is_none() {
            return Session::Done;
        }
        loop {
            let way = memory.way();
            let (mut held, accepted) = match self.hold(&connection, way).await {
                Ok(held) => held,
                Err(why) => return Session::Failed(why),
            };
            let mut accepted = pin!(is_accepted(accepted, way, memory.is_in_doubt));
            let end = loop {
                tokio::select! {
                    biased;
                    end = held.join_next() => break end.and_then(joined).ok_or(Session::Left),
                    () = &mut accepted, if !memory.is_receiving => {
                        (memory.is_receiving, memory.is_in_doubt) = (true, false);
                        if self.set_state(State::Receiving).await.is_none() {
                            return Session::Done;
                        }
                    }
                    () = connection.leaving() => break Err(Session::Left),
                    // The inbox is emptied over the next connection; what was not read comes again there.
                    () = long_closed(&connection) => {
                        break Ok(End::Failed(Error::Lost("it was closed".to_owned())));
                    }
                    // Without a handle the urgency stays as it is.
                    Ok(()) = self.urgency.changed() => break Err(Session::Renewed),
                    () = memory.clock.reaches(memory.events_until) => break Err(Session::Renewed),
                }
            };
            let end = match end {
                Ok(end) => end,
                Err(session) => {
                    let grace = self.connector.limits.leaving_grace;
                    if leaving.len() >= LEAVING_MAX {
                        leaving.abort_all();
                    }
                    leaving.spawn(async move {
                        let _ = timeout(grace, held.join_next()).await;
                        drop(connection);
                    });
                    return session;
                }
            };
            match end {
                End::Finished { pushes } if self.drain => {
                    let (again, wanted) = oneshot::channel();
                    let reported = self.report(Report::Drained { pushes, again }).await;
                    if reported.is_none() || wanted.await.is_err() {
                        return Session::Done;
                    }
                }
                End::Finished { .. } => return Session::Left,
                End::WithoutPushes => {
                    memory.events_until = Some(memory.clock.now() + self.connector.limits.pushes_again);
                    let is_known = std::mem::replace(&mut memory.is_without_pushes, true);
                    if !is_known && self.set_state(State::WithoutPushes).await.is_none() {
                        return Session::Done;
                    }
                }
                End::Failed(why) => return Session::Failed(why),
                End::Gone => {
                    self.report(Report::Gone).await;
                    return Session::Done;
                }
            }
        }
    }

    /// Starts a GET, which runs for as long as the returned set is kept; and what reports that the service accepted it.
    async fn hold(
        &mut self,
        connection: &Connection,
        way: Way,
    ) -> Result<(JoinSet<End>, oneshot::Receiver<()>), Error> {
        let urgency = *self.urgency.borrow_and_update();
        let requests = connection.requests();
        let limits = &self.connector.limits;
        let get = HeldGet::start(requests, &self.resource, urgency, self.drain, way, limits).await?;
        let (reports, number) = (self.reports.clone(), self.number);
        let (accepted, is_accepted) = oneshot::channel();
        let mut set = JoinSet::new();
        set.spawn(get.run(accepted, move |push| {
            let reports = reports.clone();
            async move { reports.send((number, Report::Push(push))).await.ok() }
        }));
        Ok((set, is_accepted))
    }

    /// `None` if the reports are no longer read.
    async fn report(&self, report: Report) -> Option<()> {
        self.reports.send((self.number, report)).await.ok()
    }

    /// `None` if the states are no longer read.
    async fn set_state(&self, state: State) -> Option<()> {
        self.states.send((self.number, state)).await.ok()
    }

    fn wait(&self, failures: u32) -> Duration {
        self.connector.limits.reconnect.draw(failures)
    }
}

/// Returns when the service has accepted a GET. Events have a head that shows it. Pushes count as accepted at once, or if
/// that is in doubt with the first push, or when the GET is held for a while. The end of the GET ends the wait too.
async fn is_accepted(accepted: oneshot::Receiver<()>, way: Way, is_in_doubt: bool) {
    let held_long = async {
        match (way, is_in_doubt) {
            (Way::Events, _) => std::future::pending().await,
            (Way::Pushes, true) => tokio::time::sleep(ACCEPTED_AFTER).await,
            (Way::Pushes, false) => {}
        }
    };
    tokio::select! {
        Ok(()) = accepted => {}
        () = held_long => {}
    }
}

async fn long_closed(connection: &Connection) {
    connection.closed().await;
    tokio::time::sleep(NOTICE_MAX).await;
}
