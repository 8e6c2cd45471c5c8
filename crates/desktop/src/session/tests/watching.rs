//! Suspend, network and battery.

use std::future::ready;

use doorbell_protocol::headers::urgency::Urgency;

use super::super::bus::Bus;
use super::super::machine::{LOGIND, NETWORK, POWER};
use super::super::system::PROPERTIES;
use super::super::{QUIET, Session, SessionEvent};
use super::bus_daemon::BusDaemon;
use super::soon;
use super::stand_ins::{Logind, NetworkManager, UPower, emit, emit_to, programs};

const HIGH: SessionEvent = SessionEvent::Floor(Urgency::High);
const NORMAL: SessionEvent = SessionEvent::Floor(Urgency::Normal);

fn nowhere() -> Bus {
    Bus::At("unix:path=/nowhere/bus".to_owned())
}

async fn session(bus: &BusDaemon) -> Session {
    Session::on(nowhere(), bus.bus()).await
}

async fn next(session: &mut Session) -> SessionEvent {
    soon(session.next()).await
}

#[tokio::test]
async fn a_battery_and_a_metered_network_raise_the_floor_as_their_services_come_and_go() {
    let Some(bus) = BusDaemon::start() else { return };
    let power = UPower::start(&bus, true).await;
    let mut session = session(&bus).await;
    assert_eq!(next(&mut session).await, HIGH, "it runs already");
    power.is_on_battery(false).await;
    assert_eq!(next(&mut session).await, NORMAL);
    power.is_on_battery_unsaid(true).await;
    assert_eq!(next(&mut session).await, HIGH, "the value is read again");
    power.stop().await;
    assert_eq!(next(&mut session).await, NORMAL, "it is unknown");
    let _power = UPower::start(&bus, true).await;
    assert_eq!(next(&mut session).await, HIGH, "it runs again");
    _power.is_on_battery(false).await;
    assert_eq!(next(&mut session).await, NORMAL);
    let network = NetworkManager::start(&bus, 70, 3).await;
    assert_eq!(next(&mut session).await, HIGH, "it starts later");
    network.is_metered(4).await;
    assert_eq!(next(&mut session).await, NORMAL);
    assert!(session.missing().iter().all(|missing| !missing.contains("system bus")), "{:?}", session.missing());
}

#[tokio::test]
async fn the_end_of_a_suspend_and_another_network_are_worth_a_connection() {
    let Some(bus) = BusDaemon::start() else { return };
    let logind = Logind::start(&bus).await;
    let network = NetworkManager::start(&bus, 20, 1).await;
    let mut session = session(&bus).await;
    assert_eq!(next(&mut session).await, HIGH, "the services are followed");
    logind.prepares_for_sleep(true).await;
    network.is_metered(2).await;
    assert_eq!(next(&mut session).await, NORMAL);
    assert_eq!(session.machine.borrow().wakes, 0, "a suspend begins");
    logind.prepares_for_sleep(false).await;
    assert_eq!(next(&mut session).await, SessionEvent::Reconnect);
    // Two signals and three properties, one event.
    network.state_is(40).await;
    network.primary_connection_is("/connection/1").await;
    network.state_is(70).await;
    network.primary_connection_is("/connection/2").await;
    assert_eq!(next(&mut session).await, SessionEvent::Reconnect);
    network.is_metered(1).await;
    assert_eq!(next(&mut session).await, HIGH);
    assert_eq!(session.due, None);
    assert_eq!(session.wakes, session.machine.borrow().wakes, "none is left over");
}

#[tokio::test]
async fn a_storm_of_signals_is_one_connection_at_a_time() {
    let Some(bus) = BusDaemon::start() else { return };
    let logind = Logind::start(&bus).await;
    let mut session = session(&bus).await;
    let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
    let storm = tokio::spawn(async move {
        while end.try_recv().is_err() {
            logind.prepares_for_sleep(false).await;
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(next(&mut session).await, SessionEvent::Reconnect);
    let first = session.clock.now();
    assert_eq!(next(&mut session).await, SessionEvent::Reconnect, "the last change is not lost");
    assert!(session.clock.now() - first >= QUIET);
    ended.send(()).unwrap();
    storm.await.unwrap();
}

#[tokio::test]
async fn signals_of_a_stranger_are_not_those_of_a_service() {
    let Some(bus) = BusDaemon::start() else { return };
    let power = UPower::start(&bus, false).await;
    let network = NetworkManager::start(&bus, 70, 1).await;
    let logind = Logind::start(&bus).await;
    let mut session = session(&bus).await;
    assert_eq!(next(&mut session).await, HIGH, "the services are followed");
    let stranger = bus.connect().await;
    let changed = std::collections::HashMap::from([("OnBattery", zbus::Variant::from(true))]);
    let none: &[&str] = &[];
    let properties = super::super::bus::Service { interface: PROPERTIES, ..POWER };
    let dbus = super::super::bus::DBUS;
    let me = stranger.unique_name().unwrap().as_str();
    for to in programs(&stranger).await.iter().map(|name| Some(name.as_str())).chain([None]) {
        for _ in 0..20 {
            // Also as if the stranger had become the owner.
            emit_to(&stranger, to, dbus, "NameOwnerChanged", &(LOGIND.name, "", me)).await;
            emit_to(&stranger, to, LOGIND, "PrepareForSleep", &false).await;
            emit_to(&stranger, to, NETWORK, "StateChanged", &70_u32).await;
            emit_to(&stranger, to, properties, "PropertiesChanged", &(POWER.interface, &changed, none)).await;
        }
    }
    // The bus keeps the order of one sender only; a reply shows that it has passed on all of the above.
    programs(&stranger).await;
    network.is_metered(2).await;
    assert_eq!(next(&mut session).await, NORMAL, "not on battery");
    assert_eq!(session.machine.borrow().wakes, 0);
    // The services are still believed, about what is theirs.
    emit(power.connection(), LOGIND, "PrepareForSleep", &false).await;
    power.is_on_battery(true).await;
    assert_eq!(next(&mut session).await, HIGH);
    assert_eq!(session.machine.borrow().wakes, 0);
    logind.prepares_for_sleep(false).await;
    assert_eq!(next(&mut session).await, SessionEvent::Reconnect);
}

#[tokio::test]
async fn a_bus_that_ends_is_reported_and_found_again() {
    let Some(mut bus) = BusDaemon::start() else { return };
    let mut session = session(&bus).await;
    let _power = UPower::start(&bus, true).await;
    assert_eq!(next(&mut session).await, HIGH);
    bus.stop();
    assert_eq!(next(&mut session).await, NORMAL, "it is unknown");
    assert!(session.missing().iter().any(|missing| missing.starts_with("no system bus (")), "{:?}", session.missing());
    bus.start_again();
    let _power = UPower::start(&bus, true).await;
    assert_eq!(next(&mut session).await, HIGH);
    assert!(session.missing().iter().all(|missing| !missing.contains("system bus")), "{:?}", session.missing());
}

#[tokio::test]
async fn without_buses_nothing_happens_and_both_are_reported() {
    let mut session = Session::on(nowhere(), nowhere()).await;
    let missing = session.missing();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains("no session bus (") && missing[0].contains("DBUS_SESSION_BUS_ADDRESS"), "{missing:?}");
    assert!(missing[1].contains("no system bus (") && missing[1].contains("start dbus"), "{missing:?}");
    tokio::select! {
        biased;
        event = session.next() => panic!("{event:?}"),
        () = ready(()) => {}
    }
    let error = session.notify("key", "summary", "body").await.unwrap_err();
    assert!(error.starts_with("no session bus: "), "{error}");
}
