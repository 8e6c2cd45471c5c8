//! `doorbell desktop` with the real Firefox ESR: a message waits, no Firefox runs, and its notification appears.
//!
//! The message, the push service and the browser are real. Where a test decides what the service reports, and when, the
//! wake door is the test's own.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use support::clock::{Deadline, Stopwatch};
use support::desktop_part::{closed_firefox, subscribed};
use support::process::{Busy, Running};
use support::service::doorbell;
use support::{AppServer, Browser, Desktop, DesktopPart, Figures, Firefox, Service, Site, WakeDoor, WakeStream, runs};

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Firefox::is_here() && Desktop::is_here() && Desktop::shows_windows() && AppServer::is_here()
}

/// `doorbell firefox` with the same profile, at the page of the site.
fn started_by_hand(firefox: &Firefox, service: &Service, site: &Site) -> Command {
    let mut command = doorbell("firefox");
    command.arg(service.origin()).arg("--ca").arg(service.ca()).arg("--profile").arg(firefox.profile());
    command.arg("--").arg(site.url());
    firefox.surround(&mut command);
    command
}

/// A folder like that of an installed Firefox ESR, with a launcher that notes its start in `started` and ends: its launcher.
fn lazy_firefox(folder: &Path) -> PathBuf {
    let installed = folder.join("esr");
    fs::create_dir_all(installed.join("defaults/pref")).unwrap();
    let launcher = format!("#!/bin/sh\necho \"$@\" >> {}\n", folder.join("started").display());
    for (name, text) in [
        ("firefox-esr", launcher.as_str()),
        ("libxul.so", ""),
        ("application.ini", "SourceRepository=https://example.org/mozilla-esr153\n"),
    ] {
        fs::write(installed.join(name), text).unwrap();
    }
    installed.join("firefox-esr")
}

/// A folder that is a profile of `doorbell firefox`, and whose Firefox has this uaid.
fn profile(folder: &Path, name: &str, uaid: &str) -> PathBuf {
    let profile = folder.join(name);
    fs::create_dir(&profile).unwrap();
    fs::write(profile.join("user.js"), "// Written by `doorbell firefox`, anew at each start.\n").unwrap();
    fs::write(profile.join("prefs.js"), format!("user_pref(\"dom.push.userAgentID\", \"{uaid}\");\n")).unwrap();
    profile
}

/// A site whose service worker asks it before it shows a message, and which answers when the test wants it.
struct SlowSite {
    port: u16,
    /// The connections on which a worker waits.
    asked: Receiver<TcpStream>,
}

impl SlowSite {
    const WORKER: &str = "self.addEventListener('push', (event) => event.waitUntil(
      fetch('/ask').then(() => self.registration.showNotification('Slow', { body: event.data.text() }))));";
    const SUBSCRIBE: &str = "return (async (key) => {
      await navigator.serviceWorker.register('/worker.js');
      const { pushManager } = await navigator.serviceWorker.ready;
      const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
      return subscription.toJSON();
    })(arguments[0])";

    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = sender.clone();
                thread::spawn(move || Self::serves(stream, &asked));
            }
        });
        Self { port, asked }
    }

    /// A browser that disconnects in between is not a failure.
    fn serves(stream: TcpStream, asked: &Sender<TcpStream>) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            (reader.read_line(&mut request).ok()? > 0).then_some(())?;
        }
        let stream = reader.into_inner();
        match request.split(' ').nth(1)? {
            "/ask" => asked.send(stream).ok(),
            "/worker.js" => Self::answers(stream, "text/javascript", Self::WORKER),
            _ => Self::answers(stream, "text/html", "<!doctype html><title>Slow</title>"),
        }
    }

    fn answers(mut stream: TcpStream, kind: &str, text: &str) -> Option<()> {
        let length = text.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes()).ok()
    }

    /// The page subscribes for `shop`: the subscription.
    fn is_subscribed(&self, firefox: &mut Firefox, shop: &AppServer) -> Value {
        firefox.visits(&format!("http://localhost:{}/", self.port));
        firefox.runs(Self::SUBSCRIBE, json!([shop.key()]))
    }

    /// Waits until a worker asks.
    fn is_asked(&self) -> TcpStream {
        self.asked.recv_timeout(Deadline::soon().left()).expect("a worker that asks")
    }
}

