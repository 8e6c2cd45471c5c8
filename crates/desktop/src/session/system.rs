//! Follows the services of the machine on the system bus.

use std::collections::HashMap;
use std::num::NonZeroU32;

use tokio::sync::watch;
use tokio::time::sleep;
use zbus::message::Type;
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::{Message, Optional, Variant};

use crate::clock::Clock;

use super::bus::{Bus, DBUS, Pause, Service, Wire};
use super::machine::{LOGIND, Machine, NETWORK, POWER, SERVICES, reads};

/// The interface of an object's properties.
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Follows the services forever, over one connection after the other.
pub(super) async fn keep(bus: Bus, mut opened: Result<Wire, String>, machine: watch::Sender<Machine>) {
    let mut pause = Pause::new();
    loop {
        let why = match opened {
            Ok(wire) => {
                machine.send_modify(|machine| machine.missing = None);
                let clock = Clock::start();
                Follower::new(wire, &machine).follow().await;
                pause.after(clock.now());
                "the connection is lost".to_owned()
            }
            Err(why) => why,
        };
        machine.send_modify(|machine| {
            SERVICES.into_iter().for_each(|service| machine.forget(service));
            machine.missing = Some(why);
        });
        sleep(pause.next()).await;
        opened = Wire::open(&bus).await;
    }
}

/// What is known of one service.
#[derive(Debug)]
struct Followed {
    service: Service,
    /// The connection that owns the name. Signals from others are not its signals: the bus delivers to us what a
    /// stranger addresses to us.
    owner: Option<OwnedUniqueName>,
    asked: Option<Question>,
}

/// A call whose reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Owner(NonZeroU32),
    Properties(NonZeroU32),
}

struct Follower<'a> {
    wire: Wire,
    machine: &'a watch::Sender<Machine>,
    services: [Followed; 3],
}

impl<'a> Follower<'a> {
    fn new(wire: Wire, machine: &'a watch::Sender<Machine>) -> Self {
        let services = SERVICES.map(|service| Followed { service, owner: None, asked: None });
        Self { wire, machine, services }
    }

    /// Until the connection is lost.
    async fn follow(mut self) {
        for service in SERVICES {
            for rule in rules(service) {
                self.wire.send(DBUS, "AddMatch", &rule).await;
            }
        }
        // After the rules, so that no change falls between.
        for followed in &mut self.services {
            followed.asked = self.wire.call(DBUS, "GetNameOwner", &followed.service.name).await.map(Question::Owner);
        }
        while let Some(message) = self.wire.next().await {
            match message.message_type() {
                Type::Signal => self.signal(&message).await,
                Type::MethodReturn | Type::Error => self.reply(&message).await,
                // This process has no methods for others.
                Type::MethodCall => {}
            }
        }
    }

