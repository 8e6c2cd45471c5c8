//! Monitoring a resource: a held GET that is renewed, with back-off, whenever it or its connection ends.
//!
//! When the service announces that it leaves (GOAWAY), or the urgency changes, the replacement is opened first and the
//! old connection may finish what it carries (RFC 8030 s7.1, s5.3).

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
use crate::http2::held_get::{End, HeldGet, Push};
use crate::task::joined;

/// How long a GET may take to notice that its connection has ended. It takes longer only if the inbox is full, because
/// it waits for room then.
const NOTICE_MAX: Duration = Duration::from_secs(1);
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
    /// Not connected; the next attempt follows after `wait`.
    Disconnected { why: Error, wait: Duration },
}

/// How one connection's time ended.
enum Session {
    /// The replacement is due; the old connection finishes by itself.
    Left,
    /// The same, because the program wants another urgency: no failure, so that the replacement is due at once.
    UrgencyChanged,
    Failed(Error),
    /// There is nothing more to do, or the run that reads the reports has ended.
    Done,
}

impl Monitor {
    /// Runs until the resource is gone or the reports are no longer read.
    pub(crate) async fn run(mut self) {
        let clock = Clock::start();
        let mut leaving = JoinSet::new();
        let mut failures = 0;
        loop {
            let start = clock.now();
            let session = self.session(&mut leaving).await;
            let steady = clock.now() - start >= self.connector.limits.steady_after;
            failures = match session {
                _ if steady => 0,
                Session::UrgencyChanged => failures,
                _ => failures + 1,
            };
            let wait = match session {
                Session::Done => return,
                Session::UrgencyChanged => Duration::ZERO,
                // A service that sends every agent away at once must not be called again in a tight loop.
                Session::Left if steady => Duration::ZERO,
                Session::Left => self.wait(failures),
                Session::Failed(why) => {
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

    async fn session(&mut self, leaving: &mut JoinSet<()>) -> Session {
        let connection = match self.connector.connect(&self.resource).await {
            Ok(connection) => connection,
            Err(why) => return Session::Failed(why),
        };
        if self.set_state(State::Connected(connection.requests())).await.is_none() {
            return Session::Done;
        }
        loop {
            let mut held = match self.hold(&connection).await {
                Ok(held) => held,
                Err(why) => return Session::Failed(why),
            };
            let end = tokio::select! {
                end = held.join_next() => end.and_then(joined).ok_or(Session::Left),
                () = connection.leaving() => Err(Session::Left),
                // The inbox is emptied over the next connection; what was not read comes again there.
                () = long_closed(&connection) => Ok(End::Failed(Error::Lost("the service is gone".to_owned()))),
                // Without a handle the urgency stays as it is.
                Ok(()) = self.urgency.changed() => Err(Session::UrgencyChanged),
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
                End::Failed(why) => return Session::Failed(why),
                End::Gone => {
                    self.report(Report::Gone).await;
                    return Session::Done;
                }
            }
        }
    }

    /// Starts a GET, which runs for as long as the returned set is kept.
    async fn hold(&mut self, connection: &Connection) -> Result<JoinSet<End>, Error> {
        let urgency = *self.urgency.borrow_and_update();
        let requests = connection.requests();
        let limits = &self.connector.limits;
        let get = HeldGet::start(requests, &self.resource, urgency, self.drain, limits).await?;
        let (reports, number) = (self.reports.clone(), self.number);
        let mut set = JoinSet::new();
        set.spawn(get.run(move |push| {
            let reports = reports.clone();
            async move { reports.send((number, Report::Push(push))).await.ok() }
        }));
        Ok(set)
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

async fn long_closed(connection: &Connection) {
    connection.closed().await;
    tokio::time::sleep(NOTICE_MAX).await;
}