/// Needs no browser, and no screen either.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_opened_again_and_a_browser_that_does_nothing_is_not_started_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let door = WakeDoor::open().await;
    let mut command = doorbell("desktop");
    command.arg("run").arg(door.origin()).arg("--ca").arg(door.ca()).arg("--binary").arg(lazy_firefox(folder.path()));
    for (name, uaid) in [("alice", "alice"), ("unknown", "x-401"), ("gone", "x-410"), ("doorless", "x-404")] {
        command.arg("--firefox").arg(profile(folder.path(), name, uaid));
    }
    command.args(["--urgency", "high"]).env("HOME", folder.path()).env("DISPLAY", ":none").env_remove("XDG_STATE_HOME");
    let mut part = Running::start(&mut command);

    let stream = door.next_stream();
    assert_eq!(stream.authorization, "Bearer alice");
    assert_eq!(stream.target, ("/wake".to_owned(), "high".to_owned()));
    for (name, why) in [("unknown", "(401 Unauthorized)"), ("gone", "(410 Gone)"), ("doorless", "no wake door (404)")] {
        let line = part.prints(why);
        assert!(line.contains(&format!("/{name}: ")), "{line}");
    }
    door.is_cut_off();
    part.prints("trying again in");
    let mut stream = door.next_stream();
    assert_eq!(stream.authorization, "Bearer alice");

    stream.reports_waiting(3, 1);
    part.prints("/alice: 3 waiting, waking Firefox");
    part.prints("/alice: Firefox has ended (exit status: 0)");
    // The same message waits: the next start is a minute away. A new connection does not change that.
    door.is_cut_off();
    let mut stream = door.next_stream();
    stream.reports_waiting(3, 1);
    part.terminate();
    assert!(part.exit(|_| {}).success(), "{}", part.output());
    let started = fs::read_to_string(folder.path().join("started")).unwrap();
    assert_eq!(started, format!("--profile {} --silent\n", folder.path().join("alice").display()));
}

