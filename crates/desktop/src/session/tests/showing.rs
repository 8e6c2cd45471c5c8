//! Which notifications of a process are on the screen.

use std::process::{Child, Command, Stdio};

use zbus::connection::Builder;

use super::super::notifier::NOTIFICATIONS;
use super::super::{Shown, Watch};
use super::bus_daemon::BusDaemon;
use super::soon;
use super::stand_ins::{Notifications, emit, shows};

/// The address of the bus for [`a_program_that_shows_a_notification`].
const ADDRESS: &str = "DOORBELL_TEST_BUS";

async fn until(shown: &mut Shown, count: usize) {
    soon(async {
        while shown.count() != count {
            shown.changed().await;
        }
    })
    .await;
}

/// A program of its own, which shows one notification and stays.
fn program(bus: &BusDaemon) -> Child {
    let name = "session::tests::showing::a_program_that_shows_a_notification";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", name]).env(ADDRESS, bus.address());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
#[ignore = "a program that the tests below start"]
async fn a_program_that_shows_a_notification() {
    let address = std::env::var(ADDRESS).expect("the tests below start it");
    let mut begin = String::new();
    std::io::stdin().read_line(&mut begin).unwrap();
    let program = Builder::address(address.as_str()).build().await.unwrap();
    shows(&program, "program").await.unwrap();
    std::io::stdin().read_line(&mut begin).unwrap();
}

#[tokio::test]
async fn the_notifications_of_a_process_and_its_children_are_counted_and_no_others() {
    use std::io::Write;
    let Some(bus) = BusDaemon::start() else { return };
    let server = Notifications::start(&bus, 1, &[]).await;
    let mut child = program(&bus);
    let mut all = soon(Watch::on(bus.bus())).await.unwrap().of(std::process::id());
    let mut childs = soon(Watch::on(bus.bus())).await.unwrap().of(child.id());
    assert_eq!((all.count(), childs.count()), (0, 0));

    let me = bus.connect().await;
    shows(&me, "refused").await.unwrap_err();
    let mine = shows(&me, "me").await.unwrap();
    until(&mut all, 1).await;
    shows(&me, "me").await.unwrap();
    until(&mut all, 2).await;
    server.closes(mine).await;
    server.closes(mine).await;
    until(&mut all, 1).await;

    let mut input = child.stdin.take().unwrap();
    input.write_all(b"begin\n").unwrap();
    until(&mut childs, 1).await;
    until(&mut all, 2).await;
    server.closes(server.notified().last().unwrap().id).await;
    until(&mut childs, 0).await;
    // The one of the test itself.
    until(&mut all, 1).await;
    drop(input);
    child.wait().unwrap();
}

#[tokio::test]
async fn a_notification_counts_that_is_shown_before_it_is_known_whose_are_followed() {
    let Some(bus) = BusDaemon::start() else { return };
    let _server = Notifications::start(&bus, 1, &[]).await;
    let watch = soon(Watch::on(bus.bus())).await.unwrap();
    let me = bus.connect().await;
    shows(&me, "me").await.unwrap();
    let mut shown = watch.of(std::process::id());
    until(&mut shown, 1).await;
}

#[tokio::test]
async fn a_stranger_closes_no_notification_and_the_end_of_the_server_closes_all() {
    let Some(bus) = BusDaemon::start() else { return };
    let server = Notifications::start(&bus, 1, &[]).await;
    let mut shown = soon(Watch::on(bus.bus())).await.unwrap().of(std::process::id());
    let (me, stranger) = (bus.connect().await, bus.connect().await);
    let first = shows(&me, "me").await.unwrap();
    let second = shows(&me, "me").await.unwrap();
    shows(&me, "me").await.unwrap();
    until(&mut shown, 3).await;
    emit(&stranger, NOTIFICATIONS, "NotificationClosed", &(first, 2_u32)).await;
    // A reply shows that the bus has passed on the signal.
    stranger.call_method(Some("org.freedesktop.DBus"), "/", None::<&str>, "GetId", &()).await.unwrap();
    server.closes(second).await;
    shows(&me, "me").await.unwrap();
    shows(&me, "me").await.unwrap();
    // It would be three without the first.
    until(&mut shown, 4).await;

    server.stop().await;
    until(&mut shown, 0).await;
    let _server = Notifications::start(&bus, 1, &[]).await;
    shows(&me, "me").await.unwrap();
    until(&mut shown, 1).await;
}

#[tokio::test]
async fn a_bus_that_ends_takes_its_notifications_with_it() {
    let Some(mut bus) = BusDaemon::start() else { return };
    let _server = Notifications::start(&bus, 1, &[]).await;
    let mut shown = soon(Watch::on(bus.bus())).await.unwrap().of(std::process::id());
    shows(&bus.connect().await, "me").await.unwrap();
    until(&mut shown, 1).await;
    bus.stop();
    bus.start_again();
    until(&mut shown, 0).await;
    let _server = Notifications::start(&bus, 1, &[]).await;
    shows(&bus.connect().await, "me").await.unwrap();
    until(&mut shown, 1).await;
}

#[tokio::test]
async fn a_bus_that_allows_no_monitor_is_an_error_with_what_to_do() {
    let rule = r#"<deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>"#;
    let Some(bus) = BusDaemon::start_denying(rule) else { return };
    let error = soon(Watch::on(bus.bus())).await.unwrap_err();
    assert!(error.contains("does not let Doorbell follow notifications") && error.contains("resident"), "{error}");
}
