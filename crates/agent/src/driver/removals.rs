//! The deletions that no monitor's connection can carry: at origins where nothing is monitored any more. One task at a
//! time sends them, over one connection to each origin; after a failure another follows, with growing waits.

use std::collections::HashMap;
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
    /// Per resource, the answers that it is gone, of which it is not known who gave them.
    doubts: HashMap<Url, u32>,
}

/// What a round brought about.
#[derive(Default)]
pub(super) struct Removed {
    settled: Vec<Url>,
    /// Answered with a 404 or 410 that is not in the service's own form.
    doubtful: Vec<Url>,
    failed: bool,
}

impl Removals {
    /// With `repeats`, a round that failed is followed by another. Without, each [`Removals::want`] has one round.
    pub(super) fn new(connector: Connector, repeats: bool) -> Self {
        let (task, doubts) = (JoinSet::new(), HashMap::new());
        Self { connector, repeats, task, wanted: false, failures: 0, not_before: Duration::ZERO, doubts }
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
        self.doubts.retain(|uri, _| owed.contains(uri));
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
    pub(super) fn on_ended(&mut self, mut removed: Removed, now: Duration) -> Vec<Url> {
        for uri in removed.doubtful {
            let doubts = self.doubts.entry(uri.clone()).or_default();
            *doubts += 1;
            if *doubts >= self.connector.limits.doubts_max {
                removed.settled.push(uri);
            } else {
                removed.failed = true;
            }
        }
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
            Deleted::Doubtful => removed.doubtful.push(uri),
            Deleted::NotYet => removed.failed = true,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_doubtful_404_is_believed_after_some_because_another_service_may_know_no_other() {
        let limits = Limits { doubts_max: 3, ..Limits::default() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        let mut removals = Removals::new(Connector { tls, limits }, true);
        let uri = Url::parse("https://push.example/s/1").unwrap();
        let mut round = || {
            let removed = Removed { doubtful: vec![uri.clone()], ..Removed::default() };
            let settled = removals.on_ended(removed, Duration::ZERO);
            (settled, std::mem::take(&mut removals.wanted))
        };
        assert_eq!([round(), round()], [(vec![], true), (vec![], true)]);
        assert_eq!(round(), (vec![uri.clone()], false));
    }
}