/// Needs no browser, and no screen either.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_answers_while_the_service_is_away_costs_a_profile_some_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let door = WakeDoor::open().await;
    let mut command = doorbell("desktop");
    command.arg("run").arg(door.origin()).arg("--ca").arg(door.ca()).arg("--binary").arg(lazy_firefox(folder.path()));
    command.arg("--firefox").arg(profile(folder.path(), "alice", "proxy"));
    command.env("HOME", folder.path()).env("DISPLAY", ":none").env_remove("XDG_STATE_HOME");
    let part = Running::start(&mut command);
    // What the service itself answers so is asked again after an hour.
    assert_eq!(door.next_stream().authorization, "Bearer proxy");
    for status in ["401 Unauthorized", "410 Gone", "404 Not Found"] {
        part.prints(&format!("{status}, which is not the service's own answer"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_wakes_a_closed_firefox_which_shows_it_and_ends_by_itself_while_one_that_stays_goes_on() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let firefox = Firefox::prepared_for(&service, &desktop);
    let resident = firefox.another();
    let (firefox, subscription) = subscribed(firefox, &mut site, &shop);
    // This one has nothing to do from the beginning.
    let stay = DesktopPart::start(&[&resident], &service.origin(), &service.ca(), &["--stay"]);
    stay.prints("Firefox is awake");
    let mut shown = Figures::of("Firefox woken: 201 → notification", "1.1 s, 0.8–4.7, n 6");
    let mut started = Figures::of("Firefox woken: its start → notification", "1.1 s, 0.8–4.7, n 6");
    let mut opened = Figures::of("Firefox woken: click → page", "0.4–2 s");
    for run in 1..=runs() {
        assert_eq!(firefox.processes(), Vec::<u32>::new(), "Firefox is closed");
        // A new one each time: after the end of a browser it waits a moment before it starts the next.
        let part = DesktopPart::of(&[&firefox], &service, &[]);
        let text = format!("mom calls {run}");
        let (sent, watch) = shop.posts(&text, &subscription, &service).await;
        part.prints("waking Firefox");
        let start = Stopwatch::start();
        desktop.shows(&text);
        shown.add(watch);
        started.add(start);
        assert_eq!(site.waits_for_push(&text), 0, "no page is open");
        shop.learns_of_delivery(&sent, &service).await;
        part.prints("Firefox is awake");
        assert!(!firefox.processes().is_empty(), "a woken Firefox stays while its notification shows");
        assert!(desktop.windows().is_empty(), "no window opens");
        if run < runs() {
            let watch = Stopwatch::start();
            desktop.clicks();
            site.waits_for_page();
            opened.add(watch);
            firefox.is_asked_to_end(firefox.processes()[0]);
            part.prints("Firefox has ended");
            firefox.is_closed(&desktop);
            continue;
        }
        desktop.pictures("desktop-woken", None);
        // It is only dismissed: no window opens, and Firefox has nothing to do any more.
        desktop.clears();
        let mut quiet = Figures::of("Firefox woken: dismissed → ended by itself", "14.5–15.7 s");
        let watch = Stopwatch::start();
        part.prints("Firefox has ended (exit status: 0)");
        quiet.add(watch);
        assert_eq!(firefox.processes(), Vec::<u32>::new(), "it has ended by itself");
        assert_eq!(stay.count("has ended"), 0, "{}", stay.output());
        assert!(!resident.processes().is_empty(), "the other one stays");
    }
}

/// The streams of two profiles, that of `firefox` first.
fn streams_of(door: &WakeDoor, firefox: &Firefox) -> (WakeStream, WakeStream) {
    let (one, other) = (door.next_stream(), door.next_stream());
    if one.authorization == format!("Bearer {}", firefox.uaid()) { (one, other) } else { (other, one) }
}

/// A slow network: the way to a service, which lets no new connection through while it is shut.
struct Gate {
    port: u16,
    is_open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn to(service: &Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = Arc::new((Mutex::new(true), Condvar::new()));
        let (gate, service) = (Arc::clone(&is_open), service.authority());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (gate, service) = (Arc::clone(&gate), service.clone());
                thread::spawn(move || Self::passes(stream, &gate, &service));
            }
        });
        Self { port, is_open }
    }

    /// Each side may disconnect at any time.
    fn passes(stream: TcpStream, (is_open, changed): &(Mutex<bool>, Condvar), service: &str) -> Option<()> {
        drop(changed.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
        let server = TcpStream::connect(service).ok()?;
        let (mut from, mut to) = (stream.try_clone().ok()?, server.try_clone().ok()?);
        thread::spawn(move || {
            std::io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Both).ok();
        });
        std::io::copy(&mut &server, &mut &stream).ok();
        stream.shutdown(Shutdown::Both).ok()
    }

    fn is_set(&self, open: bool) {
        *self.is_open.0.lock().unwrap() = open;
        self.is_open.1.notify_all();
    }
}

/// As in the next test, another Firefox shows when the time is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_woken_firefox_does_not_end_before_it_has_reached_its_service() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (gate, door) = (Gate::to(&service), WakeDoor::open().await);
    let firefox = Firefox::prepared_for(&service, &desktop);
    let (idle, _) = subscribed(firefox.another(), &mut site, &shop);
    firefox.will_prefer("dom.push.serverURL", &json!(format!("wss://127.0.0.1:{}/", gate.port)));
    let (firefox, subscription) = subscribed(firefox, &mut site, &shop);
    gate.is_set(false);
    shop.sends("late", &subscription, &service);

    let part = DesktopPart::start(&[&firefox, &idle], &door.origin(), &door.ca(), &[]);
    let (mut of_firefox, mut of_idle) = streams_of(&door, &firefox);
    of_firefox.reports_waiting(1, 1);
    part.prints(&format!("{}: Firefox is awake", firefox.profile().display()));
    of_idle.reports_waiting(1, 1);
    part.prints(&format!("{}: Firefox has ended (exit status: 0)", idle.profile().display()));
    gate.is_set(true);
    desktop.shows("late");
    assert_eq!(part.count("Firefox has ended"), 1, "{}", part.output());
}

