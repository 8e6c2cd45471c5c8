//! The monitors of one run: a task for each set, and for each subscription without one (RFC 8030 s6.1).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use url::Url;

use crate::http2::monitor::Monitor;
use crate::task::joined;

/// The monitors that run. Each has a number, which is never used again: what a stopped one reported before can still
/// be queued.
#[derive(Default)]
pub(super) struct Monitors {
    tasks: JoinSet<()>,
    monitored: BTreeMap<u64, Monitored>,
    started: u64,
}

/// A resource that is monitored.
pub(super) struct Monitored {
    pub(super) resource: Url,
    /// Sends requests on its connection, while there is one.
    pub(super) requests: Option<SendRequest<Bytes>>,
    /// Whether the service has accepted the GET, as far as can be known, and it has not failed since.
    pub(super) is_receiving: bool,
    pub(super) drained: Option<Drained>,
    task: AbortHandle,
}

/// What was stored has been pushed.
pub(super) struct Drained {
    /// How many messages that were.
    pub(super) pushes: u64,
    /// Makes the monitor ask again.
    pub(super) again: oneshot::Sender<()>,
}

impl Monitors {
    /// Monitors `wanted` and nothing else: stops those that are not in it, and starts what `monitor` builds for a
    /// number and a resource.
    pub(super) fn set(&mut self, mut wanted: BTreeSet<Url>, monitor: impl Fn(u64, Url) -> Monitor) {
        self.monitored.retain(|_, monitored| {
            let kept = wanted.remove(&monitored.resource);
            if !kept {
                monitored.task.abort();
            }
            kept
        });
        for resource in wanted {
            self.started += 1;
            let task = self.tasks.spawn(monitor(self.started, resource.clone()).run());
            let monitored = Monitored { resource, requests: None, is_receiving: false, drained: None, task };
            self.monitored.insert(self.started, monitored);
        }
        debug_assert_eq!(self.resources().collect::<BTreeSet<_>>().len(), self.monitored.len(), "one monitor each");
    }

    /// The one with this number, unless it was stopped.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Monitored> {
        self.monitored.get_mut(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.monitored.is_empty()
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = &Url> {
        self.monitored.values().map(|monitored| &monitored.resource)
    }

    /// Whether one of them monitors something at the origin of `uri`.
    pub(super) fn cover(&self, uri: &Url) -> bool {
        self.resources().any(|resource| resource.origin() == uri.origin())
    }

    /// Whether the service itself answers one of them at the origin of `uri`.
    pub(super) fn receive_from(&self, uri: &Url) -> bool {
        let mut there = self.monitored.values().filter(|monitored| monitored.resource.origin() == uri.origin());
        there.any(|monitored| monitored.is_receiving || monitored.drained.is_some())
    }

    /// Whether any of them has a connection.
    pub(super) fn are_connected(&self) -> bool {
        self.monitored.values().any(|monitored| monitored.requests.is_some())
    }

    /// Sends requests to the origin of `uri`, if one of them is connected to it.
    pub(super) fn requests_to(&self, uri: &Url) -> Option<SendRequest<Bytes>> {
        let mut there = self.monitored.values().filter(|monitored| monitored.resource.origin() == uri.origin());
        there.find_map(|monitored| monitored.requests.clone())
    }

    /// What each of them drained, once all have; they wait from then on.
    pub(super) fn take_drained(&mut self) -> Option<Vec<Drained>> {
        if self.monitored.values().any(|monitored| monitored.drained.is_none()) {
            return None;
        }
        Some(self.monitored.values_mut().filter_map(|monitored| monitored.drained.take()).collect())
    }

    /// Waits until a task ends; pending while none runs. They end after their last report or when they are stopped, so
    /// that nothing is left to do.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(task) => drop(joined(task)),
            None => std::future::pending().await,
        }
    }
}