    async fn signal(&mut self, message: &Message) {
        let header = message.header();
        let (Some(sender), Some(interface), Some(member)) = (header.sender(), header.interface(), header.member())
        else {
            return;
        };
        if *sender == DBUS.name && *interface == DBUS.interface && *member == "NameOwnerChanged" {
            return self.owner_changes(message).await;
        }
        let Some(at) = self.services.iter().position(|followed| followed.is_owned_by(sender)) else { return };
        let service = self.services[at].service;
        if header.path().is_none_or(|path| path.as_str() != service.path) {
            return;
        }
        let (interface, member) = (interface.as_str(), member.as_str());
        match (service, member) {
            (LOGIND, "PrepareForSleep") if interface == service.interface => {
                if let Ok(begins) = message.body().deserialize::<bool>() {
                    self.change(|machine| machine.sleeps(begins));
                }
            }
            (NETWORK, "StateChanged") if interface == service.interface => {
                if let Ok(state) = message.body().deserialize::<u32>() {
                    self.change(|machine| machine.network_changes(state));
                }
            }
            (NETWORK | POWER, "PropertiesChanged") if interface == PROPERTIES => {
                let body = message.body();
                let Ok((of, values, stale)) = body.deserialize::<(&str, HashMap<&str, Variant<'_>>, Vec<&str>)>()
                else {
                    return;
                };
                if of != service.interface {
                    return;
                }
                self.change(|machine| machine.properties_change(service, &values));
                if stale.iter().any(|property| reads(service, property)) {
                    self.ask_properties(at).await;
                }
            }
            _ => {}
        }
    }

    /// A service has started, ended, or been replaced.
    async fn owner_changes(&mut self, message: &Message) {
        let body = message.body();
        let Ok((name, _, owner)) = body.deserialize::<(&str, &str, Optional<UniqueName<'_>>)>() else { return };
        let Some(at) = self.services.iter().position(|followed| followed.service.name == name) else { return };
        self.set_owner(at, owner.as_ref().map(|owner| owner.to_owned().into())).await;
    }

    async fn set_owner(&mut self, at: usize, owner: Option<OwnedUniqueName>) {
        let followed = &mut self.services[at];
        let (service, is_there) = (followed.service, owner.is_some());
        followed.asked = None;
        if followed.owner != owner {
            followed.owner = owner;
            self.change(|machine| machine.forget(service));
        }
        if is_there {
            self.ask_properties(at).await;
        }
    }

    async fn reply(&mut self, message: &Message) {
        let header = message.header();
        let (Some(serial), Some(sender)) = (header.reply_serial(), header.sender()) else { return };
        let is_error = message.message_type() == Type::Error;
        for at in 0..self.services.len() {
            let followed = &self.services[at];
            let service = followed.service;
            if followed.asked == Some(Question::Owner(serial)) && *sender == DBUS.name {
                let owner = message.body().deserialize::<OwnedUniqueName>().ok().filter(|_| !is_error);
                if owner.is_none() && service == POWER {
                    // UPower is started by its first client, often by none. Once: one that crashes stays away.
                    self.wire.send(DBUS, "StartServiceByName", &(service.name, 0_u32)).await;
                }
                return self.set_owner(at, owner).await;
            }
            if followed.asked == Some(Question::Properties(serial)) && (followed.is_owned_by(sender) || is_error) {
                self.services[at].asked = None;
                let body = message.body();
                // A service that does not reply with its properties leaves the state unknown.
                let values = body.deserialize::<HashMap<&str, Variant<'_>>>().unwrap_or_default();
                return self.change(|machine| machine.properties_are(service, &values));
            }
        }
    }

    async fn ask_properties(&mut self, at: usize) {
        let service = self.services[at].service;
        if service == LOGIND {
            return;
        }
        let object = Service { interface: PROPERTIES, ..service };
        self.services[at].asked = self.wire.call(object, "GetAll", &service.interface).await.map(Question::Properties);
    }

    fn change(&self, change: impl FnOnce(&mut Machine)) {
        self.machine.send_if_modified(|machine| {
            let before = machine.clone();
            change(machine);
            *machine != before
        });
    }
}

impl Followed {
    fn is_owned_by(&self, sender: &UniqueName<'_>) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.as_str() == sender.as_str())
    }
}

/// What the bus is to send of this service.
fn rules(service: Service) -> Vec<String> {
    let Service { name, path, interface } = service;
    let from = format!("type='signal',sender='{name}',path='{path}'");
    let properties = format!("{from},interface='{PROPERTIES}',member='PropertiesChanged',arg0='{interface}'");
    let mut rules = vec![owner_rule(name)];
    match service {
        LOGIND => rules.push(format!("{from},interface='{interface}',member='PrepareForSleep'")),
        NETWORK => rules.extend([format!("{from},interface='{interface}',member='StateChanged'"), properties]),
        _ => rules.push(properties),
    }
    rules
}

/// That a name gets another owner.
pub(super) fn owner_rule(name: &str) -> String {
    let Service { name: dbus, path, interface } = DBUS;
    format!(
        "type='signal',sender='{dbus}',path='{path}',interface='{interface}',member='NameOwnerChanged',arg0='{name}'"
    )
}