/// Another Firefox, which has nothing to do, shows when the time is over after which one ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_woken_firefox_does_not_end_while_a_service_worker_works_on_a_message() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (slow_site, door) = (SlowSite::open(), WakeDoor::open().await);
    let mut firefox = Firefox::prepared_for(&service, &desktop);
    let (idle, _) = subscribed(firefox.another(), &mut site, &shop);
    // In the first page the push client runs: one that is opened before hangs.
    firefox.opens(&mut site);
    firefox.subscribes(&shop.key());
    let subscription = slow_site.is_subscribed(&mut firefox, &shop);
    firefox.quits();

    let part = DesktopPart::start(&[&firefox, &idle], &door.origin(), &door.ca(), &[]);
    let (mut of_firefox, mut of_idle) = streams_of(&door, &firefox);
    let sent = shop.sends("it took its time", &subscription, &service);
    of_firefox.reports_waiting(1, 1);
    let asks = slow_site.is_asked();
    // Firefox has acknowledged it: no other message would come in its place.
    shop.learns_of_delivery(&sent, &service).await;
    of_idle.reports_waiting(1, 1);
    part.prints(&format!("{}: Firefox has ended (exit status: 0)", idle.profile().display()));
    SlowSite::answers(asks, "text/plain", "").expect("the worker still waits");
    desktop.shows("it took its time");
    assert_eq!(part.count("Firefox has ended"), 1, "{}", part.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_and_a_start_by_hand_open_a_window_in_the_woken_firefox() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    let part = DesktopPart::of(&[&firefox], &service, &[]);
    shop.sends(r#"{"title":"Mom","body":"Answer"}"#, &subscription, &service);
    desktop.shows("Answer");
    let woken = firefox.processes();
    desktop.clicks();
    assert!(site.waits_for_click("Mom"), "no page was open, so that the click opens one");
    site.waits_for_page();

    // The user starts Firefox with the same profile: the page opens in the one that runs.
    let mut second = Running::start(&mut started_by_hand(&firefox, &service, &site));
    site.waits_for_page();
    assert!(second.exit(|_| {}).success(), "{}", second.output());
    assert!(part.output().contains(&format!("(process {})", woken[0])), "{}", part.output());
    assert!(firefox.processes().contains(&woken[0]), "it is the same Firefox");
    firefox.is_asked_to_end(woken[0]);
    part.prints("Firefox has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_and_a_start_by_hand_at_the_same_moment_end_in_one_firefox_on_a_busy_machine() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    let door = WakeDoor::open().await;
    let part = DesktopPart::start(&[&firefox], &door.origin(), &door.ca(), &[]);
    let mut stream = door.next_stream();
    let sent = shop.sends("who is first?", &subscription, &service);
    // A start takes its time then: long enough for a second one to meet it.
    let busy = Busy::with(4);
    stream.reports_waiting(1, 1);
    // The woken Firefox is a fraction of a second old.
    part.prints("waking Firefox");
    let mut second = Running::start(&mut started_by_hand(&firefox, &service, &site));
    site.waits_for_page();
    site.waits_for_push("who is first?");
    desktop.shows("who is first?");
    shop.learns_of_delivery(&sent, &service).await;
    assert!(second.exit(|_| {}).success(), "{}", second.output());
    assert!(second.output().contains("it opens the window"), "{}", second.output());
    drop(busy);

    // The other way round: the user is first.
    stream.reports_quiet();
    let woken = firefox.processes();
    firefox.is_asked_to_end(woken[0]);
    part.prints("Firefox has ended");
    let second = Running::start(&mut started_by_hand(&firefox, &service, &site));
    desktop.waits_until("Firefox starts", || !firefox.processes().is_empty());
    stream.reports_waiting(1, 2);
    // The page does not report itself: getSubscription() hangs in a page that Firefox opens before its push client runs.
    let runs = part.prints("messages wait, and Firefox runs");
    assert!(runs.contains(&format!("(process {})", second.id())), "{runs}");
    let mut third = Running::start(&mut started_by_hand(&firefox, &service, &site));
    assert!(third.exit(|_| {}).success(), "{}", third.output());
    third.prints("it opens the window");
}
