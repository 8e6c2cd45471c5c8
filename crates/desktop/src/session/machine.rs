//! What the services of the machine report, and what follows from it. No IO.

use std::collections::HashMap;

use doorbell_protocol::headers::urgency::Urgency;
use zbus::{Array, ObjectPath, Variant};

use super::bus::Service;

/// Suspend and resume.
pub(super) const LOGIND: Service = Service {
    name: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};
/// The network.
pub(super) const NETWORK: Service = Service {
    name: "org.freedesktop.NetworkManager",
    path: "/org/freedesktop/NetworkManager",
    interface: "org.freedesktop.NetworkManager",
};
/// The battery.
pub(super) const POWER: Service =
    Service { name: "org.freedesktop.UPower", path: "/org/freedesktop/UPower", interface: "org.freedesktop.UPower" };
/// All of them.
pub(super) const SERVICES: [Service; 3] = [LOGIND, NETWORK, POWER];

/// NetworkManager's `NM_STATE_CONNECTED_LOCAL`; the states of better connections are greater.
const CONNECTED: u32 = 50;
/// NetworkManager's `NM_METERED_YES` and `NM_METERED_GUESS_YES`.
const METERED: [u32; 2] = [1, 3];

/// The state of the machine, as far as its services report it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    on_battery: bool,
    metered: bool,
    /// Unknown without NetworkManager.
    connected: Option<bool>,
    /// How often a connection became worth an attempt.
    pub(super) wakes: u64,
    /// Why there is no system bus.
    pub(super) missing: Option<String>,
}

impl Machine {
    /// Nothing is known; `missing` is the reason if there is no bus.
    pub(super) fn without_bus(missing: Option<String>) -> Self {
        Self { missing, ..Self::default() }
    }

    /// Messages of which urgency are worth a wake.
    pub(super) fn floor(&self) -> Urgency {
        if self.on_battery || self.metered { Urgency::High } else { Urgency::Normal }
    }

    /// logind's `PrepareForSleep`.
    pub(super) fn sleeps(&mut self, begins: bool) {
        if !begins {
            self.wakes += 1;
        }
    }

    /// NetworkManager's `StateChanged`.
    pub(super) fn network_changes(&mut self, state: u32) {
        self.connected = Some(state >= CONNECTED);
        if state >= CONNECTED {
            self.wakes += 1;
        }
    }

    /// The properties of a service when it is asked for them.
    pub(super) fn properties_are(&mut self, of: Service, values: &HashMap<&str, Variant<'_>>) {
        match of {
            NETWORK => self.network(values),
            POWER => self.power(values),
            _ => {}
        }
    }

    /// Properties that a service reports as changed.
    pub(super) fn properties_change(&mut self, of: Service, values: &HashMap<&str, Variant<'_>>) {
        self.properties_are(of, values);
        // A VPN changes the active connections only, another network also the primary one.
        let primary = values.get("PrimaryConnection").and_then(|value| <&ObjectPath<'_>>::try_from(value).ok());
        let active = values.get("ActiveConnections").and_then(|value| <&Array<'_>>::try_from(value).ok());
        let moved = primary.is_some_and(|path| path.as_str() != "/") || active.is_some_and(|all| !all.is_empty());
        if of == NETWORK && moved && self.connected != Some(false) {
            self.wakes += 1;
        }
    }

    /// A service is no longer on the bus: what it reported is unknown.
    pub(super) fn forget(&mut self, service: Service) {
        match service {
            NETWORK => (self.metered, self.connected) = (false, None),
            POWER => self.on_battery = false,
            _ => {}
        }
    }

    fn network(&mut self, values: &HashMap<&str, Variant<'_>>) {
        let number = |name: &str| values.get(name).and_then(|value| u32::try_from(value).ok());
        if let Some(metered) = number("Metered") {
            self.metered = METERED.contains(&metered);
        }
        if let Some(state) = number("State") {
            let connected = state >= CONNECTED;
            if connected && self.connected == Some(false) {
                self.wakes += 1;
            }
            self.connected = Some(connected);
        }
    }

    fn power(&mut self, values: &HashMap<&str, Variant<'_>>) {
        if let Some(on_battery) = values.get("OnBattery").and_then(|value| bool::try_from(value).ok()) {
            self.on_battery = on_battery;
        }
    }
}

/// Whether a change of these properties has to be read.
pub(super) fn reads(of: Service, property: &str) -> bool {
    match of {
        NETWORK => ["Metered", "State", "PrimaryConnection", "ActiveConnections"].contains(&property),
        POWER => property == "OnBattery",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &'static str) -> Variant<'static> {
        Variant::from(ObjectPath::try_from(path).unwrap())
    }

    fn changes(machine: &mut Machine, values: &[(&'static str, Variant<'static>)]) -> u64 {
        let before = machine.wakes;
        machine.properties_change(NETWORK, &values.iter().cloned().collect());
        machine.wakes - before
    }

    #[test]
    fn a_battery_or_a_metered_network_raises_the_floor() {
        let mut machine = Machine::default();
        assert_eq!(machine.floor(), Urgency::Normal);
        for (metered, floor) in
            [(1, Urgency::High), (2, Urgency::Normal), (3, Urgency::High), (4, Urgency::Normal), (0, Urgency::Normal)]
        {
            machine.properties_are(NETWORK, &HashMap::from([("Metered", Variant::from(metered as u32))]));
            assert_eq!(machine.floor(), floor, "{metered}");
        }
        machine.properties_are(POWER, &HashMap::from([("OnBattery", Variant::from(true))]));
        assert_eq!(machine.floor(), Urgency::High);
        machine.forget(POWER);
        assert_eq!(machine.floor(), Urgency::Normal);
    }

    #[test]
    fn only_the_end_of_a_suspend_is_worth_an_attempt() {
        let mut machine = Machine::default();
        machine.sleeps(true);
        assert_eq!(machine.wakes, 0);
        machine.sleeps(false);
        assert_eq!(machine.wakes, 1);
    }

    #[test]
    fn a_network_that_goes_away_is_not_worth_an_attempt() {
        let mut machine = Machine::default();
        assert_eq!(changes(&mut machine, &[("PrimaryConnection", path("/"))]), 0);
        assert_eq!(changes(&mut machine, &[("PrimaryConnection", path("/a"))]), 1);
        let active = |all: Vec<ObjectPath<'static>>| ("ActiveConnections", Variant::from(all));
        assert_eq!(changes(&mut machine, &[active(Vec::new())]), 0);
        assert_eq!(changes(&mut machine, &[active(vec![ObjectPath::try_from("/a").unwrap()])]), 1);
        machine.network_changes(40);
        assert_eq!(changes(&mut machine, &[("PrimaryConnection", path("/a"))]), 0, "it still connects");
        assert_eq!(changes(&mut machine, &[("State", Variant::from(70_u32))]), 1);
        assert_eq!(changes(&mut machine, &[("State", Variant::from(70_u32))]), 0);
        assert_eq!(changes(&mut machine, &[("WirelessEnabled", Variant::from(true))]), 0);
    }

    #[test]
    fn values_of_another_type_change_nothing() {
        let mut machine = Machine::default();
        let odd = HashMap::from([
            ("Metered", Variant::from("yes")),
            ("State", Variant::from(-1_i32)),
            ("PrimaryConnection", Variant::from("/a")),
            ("ActiveConnections", Variant::from(7_u8)),
            ("OnBattery", Variant::from(1_u32)),
        ]);
        for service in SERVICES {
            machine.properties_change(service, &odd);
        }
        assert_eq!(machine, Machine::default());
    }
}
