//! The deletions that no monitor's connection can carry: at origins where nothing is monitored any more. One task at a
//! time sends them, over one connection to each origin; after a failure another follows, with growing waits.

use std::time::Duration;

use tokio::task::JoinSet;
use url::Url;

use crate::error::Error;
use crate::http2::acknowledge::{Deleted, delete};
use crate::http2::connection::Connector;
use crate::task::joined;

pub(super) struct Removals {
    connector: Connector,
    /// Whether a round that failed is followed by another.
    repeats: bool,
    /// Holds one task at most.
    task: JoinSet<Removed>,
    /// Whether the profile can owe a deletion that no task has tried since.
    wanted: bool,
    /// Rounds in a row that left something owed.
    failures: u32,
    not_before: Duration,
}

/// What a round brought about.
#[derive(Default)]
pub(super) struct Removed {
    settled: Vec<Url>,
    failed: bool,
}

impl Removals {
    /// With `repeats`, a round that failed is followed by another. Without, each [`Removals::want`] has one round.
    pub(super) fn new(connector: Connector, repeats: bool) -> Self {
        Self { connector, repeats, task: JoinSet::new(), wanted: false, failures: 0, not_before: Duration::ZERO }
    }

    /// Asks for another look into the profile.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether a round is due; [`Removals::start`] must follow.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// When the next round is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.wanted && !self.is_running()).then_some(self.not_before)
    }

    pub(super) fn is_running(&self) -> bool {
        !self.task.is_empty()
    }

    /// Starts a round that deletes `owed`.
    pub(super) fn start(&mut self, owed: Vec<Url>) {
        debug_assert!(!self.is_running(), "one round at a time");
        self.wanted = false;
        if !owed.is_empty() {
            self.task.spawn(remove(self.connector.clone(), owed));
        }
    }

    /// Waits for the end of the round; pending while none runs. [`Removals::on_ended`] must follow.
    pub(super) async fn ended(&mut self) -> Removed {
        match self.task.join_next().await {
            // Only the end of the runtime aborts a round; the next run sends it again.
            Some(task) => joined(task).unwrap_or_default(),
            None => std::future::pending().await,
        }
    }

    /// Plans the next round if this one left something, and returns what is settled.
    pub(super) fn on_ended(&mut self, removed: Removed, now: Duration) -> Vec<Url> {
        if removed.failed {
            self.failures = self.failures.saturating_add(1);
            self.not_before = now + self.connector.limits.reconnect.draw(self.failures);
            self.wanted |= self.repeats;
        } else {
            self.failures = 0;
            self.not_before = now;
        }
        removed.settled
    }
}

async fn remove(connector: Connector, mut owed: Vec<Url>) -> Removed {
    let mut removed = Removed::default();
    while let Some(origin) = owed.first().map(Url::origin) {
        let (there, elsewhere) = owed.into_iter().partition(|uri| uri.origin() == origin);
        owed = elsewhere;
        if let Err(why) = remove_there(&connector, there, &mut removed).await {
            tracing::debug!(%why, "deletions at a service failed");
            removed.failed = true;
        }
    }
    removed
}

/// Deletes resources of one origin; the first error of the connection ends it.
async fn remove_there(connector: &Connector, owed: Vec<Url>, removed: &mut Removed) -> Result<(), Error> {
    let first = owed.first().expect("an origin has a resource that is owed");
    let connection = connector.connect(first).await?;
    for uri in owed {
        match delete(connection.requests(), &uri, connector.limits.answer_timeout).await? {
            Deleted::Now | Deleted::Before | Deleted::Never => removed.settled.push(uri),
            Deleted::NotYet | Deleted::Doubtful => removed.failed = true,
        }
    }
    Ok(())
}
