//! The desktop around us, over D-Bus: suspend, network, battery, and notifications.
//!
//! Everything works without a bus, less well: a connection that broke during a suspend is noticed later, and a message
//! wakes a browser on battery too. Other programs of the user can send us anything. What a service reports is read
//! from the owner of its name alone, and no program can make us connect more often than [`QUIET`] allows.

mod bus;
mod descent;
mod machine;
mod notifier;
mod shown;
mod system;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;

use bus::{Bus, Wire};
use machine::Machine;
use notifier::Notifier;

pub(crate) use shown::{Shown, Watch};

/// One change of the network is reported by several signals, which come at once.
const SETTLE: Duration = Duration::from_millis(250);
/// The least time between two [`SessionEvent::Reconnect`].
const QUIET: Duration = Duration::from_secs(3);

/// What changes around us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEvent {
    /// The machine woke, or its network changed: connect anew at once.
    Reconnect,
    /// Messages of this urgency or a greater one are worth a wake from now on; [`Urgency::Normal`] until the first event.
    Floor(Urgency),
}

/// Why no browser is woken that could show nothing, and what to do.
pub(crate) const NO_NOTIFICATION_SERVER: &str =
    "no notification server runs on the session bus: start one (every desktop has one; dunst is a small one)";

/// Whether notifications can be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen(Option<Arc<Notifier>>);

impl Screen {
    /// Whether a browser that is started now can show one. `true` if that is not known.
    pub(crate) async fn shows_notifications(&self) -> bool {
        match &self.0 {
            Some(notifier) => notifier.has_server().await,
            None => true,
        }
    }
}

/// The session bus and the system bus, as far as there are any.
#[derive(Debug)]
pub(crate) struct Session {
    notifier: Arc<Notifier>,
    machine: watch::Receiver<Machine>,
    /// Ends with this value.
    _follower: JoinSet<()>,
    /// What the caller knows of [`Machine`].
    floor: Urgency,
    wakes: u64,
    clock: Clock,
    /// When the next `Reconnect` is due, and before when none may be.
    due: Option<Duration>,
    quiet_until: Duration,
}

impl Session {
    /// Connects to both. A bus that is not there is no error: see [`Session::missing`].
    pub(crate) async fn connect() -> Self {
        Self::on(Bus::Session, Bus::System).await
    }

    async fn on(session: Bus, system: Bus) -> Self {
        let (notifier, wire) = tokio::join!(Notifier::connect(session), Wire::open(&system));
        let missing = wire.as_ref().err().cloned();
        let (sender, machine) = watch::channel(Machine::without_bus(missing));
        let mut follower = JoinSet::new();
        follower.spawn(system::keep(system, wire, sender));
        Self {
            notifier: Arc::new(notifier),
            machine,
            _follower: follower,
            floor: Urgency::default(),
            wakes: 0,
            clock: Clock::start(),
            due: None,
            quiet_until: Duration::ZERO,
        }
    }

    /// Which bus is missing, with the reason, what does not work without it, and what to do.
    pub(crate) fn missing(&self) -> Vec<String> {
        let session = self.notifier.missing().map(|why| {
            format!(
                "no session bus ({why}): Doorbell's own notifications are not shown; start it in a desktop session, \
                where DBUS_SESSION_BUS_ADDRESS is set"
            )
        });
        let system = self.machine.borrow().missing.clone().map(|why| {
            format!(
                "no system bus ({why}): the end of a suspend, another network and the battery are not noticed; start \
                dbus"
            )
        });
        session.into_iter().chain(system).collect()
    }

    /// The next event. It may be dropped and called again without a loss.
    pub(crate) async fn next(&mut self) -> SessionEvent {
        loop {
            let (floor, wakes) = {
                let machine = self.machine.borrow_and_update();
                (machine.floor(), machine.wakes)
            };
            if floor != self.floor {
                self.floor = floor;
                return SessionEvent::Floor(floor);
            }
            if wakes != self.wakes && self.due.is_none() {
                self.due = Some(self.quiet_until.max(self.clock.now() + SETTLE));
            }
            tokio::select! {
                changed = self.machine.changed() => changed.expect("the follower runs as long as this value"),
                () = self.clock.reaches(self.due) => {
                    self.wakes = wakes;
                    self.due = None;
                    self.quiet_until = self.clock.now() + QUIET;
                    return SessionEvent::Reconnect;
                }
            }
        }
    }

    /// For profiles, which wake no browser whose notification would not be shown.
    pub(crate) fn screen(&self) -> Screen {
        Screen(Some(Arc::clone(&self.notifier)))
    }

    /// Shows a notification of our own, in the place of the former one with the same `key`.
    ///
    /// The texts are ours: nothing of a message, and no address that could be clicked.
    pub(crate) fn notify(
        &self,
        key: &str,
        summary: &str,
        body: &str,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let notifier = Arc::clone(&self.notifier);
        let [key, summary, body] = [key, summary, body].map(str::to_owned);
        async move { notifier.notify(&key, &summary, &body).await }
    }
}
