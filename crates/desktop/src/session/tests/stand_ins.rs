//! Stand-ins for the services of a desktop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use zbus::names::OwnedUniqueName;
use zbus::object_server::InterfaceRef;
use zbus::{Connection, DynamicType, OwnedObjectPath, OwnedVariant, interface};

use super::super::bus::Service;
use super::super::machine::{LOGIND, NETWORK, POWER};
use super::super::notifier::NOTIFICATIONS;
use super::super::system::PROPERTIES;
use super::bus_daemon::BusDaemon;

pub(super) struct Logind(Connection);

impl Logind {
    pub(super) async fn start(bus: &BusDaemon) -> Self {
        Self(owner_of(LOGIND, bus).await)
    }

    pub(super) async fn prepares_for_sleep(&self, begins: bool) {
        emit(&self.0, LOGIND, "PrepareForSleep", &begins).await;
    }
}

pub(super) struct UPower {
    connection: Connection,
    object: InterfaceRef<Power>,
}

struct Power {
    on_battery: bool,
}

#[interface(name = "org.freedesktop.UPower")]
impl Power {
    #[zbus(property)]
    fn on_battery(&self) -> bool {
        self.on_battery
    }
}

impl UPower {
    pub(super) async fn start(bus: &BusDaemon, on_battery: bool) -> Self {
        let connection = bus.connect().await;
        connection.object_server().at(POWER.path, Power { on_battery }).await.unwrap();
        connection.request_name(POWER.name).await.unwrap();
        let object = connection.object_server().interface(POWER.path).await.unwrap();
        Self { connection, object }
    }

    pub(super) async fn is_on_battery(&self, on_battery: bool) {
        self.object.get_mut().await.on_battery = on_battery;
        self.object.get().await.on_battery_changed(self.object.signal_emitter()).await.unwrap();
    }

    /// Its connection, to send with.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Reports that there is another value, and not which.
    pub(super) async fn is_on_battery_unsaid(&self, on_battery: bool) {
        self.object.get_mut().await.on_battery = on_battery;
        let properties = Service { interface: PROPERTIES, ..POWER };
        let none = HashMap::<&str, zbus::Variant<'_>>::new();
        emit(&self.connection, properties, "PropertiesChanged", &(POWER.interface, none, ["OnBattery"].as_slice()))
            .await;
    }

    pub(super) async fn stop(self) {
        // The bus notices the end of a connection a moment later.
        self.connection.release_name(POWER.name).await.unwrap();
        self.connection.close().await.unwrap();
    }
}

pub(super) struct NetworkManager {
    connection: Connection,
    object: InterfaceRef<Network>,
}

struct Network {
    state: u32,
    metered: u32,
    primary: OwnedObjectPath,
}

#[interface(name = "org.freedesktop.NetworkManager")]
impl Network {
    #[zbus(property)]
    fn state(&self) -> u32 {
        self.state
    }

    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }

    #[zbus(property)]
    fn primary_connection(&self) -> OwnedObjectPath {
        self.primary.clone()
    }
}

impl NetworkManager {
    pub(super) async fn start(bus: &BusDaemon, state: u32, metered: u32) -> Self {
        let connection = bus.connect().await;
        let network = Network { state, metered, primary: OwnedObjectPath::try_from("/").unwrap() };
        connection.object_server().at(NETWORK.path, network).await.unwrap();
        connection.request_name(NETWORK.name).await.unwrap();
        let object = connection.object_server().interface(NETWORK.path).await.unwrap();
        Self { connection, object }
    }

    pub(super) async fn is_metered(&self, metered: u32) {
        self.object.get_mut().await.metered = metered;
        self.object.get().await.metered_changed(self.object.signal_emitter()).await.unwrap();
    }

    /// As NetworkManager does it: a signal of its own, and the changed properties.
    pub(super) async fn state_is(&self, state: u32) {
        self.object.get_mut().await.state = state;
        emit(&self.connection, NETWORK, "StateChanged", &state).await;
        self.object.get().await.state_changed(self.object.signal_emitter()).await.unwrap();
    }

