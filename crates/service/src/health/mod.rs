//! The facts of a running service: whether it is alive, whether it is ready, and its status.

mod certificate;
mod disk;
mod store;

use std::sync::Arc;

use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Contents, MESSAGE_OVERHEAD_BYTES, Store};
use futures_util::FutureExt;
use tokio::sync::watch;

use crate::clock::Clock;
pub(crate) use crate::clock::rfc3339;
use crate::config::{Limits, Live, Origin};
use crate::counts::{AgentDoor, Counts};
use crate::hub::Hub;
use crate::status::{
    CellStatus, ClockStatus, Condition, Connected, DiskStatus, ListenerStatus, Readiness, SinceStart, Status,
    StoreStatus, Stored,
};
use crate::wall::WallState;
pub(crate) use certificate::{Certificate, source};
pub(crate) use disk::bytes;
pub(crate) use store::Probe;

/// Knows where the facts are. The admin listener and the control socket read them here.
pub(crate) struct Health {
    pub(crate) origin: Origin,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) config: Arc<Live>,
    pub(crate) clock: Clock,
    /// By the time of service.
    pub(crate) started: UnixMs,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Store,
    pub(crate) storage: StoreStatus,
    pub(crate) counts: Arc<Counts>,
    pub(crate) probe: Probe,
    /// `None` where TLS does not end here.
    pub(crate) certificate: Option<Certificate>,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// What happens in the service, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) connected: Connected,
    pub(crate) stored: Stored,
    pub(crate) since_start: SinceStart,
}

impl Health {
    /// Whether the process works. If it does not, only a new start helps.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn liveness(&self) -> Result<(), String> {
        if let Some(failure) = self.store.failed().now_or_never() {
            return Err(failure.to_string());
        }
        if self.hub.broken().now_or_never().is_some() {
            return Err("a part of the service panicked: this is a bug, please report it".to_owned());
        }
        Ok(())
    }

    /// Whether the service can do its work. It waits for a commit, a moment at most.
    pub(crate) async fn readiness(&self) -> Readiness {
        let store = self.store_condition().await;
        let certificate = certificate::condition(self.certificate.as_ref(), &self.clock);
        let disk = self.config.get().has_disk().then(|| disk::condition(&self.disk(), self.store.receipt_room().err()));
        let conditions =
            [Some(self.drain_condition()), Some(store), disk, Some(certificate), Some(self.clock_condition())];
        Readiness::of(conditions.into_iter().flatten().collect())
    }

    /// What the service is and does now.
    pub(crate) async fn status(&self) -> Status {
        let readiness = self.readiness().await;
        let figures = self.figures();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            origin: self.origin.as_str().to_owned(),
            listeners: self.listeners.clone(),
            time: rfc3339(self.clock.wall()),
            uptime_secs: self.clock.served().since(self.started).as_secs(),
            is_draining: self.is_draining(),
            readiness,
            connected: figures.connected,
            store: self.storage.clone(),
            stored: figures.stored,
            cells: CellStatus::all(&self.store),
            since_start: figures.since_start,
            certificate: self.certificate.as_ref().map(|certificate| certificate.status(self.clock.plausible_wall())),
            disk: self.config.get().has_disk().then(|| self.disk()),
            clock: ClockStatus {
                state: match self.clock.wall_state() {
                    WallState::Right => "right",
                    WallState::Jumped => "jumped",
                    WallState::Wrong => "wrong",
                },
            },
            limits_reached: limits_reached(&self.store.figures().contents, &self.config.get().limits),
        }
    }

    /// The numbers now.
    pub(crate) fn figures(&self) -> Figures {
        let (counts, store) = (&self.counts, self.store.figures());
        let contents = store.contents;
        let ended = |outcome| contents.ended.of(outcome) + counts.transients_ended(outcome);
        let connected = |door| counts.connected(door).get();
        let undelivered = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Delivered).map(ended);
        Figures {
            connected: Connected {
                pushes: connected(AgentDoor::Http2),
                events: connected(AgentDoor::Events),
                firefox: connected(AgentDoor::Firefox),
                chromium: connected(AgentDoor::Chromium),
                wake: connected(AgentDoor::Wake),
            },
            stored: Stored {
                agents: contents.agents,
                subscriptions: contents.subscriptions,
                messages: contents.messages,
                bytes: contents.bytes,
                receipt_subscriptions: contents.receipt_subscriptions,
                receipts: contents.receipts,
                queued_writes: store.queued_writes,
            },
            since_start: SinceStart {
                accepted: counts.accepted.get(),
                delivered: ended(Outcome::Delivered),
                undelivered: undelivered.sum::<u64>() + contents.ended.replaced,
                refused: counts.refusals().map(|(_, times)| times).sum(),
            },
        }
    }

    fn is_draining(&self) -> bool {
        *self.stopping.borrow()
    }

    fn drain_condition(&self) -> Condition {
        if self.is_draining() {
            Condition::fails(
                "running",
                "the service is stopping: it accepts no connection and finishes what it has begun",
                "start it again, unless it was stopped on purpose",
            )
        } else {
            Condition::holds("running", "the service accepts connections")
        }
    }

    async fn store_condition(&self) -> Condition {
        match self.liveness() {
            Ok(()) => self.probe.condition(&self.hub, &self.clock, &self.config.get()).await,
            Err(why) => Condition::fails("store", why, "start the service again; the log says what happened"),
        }
    }

    fn clock_condition(&self) -> Condition {
        let shown = rfc3339(self.clock.wall());
        match self.clock.wall_state() {
            WallState::Right => Condition::holds("clock", format!("the wall clock shows {shown}")),
            WallState::Jumped => Condition::holds(
                "clock",
                format!(
                    "the wall clock jumped less than an hour ago, or while the service was stopped; it shows {shown}"
                ),
            )
            .with_hint("compare it with another one (`timedatectl`): if it is wrong, set it, and use NTP"),
            WallState::Wrong => Condition::fails(
                "clock",
                format!("the wall clock is wrong, it shows {shown}: senders who sign their messages get 429"),
                "set the clock, and use NTP (`timedatectl set-ntp true`)",
            ),
        }
    }

    fn disk(&self) -> DiskStatus {
        disk::status(&self.store.figures().contents, &self.config.get().limits)
    }
}

/// The limits that are reached, by the names of their settings.
fn limits_reached(contents: &Contents, limits: &Limits) -> Vec<&'static str> {
    let (receipts, unused_receipts) = (contents.receipt_subscriptions, contents.unused_receipt_subscriptions);
    let bounds = [
        ("agents_max", contents.agents, limits.agents_max),
        ("unused_agents_max", contents.unused_agents, limits.unused_agents_max),
        ("subscriptions_max", contents.subscriptions, limits.subscriptions_max),
        ("receipt_subscriptions_max", receipts, limits.receipt_subscriptions_max),
        ("unused_receipt_subscriptions_max", unused_receipts, limits.unused_receipt_subscriptions_max),
    ];
    let reached = bounds.into_iter().filter(|(_, count, max)| *count >= u64::from(*max)).map(|(name, ..)| name);
    // Another message would be too much, whatever is in it.
    let is_full = contents.bytes.saturating_add(MESSAGE_OVERHEAD_BYTES) > limits.stored_bytes_max;
    reached.chain(is_full.then_some("stored_bytes_max")).collect()
}
