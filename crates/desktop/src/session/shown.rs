//! Which notifications of one browser are on the screen.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU32;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zbus::message::Type;
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::{Connection, Message};

use crate::clock::Clock;

use super::bus::{Bus, DBUS, Pause, REPLY_MAX, Service, Wire};
use super::descent::descends;
use super::notifier::NOTIFICATIONS;
use super::system::owner_rule;

const MONITORING: Service = Service { interface: "org.freedesktop.DBus.Monitoring", ..DBUS };

/// More calls than these are not under way in a browser that works.
const CALLS_MAX: usize = 64;
/// More notifications than these are not on a screen.
const IDS_MAX: usize = 1024;
/// A browser has one connection to the bus, or a few.
const NAMES_MAX: usize = 16;

/// Reads the notifications that pass over the bus, before it is known whose are followed.
#[derive(Debug)]
pub(crate) struct Watch {
    bus: Bus,
    monitor: Monitor,
}

impl Watch {
    /// From now on nothing is missed; an error if the bus does not allow that.
    pub(crate) async fn begin() -> Result<Self, String> {
        Self::on(Bus::Session).await
    }

    pub(super) async fn on(bus: Bus) -> Result<Self, String> {
        let monitor = Monitor::open(&bus).await?;
        Ok(Self { bus, monitor })
    }

    /// Follows the notifications of `process` since the watch began.
    pub(crate) fn of(self, process: u32) -> Shown {
        let (sender, count) = watch::channel(0);
        let mut follower = JoinSet::new();
        follower.spawn(follow(self.bus, process, self.monitor, sender));
        Shown { count, _follower: follower }
    }
}

/// Follows which notifications of one process, and of its children, are on the screen.
///
/// It reads the notifications of all programs as they pass over the bus, and keeps the ids of this process's alone.
/// While the connection is lost the count stays as it was.
#[derive(Debug)]
pub(crate) struct Shown {
    count: watch::Receiver<usize>,
    /// Ends with this value.
    _follower: JoinSet<()>,
}

impl Shown {
    /// As many as a test sends.
    #[cfg(test)]
    pub(crate) fn counted(count: watch::Receiver<usize>) -> Self {
        Self { count, _follower: JoinSet::new() }
    }

    /// How many are on the screen.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits for a change of the count after the last that was waited for. It may be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        self.count.changed().await.expect("the follower runs as long as this value");
    }
}

/// A connection that only receives, and one for questions.
#[derive(Debug)]
struct Monitor {
    wire: Wire,
    questions: Connection,
    /// Which bus, and who shows notifications on it: the ids are theirs.
    server: (String, Option<OwnedUniqueName>),
}

impl Monitor {
    async fn open(bus: &Bus) -> Result<Self, String> {
        let mut wire = Wire::open(bus).await.map_err(|why| format!("no session bus: {why}"))?;
        let asked = wire.call(MONITORING, "BecomeMonitor", &(rules(), 0_u32)).await;
        let reply = async {
            while let Some(message) = wire.next().await {
                let header = message.header();
                if header.reply_serial().is_some_and(|serial| Some(serial) == asked) {
                    return match message.message_type() {
                        Type::Error => Err(zbus::Error::from(message).to_string()),
                        _ => Ok(()),
                    };
                }
            }
            Err("the connection is lost".to_owned())
        };
        let reply = timeout(REPLY_MAX, reply).await;
        let reply = reply.unwrap_or_else(|_| Err("the bus does not answer".to_owned()));
        reply.map_err(|why| {
            format!("the session bus does not let Doorbell follow notifications ({why}): keep the browser resident")
        })?;
        let questions = bus.open().await.map_err(|why| format!("no session bus: {why}"))?;
        let owner = ask(&questions, "GetNameOwner", NOTIFICATIONS.name).await;
        let owner = owner.and_then(|reply| reply.body().deserialize().ok());
        let server = (wire.bus_id(), owner);
        Ok(Self { wire, questions, server })
    }

    /// Whether a connection on the bus belongs to `process` or to a child of it.
    async fn is_of(&self, name: &UniqueName<'_>, process: u32) -> bool {
        let reply = ask(&self.questions, "GetConnectionUnixProcessID", name.as_str()).await;
        let id = reply.and_then(|reply| reply.body().deserialize::<u32>().ok());
        id.is_some_and(|id| descends(id, process))
    }
}

