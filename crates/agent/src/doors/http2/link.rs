//! Staying in touch: a monitoring GET that is renewed, with back-off, whenever it or its connection ends.
//!
//! When the service announces that it leaves (GOAWAY), or the urgency floor changes, the replacement is opened first
//! and the old connection may finish what it carries (UA-8030-7.1-2, UA-8030-5.3-1).

use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use h2::client::SendRequest;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use crate::clock::Clock;
use crate::doors::http2::connection::{Connection, Connector};
use crate::doors::http2::monitor::{Arrival, End, Monitor};
use crate::error::Error;

/// One resource under watch.
pub(crate) struct Link {
    /// Which one, in what it reports.
    pub(crate) number: usize,
    pub(crate) connector: Connector,
    pub(crate) resource: Url,
    /// Fetch what is stored, and no more.
    pub(crate) at_once: bool,
    pub(crate) floor: watch::Receiver<Option<Urgency>>,
    pub(crate) reports: mpsc::Sender<(usize, Report)>,
}

/// What a link has to say.
pub(crate) enum Report {
    /// Connected; DELETE requests go this way.
    Up(SendRequest<Bytes>),
    /// A push.
    Arrived(Arrival),
    /// What was stored has come, `pushes` of them. Say so to have it ask again, on the same connection.
    Drained { pushes: u64, again: oneshot::Sender<()> },
    /// Not connected; the next attempt follows after `wait`.
    Down { why: Error, wait: Duration },
    /// The resource does not exist any more: this link is done.
    Gone,
}

/// How one connection's time ended.
enum Session {
    /// The replacement is due; the old connection finishes by itself.
    Left,
    Failed(Error),
    /// There is nothing more to do, or nobody who listens.
    Done,
}

impl Link {
    /// Runs until the resource is gone or nobody listens to the reports.
    pub(crate) async fn run(mut self) {
        let clock = Clock::start();
        let mut leaving = JoinSet::new();
        let mut failures = 0;
        loop {
            let start = clock.now();
            let session = self.session(&mut leaving).await;
            let steady = clock.now() - start >= self.connector.limits.steady_after;
            failures = if steady { 0 } else { failures + 1 };
            let wait = match session {
                Session::Done => return,
                // A service that sends everyone away at once must not be called again in a tight circle.
                Session::Left if steady => Duration::ZERO,
                Session::Left => self.wait(failures, None),
                Session::Failed(why) => {
                    let wait = self.wait(failures.max(1), why.retry_after());
                    if self.report(Report::Down { why, wait }).await.is_none() {
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
        if self.report(Report::Up(connection.requests())).await.is_none() {
            return Session::Done;
        }
        loop {
            let mut monitoring = match self.monitor(&connection).await {
                Ok(monitoring) => monitoring,
                Err(why) => return Session::Failed(why),
            };
            let end = tokio::select! {
                end = monitoring.join_next() => end,
                () = connection.leaving() => None,
                Ok(()) = self.floor.changed() => None,
            };
            let Some(Ok(end)) = end else {
                let grace = self.connector.limits.leaving_grace;
                leaving.spawn(async move {
                    let _ = timeout(grace, monitoring.join_next()).await;
                    drop(connection);
                });
                return Session::Left;
            };
            match end {
                End::Finished { pushes } if self.at_once => {
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
    async fn monitor(&mut self, connection: &Connection) -> Result<JoinSet<End>, Error> {
        let floor = *self.floor.borrow_and_update();
        let requests = connection.requests();
        let limits = &self.connector.limits;
        let monitor = Monitor::start(requests, &self.resource, floor, self.at_once, limits).await?;
        let (reports, number) = (self.reports.clone(), self.number);
        let mut set = JoinSet::new();
        set.spawn(monitor.run(move |arrival| {
            let reports = reports.clone();
            async move { reports.send((number, Report::Arrived(arrival))).await.ok() }
        }));
        Ok(set)
    }

    async fn report(&self, report: Report) -> Option<()> {
        self.reports.send((self.number, report)).await.ok()
    }

    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        self.connector.limits.reconnect.draw(failures).max(asked.unwrap_or_default())
    }
}