    pub(super) async fn primary_connection_is(&self, path: &str) {
        self.object.get_mut().await.primary = OwnedObjectPath::try_from(path).unwrap();
        self.object.get().await.primary_connection_changed(self.object.signal_emitter()).await.unwrap();
    }
}

/// A call of `Notify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notified {
    pub(super) replaces: u32,
    pub(super) id: u32,
    pub(super) summary: String,
    pub(super) body: String,
}

/// A notification server without a screen.
pub(super) struct Notifications {
    connection: Connection,
    notified: Arc<Mutex<Vec<Notified>>>,
}

struct Server {
    capabilities: &'static [&'static str],
    next: u32,
    notified: Arc<Mutex<Vec<Notified>>>,
}

#[interface(name = "org.freedesktop.Notifications")]
impl Server {
    fn get_capabilities(&self) -> Vec<&'static str> {
        self.capabilities.to_vec()
    }

    #[expect(clippy::too_many_arguments, reason = "the protocol has so many")]
    fn notify(
        &mut self,
        app: &str,
        replaces: u32,
        _icon: &str,
        summary: String,
        body: String,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedVariant>,
        _expires: i32,
    ) -> zbus::fdo::Result<u32> {
        if app == "refused" {
            return Err(zbus::fdo::Error::LimitsExceeded("too many".into()));
        }
        let id = if replaces == 0 { self.next } else { replaces };
        self.next += u32::from(replaces == 0);
        self.notified.lock().unwrap().push(Notified { replaces, id, summary, body });
        Ok(id)
    }
}

impl Notifications {
    /// One whose first id is `next`.
    pub(super) async fn start(bus: &BusDaemon, next: u32, capabilities: &'static [&'static str]) -> Self {
        let connection = bus.connect().await;
        let notified = Arc::new(Mutex::new(Vec::new()));
        let server = Server { capabilities, next, notified: notified.clone() };
        connection.object_server().at(NOTIFICATIONS.path, server).await.unwrap();
        connection.request_name(NOTIFICATIONS.name).await.unwrap();
        Self { connection, notified }
    }

    pub(super) fn notified(&self) -> Vec<Notified> {
        self.notified.lock().unwrap().clone()
    }

    /// The notification is no longer on the screen.
    pub(super) async fn closes(&self, id: u32) {
        emit(&self.connection, NOTIFICATIONS, "NotificationClosed", &(id, 2_u32)).await;
    }

    pub(super) async fn stop(self) {
        self.connection.release_name(NOTIFICATIONS.name).await.unwrap();
        self.connection.close().await.unwrap();
    }
}

/// Shows a notification as another program does: its id.
pub(super) async fn shows(program: &Connection, app: &str) -> zbus::Result<u32> {
    let none: &[&str] = &[];
    let hints = HashMap::<&str, zbus::Variant<'_>>::new();
    let Service { name, path, interface } = NOTIFICATIONS;
    let body = (app, 0_u32, "", "summary", "body", none, hints, -1_i32);
    program.call_method(Some(name), path, Some(interface), "Notify", &body).await?.body().deserialize()
}

pub(super) async fn owner_of(service: Service, bus: &BusDaemon) -> Connection {
    let connection = bus.connect().await;
    connection.request_name(service.name).await.unwrap();
    connection
}

pub(super) async fn emit<B: Serialize + DynamicType>(from: &Connection, of: Service, member: &str, body: &B) {
    emit_to(from, None, of, member, body).await;
}

/// To one program, which need not have asked for it.
pub(super) async fn emit_to<B>(from: &Connection, to: Option<&str>, of: Service, member: &str, body: &B)
where
    B: Serialize + DynamicType,
{
    from.emit_signal(to, of.path, of.interface, member, body).await.unwrap();
}

/// All programs on the bus.
pub(super) async fn programs(stranger: &Connection) -> Vec<OwnedUniqueName> {
    let dbus = super::super::bus::DBUS;
    let reply = stranger.call_method(Some(dbus.name), dbus.path, Some(dbus.interface), "ListNames", &()).await;
    let names: Vec<String> = reply.unwrap().body().deserialize().unwrap();
    names.into_iter().filter_map(|name| OwnedUniqueName::try_from(name).ok()).collect()
}