/// `None` if the bus replies with an error, e.g. because the name is gone.
async fn ask(connection: &Connection, member: &'static str, name: &str) -> Option<Message> {
    let Service { name: bus, path, interface } = DBUS;
    connection.call_method(Some(bus), path, Some(interface), member, &name).await.ok()
}

/// The bus compares the sender with the owner of the name, so that no other program can close a notification here.
fn rules() -> Vec<String> {
    let Service { name, interface, .. } = NOTIFICATIONS;
    vec![
        format!("type='method_call',interface='{interface}',member='Notify'"),
        format!("type='method_return',sender='{name}'"),
        format!("type='error',sender='{name}'"),
        format!("type='signal',sender='{name}',interface='{interface}',member='NotificationClosed'"),
        owner_rule(name),
    ]
}

async fn follow(bus: Bus, process: u32, mut monitor: Monitor, count: watch::Sender<usize>) {
    let mut ledger = Ledger::default();
    let mut pause = Pause::new();
    loop {
        let clock = Clock::start();
        while let Some(message) = monitor.wire.next().await {
            take(&message, process, &mut monitor, &mut ledger).await;
            count.send_if_modified(|count| std::mem::replace(count, ledger.ids.len()) != ledger.ids.len());
        }
        pause.after(clock.now());
        ledger.calls.clear();
        ledger.names.clear();
        let server = monitor.server;
        monitor = loop {
            sleep(pause.next()).await;
            match Monitor::open(&bus).await {
                Ok(monitor) => break monitor,
                Err(why) => tracing::debug!(why, "notifications are not followed"),
            }
        };
        if monitor.server != server {
            ledger.ids.clear();
            count.send_if_modified(|count| std::mem::take(count) != 0);
        }
    }
}

async fn take(message: &Message, process: u32, monitor: &mut Monitor, ledger: &mut Ledger) {
    let header = message.header();
    match message.message_type() {
        Type::MethodCall => {
            let Some(sender) = header.sender() else { return };
            let is_known = ledger.names.iter().any(|name| name.as_str() == sender.as_str());
            if is_known || monitor.is_of(sender, process).await {
                ledger.calls(sender, header.primary().serial_num());
            }
        }
        Type::MethodReturn | Type::Error => {
            let (Some(to), Some(serial)) = (header.destination(), header.reply_serial()) else { return };
            let id = match message.message_type() {
                Type::MethodReturn => message.body().deserialize::<u32>().ok(),
                _ => None,
            };
            ledger.replies(to.as_str(), serial, id);
        }
        Type::Signal if header.member().is_some_and(|member| *member == "NotificationClosed") => {
            if let Ok((id, _reason)) = message.body().deserialize::<(u32, u32)>() {
                ledger.ids.remove(&id);
            }
        }
        // The server has started, ended, or been replaced: nothing of the former one is on the screen.
        Type::Signal => {
            let body = message.body();
            let Ok((_, _, owner)) = body.deserialize::<(&str, &str, zbus::Optional<UniqueName<'_>>)>() else { return };
            let owner = owner.as_ref().map(|owner| owner.to_owned().into());
            if monitor.server.1 != owner {
                monitor.server.1 = owner;
                ledger.ids.clear();
                ledger.calls.clear();
            }
        }
    }
}

/// What the process shows.
#[derive(Debug, Default)]
struct Ledger {
    /// Its connections to the bus.
    names: VecDeque<OwnedUniqueName>,
    /// Its calls without a reply yet.
    calls: VecDeque<(OwnedUniqueName, NonZeroU32)>,
    ids: HashSet<u32>,
}

impl Ledger {
    fn calls(&mut self, sender: &UniqueName<'_>, serial: NonZeroU32) {
        let sender = OwnedUniqueName::from(sender.to_owned());
        if !self.names.contains(&sender) {
            push(&mut self.names, sender.clone(), NAMES_MAX);
        }
        push(&mut self.calls, (sender, serial), CALLS_MAX);
    }

    /// The server has replied to a call of `to`, with an id if it shows the notification.
    fn replies(&mut self, to: &str, serial: NonZeroU32, id: Option<u32>) {
        let Some(at) = self.calls.iter().position(|call| call.0.as_str() == to && call.1 == serial) else { return };
        self.calls.remove(at);
        if let Some(id) = id
            && self.ids.len() < IDS_MAX
        {
            self.ids.insert(id);
        }
    }
}

/// Appends, and drops the oldest beyond `max`.
fn push<T>(queue: &mut VecDeque<T>, value: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(value);
}
