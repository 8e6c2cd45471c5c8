//! `doorbell desktop` with the real Chromium: no window is open, or no Chromium runs, and a message's notification appears.
//!
//! All parts are real: the message, the push service with its wake door, the extension, Chromium and the bus.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use support::clock::Stopwatch;
use support::process::Running;
use support::service::doorbell;
use support::{AppServer, Browser, Chromium, Desktop, Figures, Service, Site, WakeDoor, runs};

/// What the desktop part prints when the service's wake door is open for a profile.
const FOLLOWED: &str = "messages wake its Chromium";

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Chromium::is_here() && Desktop::is_here() && AppServer::is_here()
}

/// A Chromium that has subscribed at the page of `site` for `shop`, and is closed; with its subscription.
fn closed_chromium(service: &Service, desktop: &Desktop, site: &mut Site, shop: &AppServer) -> (Chromium, Value) {
    let mut chromium = Chromium::prepared_on(service, site, desktop);
    chromium.opens(site);
    let subscription = shop.places(&chromium.subscribes(&shop.key()), service);
    chromium.quits();
    (chromium, subscription)
}

/// The desktop part for the profile of `chromium`.
fn desktop_part(chromium: &Chromium, service: &Service, more: &[&str]) -> Running {
    let mut command = doorbell("desktop");
    command.arg("run").arg(service.origin()).arg("--ca").arg(service.ca()).arg("--chromium").arg(chromium.profile());
    Running::start(command.args(more).envs(chromium.variables()).env_remove("XDG_STATE_HOME"))
}

/// `doorbell chromium` with the same profile, and more arguments.
fn started_by_hand(chromium: &Chromium, service: &Service, arguments: &[&str]) -> Running {
    let mut command = doorbell("chromium");
    command.arg(service.origin()).arg("--ca").arg(service.ca()).arg("--profile").arg(chromium.profile());
    Running::start(command.args(arguments).envs(chromium.variables()))
}

/// How many windows the extension has reported last.
fn windows_counted(chromium: &Chromium) -> u64 {
    let report = fs::read(chromium.profile().join("doorbell-windows")).unwrap();
    serde_json::from_slice::<Value>(&report).unwrap()["windows"].as_u64().unwrap()
}

