//! Notifications of our own.

use super::super::Session;
use super::super::bus::Bus;
use super::super::notifier::NOTIFICATIONS;
use super::bus_daemon::BusDaemon;
use super::soon;
use super::stand_ins::{Notifications, Notified, emit_to, programs};

async fn session(bus: &BusDaemon) -> Session {
    Session::on(bus.bus(), Bus::At("unix:path=/nowhere/bus".to_owned())).await
}

fn notified(replaces: u32, id: u32, body: &str) -> Notified {
    Notified { replaces, id, summary: "A message waits".to_owned(), body: body.to_owned() }
}

async fn notify(session: &Session, key: &str, body: &str) {
    soon(session.notify(key, "A message waits", body)).await.unwrap();
}

#[tokio::test]
async fn a_notification_replaces_the_one_with_its_key_and_no_other() {
    let Some(bus) = BusDaemon::start() else { return };
    let session = session(&bus).await;
    let error = soon(session.notify("a", "s", "b")).await.unwrap_err();
    assert!(error.contains("start a notification server"), "{error}");

    let server = Notifications::start(&bus, 7, &["body", "body-markup"]).await;
    notify(&session, "a", "a & <b>").await;
    notify(&session, "b", "").await;
    notify(&session, "a", "again").await;
    let shown = [notified(0, 7, "a &amp; &lt;b&gt;"), notified(0, 8, ""), notified(7, 7, "again")];
    assert_eq!(server.notified(), shown);

    // To the next server, the id is that of another program's notification.
    server.stop().await;
    let server = Notifications::start(&bus, 7, &["body"]).await;
    notify(&session, "a", "a & <b>").await;
    assert_eq!(server.notified(), [notified(0, 7, "a & <b>")]);
}

#[tokio::test]
async fn a_session_bus_that_ends_is_found_again_by_the_next_notification() {
    let Some(mut bus) = BusDaemon::start() else { return };
    let session = session(&bus).await;
    let is_missing = || session.missing().iter().any(|missing| missing.starts_with("no session bus ("));
    assert!(!is_missing());
    bus.stop();
    soon(session.notify("a", "s", "b")).await.unwrap_err();
    assert!(is_missing());
    bus.start_again();
    let server = Notifications::start(&bus, 1, &[]).await;
    notify(&session, "a", "b").await;
    assert!(!is_missing());
    assert_eq!(server.notified(), [notified(0, 1, "b")]);
}

#[tokio::test]
async fn what_a_stranger_sends_stands_in_the_way_of_no_notification() {
    let Some(bus) = BusDaemon::start() else { return };
    let session = session(&bus).await;
    let stranger = bus.connect().await;
    let large = "x".repeat(1 << 16);
    for name in programs(&stranger).await {
        for _ in 0..200 {
            emit_to(&stranger, Some(name.as_str()), NOTIFICATIONS, "ActivationToken", &(1_u32, &large)).await;
        }
    }
    let server = Notifications::start(&bus, 1, &[]).await;
    notify(&session, "a", "b").await;
    assert_eq!(server.notified().len(), 1);
}

#[tokio::test]
async fn it_is_known_whether_notifications_can_be_shown() {
    let Some(mut bus) = BusDaemon::start() else { return };
    let screen = session(&bus).await.screen();
    assert!(!soon(screen.shows_notifications()).await);
    let server = Notifications::start(&bus, 1, &[]).await;
    assert!(soon(screen.shows_notifications()).await);
    server.stop().await;
    assert!(!soon(screen.shows_notifications()).await);
    bus.stop();
    assert!(soon(screen.shows_notifications()).await, "without a bus it is not known");
}
