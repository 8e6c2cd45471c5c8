//! `doorbell desktop` with the real Firefox ESR, in what a desktop brings: many messages at once, a killed browser, a
//! browser that stays, several profiles, an upgrade of the package, Wayland.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use support::clock::Stopwatch;
use support::desktop_part::{closed_firefox, subscribed};
use support::{AppServer, Desktop, DesktopPart, Figures, Firefox, Installed, Series, Service, Site, WakeDoor};
use support::{Weston, runs};

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Firefox::is_here() && Desktop::is_here() && Desktop::shows_windows() && AppServer::is_here()
}

/// The messages that wait are sent before the wake, and those of the series from before the click until the page is there:
/// some of them arrive while the window has no tabs yet.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_that_waits_or_arrives_while_the_first_window_opens_and_a_killed_firefox_is_woken_again() {
    if !all_is_here() {
        return;
    }
    let service = Service::start_with(&["--rate-per-subscription", "0"]);
    let (desktop, mut site, shop, door) = (Desktop::start(), Site::open(), AppServer::new(), WakeDoor::open().await);
    let (firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    firefox.restores_pages();
    let part = DesktopPart::start(&[&firefox], &door.origin(), &door.ca(), &[]);
    let mut stream = door.next_stream();
    let mut texts: Vec<String> = (1..=20).map(|number| format!("waits {number}")).collect();
    let sent = shop.sends_all(&texts, &subscription, &service);
    stream.reports_waiting(20, 1);
    site.waits_for_pushes("waits", 20);
    for message in &sent {
        shop.learns_of_delivery(message, &service).await;
    }
    stream.reports_quiet();

    let series = Series::begin("window", &shop, &subscription, &service);
    desktop.shows("window 1");
    let before = series.sent();
    desktop.clicks();
    site.waits_for_page();
    let during = series.sent() - before;
    let series = series.ends_delivered().await;
    println!("desktop: {during} of {} messages were sent between click and page", series.len());
    assert!(during >= 5, "{during} messages are no series");
    site.waits_for_pushes("window", series.len());
    texts.extend(series);
    desktop.waits_until("the last one is shown", || desktop.bodies().len() >= texts.len());
    let mut shown = desktop.bodies();
    for list in [&mut texts, &mut shown] {
        list.sort_unstable();
    }
    assert_eq!(shown, texts, "each message is shown, once");

    // It is killed with its window; the pages that the next one might restore do not matter to a message.
    let killed = firefox.processes();
    firefox.is_killed_from_outside();
    part.prints("Firefox has ended (signal: 9 (SIGKILL))");
    firefox.is_closed(&desktop);
    desktop.clears();
    shop.sends(r#"{"title":"Mom","body":"again"}"#, &subscription, &service);
    stream.reports_waiting(1, 2);
    desktop.shows("again");
    assert_eq!(site.waits_for_push(r#"{"title":"Mom","body":"again"}"#), 0, "no page is restored without a window");
    assert!(!firefox.processes().contains(&killed[0]));
    desktop.clicks();
    site.waits_for_click("Mom");
    site.waits_for_page();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firefox_that_stays_has_no_window_outlives_its_last_one_and_is_woken_when_it_was_killed() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    let part = DesktopPart::of(&[&firefox], &service, &["--stay"]);
    part.prints("starting Firefox without a window");
    part.prints("Firefox is awake");
    let resident = firefox.processes();
    // The first message waits for the push client; the next ones are timed.
    shop.sends("first", &subscription, &service);
    desktop.shows("first");
    let mut times = Figures::of("Firefox resident: 201 → notification", "0.05 s, n 10");
    for run in 1..=runs() {
        let text = format!("resident {run}");
        let (_, watch) = shop.posts(&text, &subscription, &service).await;
        desktop.shows(&text);
        times.add(watch);
        assert_eq!(site.waits_for_push(&text), 0, "no page is open");
    }
    assert!(desktop.windows().is_empty(), "no window exists");

    let mut opened = Figures::of("Firefox resident: click → page", "0.4–2 s");
    let watch = Stopwatch::start();
    desktop.clicks();
    assert!(site.waits_for_click("Doorbell"), "it opens a page");
    site.waits_for_page();
    opened.add(watch);
    let windows = desktop.windows();
    assert_eq!(windows.len(), 1);
    desktop.closes_window(windows[0]);
    desktop.waits_until("the window closes", || desktop.windows().is_empty());
    shop.sends("after the window", &subscription, &service);
    desktop.shows("after the window");
    assert_eq!(site.waits_for_push("after the window"), 0);
    assert_eq!(firefox.processes()[0], resident[0], "it stays");
    assert_eq!(part.count("(process "), 1, "nothing else was started:\n{}", part.output());

    firefox.is_killed_from_outside();
    part.prints("Firefox has ended (signal: 9 (SIGKILL))");
    firefox.is_closed(&desktop);
    shop.sends("after the kill", &subscription, &service);
    part.prints("1 waiting, waking Firefox");
    desktop.shows("after the kill");
    assert!(desktop.windows().is_empty(), "no window is restored");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_profiles_are_reached_over_one_connection_in_a_new_session_and_one_in_use_is_left_alone() {
    if !all_is_here() {
        return;
    }
    let (service, before, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let alice = Firefox::prepared_for(&service, &before);
    let bob = alice.another();
    let (mut alice, to_alice) = subscribed(alice, &mut site, &shop);
    let (mut bob, to_bob) = subscribed(bob, &mut site, &shop);

    // The session ends. In the next one no browser has been started yet.
    drop(before);
    let desktop = Desktop::start();
    alice.moves_to(&desktop);
    bob.moves_to(&desktop);
    let part = DesktopPart::of(&[&alice, &bob], &service, &[]);
    assert_eq!(part.connections(), 1);
    shop.sends("for Alice", &to_alice, &service);
    shop.sends("for Bob", &to_bob, &service);
    site.waits_for_push("for Alice");
    site.waits_for_push("for Bob");
    desktop.displays(2);
    assert!(!alice.processes().is_empty() && !bob.processes().is_empty());
    assert_eq!((part.connections(), part.count("waking Firefox")), (1, 2));

    let woken = alice.processes()[0];
    alice.is_asked_to_end(woken);
    part.prints(&format!("{}: Firefox has ended", alice.profile().display()));
    alice.is_closed(&desktop);
    alice.starts_without_page();
    shop.sends("for Alice, who is back", &to_alice, &service);
    desktop.shows("for Alice, who is back");
    assert_eq!(part.count("waking Firefox"), 2, "nothing is started:\n{}", part.output());
    let mut bodies = desktop.bodies();
    bodies.sort_unstable();
    assert_eq!(bodies, ["for Alice", "for Alice, who is back", "for Bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_firefox_is_woken_and_one_that_was_removed_is_named() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    let installed = Installed::copy();
    let program = installed.program().display().to_string();
    let part = DesktopPart::of(&[&firefox], &service, &["--binary", &program]);
    for (text, build) in [("before", "20250102030405"), ("after", "20260102030405")] {
        installed.is_upgraded_to(build);
        shop.sends(text, &subscription, &service);
        desktop.shows(text);
        part.prints("Firefox is awake");
        let version = firefox.last_version();
        assert!(version.contains(&format!("_{build}/")), "{version} is not that of build {build}");
        firefox.is_asked_to_end(firefox.processes()[0]);
        firefox.is_closed(&desktop);
        desktop.waits_until("its end is seen", || part.count("Firefox has ended") == part.count("waking Firefox"));
    }
    assert_eq!(part.count("waking Firefox"), 2);

    installed.is_removed();
    shop.sends("in vain", &subscription, &service);
    let why = part.prints("could not be started");
    assert!(why.contains(&format!("{program} is gone: install")), "{why}");
    assert_eq!(firefox.processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_woken_firefox_needs_no_x() {
    if !all_is_here() || !Weston::is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (mut firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    let weston = Weston::start();
    firefox.moves_to_wayland(&weston, &desktop);
    let part = DesktopPart::of(&[&firefox], &service, &[]);
    let mut times = Figures::of("Firefox woken under weston: 201 → notification", "works, n 1");
    let (_, watch) = shop.posts(r#"{"title":"Mom","body":"on Wayland"}"#, &subscription, &service).await;
    desktop.shows("on Wayland");
    times.add(watch);
    desktop.clicks();
    assert!(site.waits_for_click("Mom"), "it opens a page");
    site.waits_for_page();
    assert!(desktop.windows().is_empty(), "its window is not on the X screen");
    firefox.is_asked_to_end(firefox.processes()[0]);
    part.prints("Firefox has ended");
}