/// A message whose notification has this title: Chromium puts the site before the body.
fn titled(title: &str) -> String {
    json!({ "title": title }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resident_chromium_shows_a_message_without_a_window_and_a_click_opens_one() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (chromium, subscription) = closed_chromium(&service, &desktop, &mut site, &shop);

    let watch = Stopwatch::start();
    let part = desktop_part(&chromium, &service, &[]);
    part.prints(FOLLOWED);
    println!("resident: its wake door is open {} ms after the start of the desktop part", watch.millis());
    let token = fs::metadata(chromium.profile().join("doorbell-wake-token")).unwrap();
    assert_eq!(token.permissions().mode() & 0o777, 0o600);
    let resident = chromium.processes();
    assert_eq!((resident.len(), desktop.windows_of(&chromium.profile())), (1, 0));

    let mut shown = Figures::of("Chromium resident: 201 → notification", "0.17 s, n 10");
    for run in 1..=runs() {
        desktop.clears();
        let title = format!("mom calls {run}");
        let text = titled(&title);
        let (sent, watch) = shop.posts(&text, &subscription, &service).await;
        desktop.announces(&title);
        shown.add(watch);
        assert_eq!(site.waits_for_push(&text), 0, "no page is open");
        shop.learns_of_delivery(&sent, &service).await;
    }
    assert_eq!(desktop.windows_of(&chromium.profile()), 0);

    let mut opened = Figures::of("Chromium resident: click → page", "0.31 s");
    let watch = Stopwatch::start();
    desktop.clicks();
    let last = format!("mom calls {}", runs());
    assert!(site.waits_for_click(&last), "no page was open, so that the click opens one");
    site.waits_for_page();
    opened.add(watch);
    assert_eq!(desktop.windows_of(&chromium.profile()), 1);

    // The user starts Chromium with the same profile: the page opens in the one that runs.
    let mut second = started_by_hand(&chromium, &service, &["--", &site.url()]);
    site.waits_for_page();
    assert!(second.exit(|_| {}).success(), "{}", second.output());
    second.prints("it opens the window");
    // Its profile cannot be begun anew meanwhile.
    let mut third = started_by_hand(&chromium, &service, &["--fresh"]);
    assert!(!third.exit(|_| {}).success(), "{}", third.output());
    third.prints("close it first");
    assert_eq!(chromium.processes(), resident, "it is the same Chromium");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resident_chromium_that_was_killed_is_woken_by_the_next_message() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (chromium, subscription) = closed_chromium(&service, &desktop, &mut site, &shop);
    let part = desktop_part(&chromium, &service, &[]);
    part.prints(FOLLOWED);
    chromium.processes_are_killed();
    part.prints("Chromium has ended (signal: 9");

    let text = titled("after kill -9");
    let sent = shop.sends(&text, &subscription, &service);
    let watch = Stopwatch::start();
    desktop.announces("after kill -9");
    println!("killed: the notification is on the bus {} ms after the service's 201", watch.millis());
    site.waits_for_push(&text);
    shop.learns_of_delivery(&sent, &service).await;
    part.prints("1 waiting, waking Chromium");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_woken_chromium_shows_what_waits_and_ends_when_nothing_is_left_to_do() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (chromium, subscription) = closed_chromium(&service, &desktop, &mut site, &shop);
    let mut first = desktop_part(&chromium, &service, &["--chromium-ends"]);
    // It runs once, to get its token. Another desktop part does not know what this Chromium shows.
    first.prints(FOLLOWED);
    desktop.waits_until("its windows are counted", || chromium.profile().join("doorbell-windows").is_file());
    first.kill();
    let part = desktop_part(&chromium, &service, &["--chromium-ends"]);
    part.prints("Chromium stays: an earlier desktop part has started it");
    chromium.processes_are_killed();
    part.prints("Chromium has ended");
    part.prints(FOLLOWED);
    assert_eq!(chromium.processes(), Vec::<u32>::new(), "no Chromium runs");

    let mut shown = Figures::of("Chromium woken: 201 → notification", "3.9 s, n 6");
    for run in 1..=runs() {
        let title = format!("mom calls {run}");
        let (sent, watch) = shop.posts(&titled(&title), &subscription, &service).await;
        desktop.announces(&title);
        shown.add(watch);
        shop.learns_of_delivery(&sent, &service).await;
        desktop.clears();
        chromium.processes_are_killed();
        desktop.waits_until("Chromium ends", || part.count("Chromium has ended (signal: 9") == run);
    }

    let burst: Vec<String> = (1..=20).map(|number| format!("waiting {number}")).collect();
    let all = shop.sends_all(&burst, &subscription, &service);
    desktop.announces("Doorbell");
    assert_eq!(site.waits_for_pushes("waiting ", burst.len()).len(), burst.len());
    for sent in &all {
        shop.learns_of_delivery(sent, &service).await;
    }
    assert_eq!(desktop.windows_of(&chromium.profile()), 0);

    // A click on what waited long opens a page; the window closes; then only a dismissed notification is left.
    let mut opened = Figures::of("Chromium woken: click → page", "0.31 s");
    let watch = Stopwatch::start();
    desktop.clicks();
    assert!(site.waits_for_click("Doorbell"), "no page was open, so that the click opens one");
    site.waits_for_page();
    opened.add(watch);
    desktop.clears();
    // A private window counts too.
    let mut private = started_by_hand(&chromium, &service, &["--", "--incognito", &site.url()]);
    assert!(private.exit(|_| {}).success(), "{}", private.output());
    site.waits_for_page();
    desktop.waits_until("two windows are counted", || windows_counted(&chromium) == 2);
    assert_eq!(desktop.windows_of(&chromium.profile()), 2);
    desktop.closes_windows_of(&chromium.profile());
    let mut quiet = Figures::of("Chromium woken: windows closed → ended", "30 s of quiet");
    let watch = Stopwatch::start();
    desktop.waits_until("Chromium ends", || part.count("Chromium has ended (exit status: 0)") == 1);
    quiet.add(watch);
    assert_eq!(chromium.processes(), Vec::<u32>::new(), "it has ended");
}

/// Needs no browser, and no screen either.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_subscription_is_tried_again_after_chromium_wrote_its_settings_and_another_one_at_once() {
    let (folder, door) = (tempfile::tempdir().unwrap(), WakeDoor::open().await);
    let (profile, token, program) =
        (folder.path().join("alice"), folder.path().join("token"), folder.path().join("no"));
    fs::create_dir(&profile).unwrap();
    for (file, text) in [
        (profile.join("doorbell-service"), door.origin()),
        (token.clone(), "alice-410".to_owned()),
        (program.clone(), "#!/bin/sh\n".to_owned()),
    ] {
        fs::write(file, text).unwrap();
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    // What is written over there is not seen in the profile.
    symlink(&token, profile.join("doorbell-wake-token")).unwrap();
    let mut command = doorbell("desktop");
    command.arg("run").arg(door.origin()).arg("--ca").arg(door.ca()).arg("--binary").arg(program);
    command.arg("--chromium").arg(&profile).arg("--chromium-ends");
    command.env("HOME", folder.path()).env("DISPLAY", ":none").env_remove("XDG_STATE_HOME");
    let part = Running::start(&mut command);
    part.prints("(410 Gone)");

    fs::write(&token, "alice").unwrap();
    fs::write(profile.join("Local State"), "{}").unwrap();
    assert_eq!(door.next_stream().authorization, "Bearer alice");
    part.prints(FOLLOWED);

    fs::remove_file(profile.join("doorbell-wake-token")).unwrap();
    fs::write(profile.join("doorbell-wake-token"), "bob").unwrap();
    assert_eq!(door.next_stream().authorization, "Bearer bob");
}
