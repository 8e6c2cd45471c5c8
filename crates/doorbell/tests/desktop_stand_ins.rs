//! What `doorbell desktop uninstall`, `doorbell firefox` and `doorbell chromium` do with a browser that runs or starts:
//! small programs stand in for it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use support::clock::Deadline;
use support::home::listing;
use support::process::Running;
use support::{Home, WakeDoor};

/// No service is there.
const NOWHERE: &str = "https://127.0.0.1:9";
const CHROMIUM: &str = ".local/state/doorbell/chromium/doorbell";
const PAGE: &str = "http://a.example/";

fn waits_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Deadline::soon();
    while !done() {
        assert!(!deadline.left().is_zero(), "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A program that works with the profile in `folder`, as a Chromium that was started with this DOORBELL_WOKEN. It ends
/// with the test.
fn works_with(folder: &Path, woken: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "read line", "sh", &format!("--user-data-dir={}", folder.display())]);
    let child = command.env("DOORBELL_WOKEN", woken).stdin(Stdio::piped()).spawn().unwrap();
    let environment = format!("/proc/{}/environ", child.id());
    // Linux shows the environment once the program runs.
    waits_until("the program runs", || {
        fs::read(&environment).is_ok_and(|text| text.windows(14).any(|it| it == b"DOORBELL_WOKEN"))
    });
    let lock = folder.join("SingletonLock");
    fs::remove_file(&lock).ok();
    symlink(format!("host-{}", child.id()), lock).unwrap();
    child
}

/// A Chromium on the PATH that notes its start, and runs the rest of a script.
fn has_chromium(home: &Home, rest: &str) {
    let started = home.path().with_file_name("started");
    home.has_program("chromium", &format!("#!/bin/sh\necho \"$@\" >> {}\n{rest}\n", started.display()));
}

/// `doorbell VERB` with the profile `doorbell` and a page.
fn opens(home: &Home, verb: &str, words: &[&str]) -> Running {
    let mut command = support::service::doorbell(verb);
    command.args(words).args(["--profile", "doorbell", "--", PAGE]);
    home.surrounds(&mut command);
    Running::start(&mut command)
}

/// A profile of `doorbell firefox` that trusts the CA of `door` already.
fn has_firefox_profile(home: &Home, door: &WakeDoor) {
    let folder = ".local/state/doorbell/firefox/doorbell";
    home.writes(&format!("{folder}/user.js"), "// Written by `doorbell firefox`, anew at each start.\n");
    home.writes(&format!("{folder}/prefs.js"), "user_pref(\"dom.push.userAgentID\", \"alice\");\n");
    home.writes(&format!("{folder}/cert9.db"), "");
    home.writes(&format!("{folder}/doorbell-ca.pem"), &fs::read_to_string(door.ca()).unwrap());
}

#[test]
fn uninstall_closes_a_chromium_that_stays_and_names_a_woken_one() {
    let home = Home::new();
    has_chromium(&home, "");
    let before = home.listing();
    home.does(&["install", NOWHERE, "--chromium", "doorbell"]);

    let mut woken = works_with(&home.file(CHROMIUM), "1");
    let printed = home.fails(&["uninstall"]);
    assert!(printed.contains("close its windows and notifications"), "{printed}");
    assert!(woken.try_wait().unwrap().is_none(), "it goes on");
    woken.kill().unwrap();
    woken.wait().unwrap();

    let mut stays = works_with(&home.file(CHROMIUM), "stay");
    let printed = home.does(&["uninstall"]);
    assert!(printed.contains(&format!("the Chromium (process {}) that stays", stays.id())), "{printed}");
    assert!(!stays.wait().unwrap().success());
    assert_eq!(home.listing(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_starts_where_something_else_than_the_service_answers() {
    let (home, door) = (Home::new(), WakeDoor::open().await);
    home.has_lazy_firefox();
    has_chromium(&home, "");
    // As in a network whose user has not signed in.
    let portal = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("https://{}", portal.local_addr().unwrap());
    thread::spawn(move || portal.incoming().for_each(drop));
    has_firefox_profile(&home, &door);
    home.writes(&format!("{CHROMIUM}/doorbell-service"), &format!("{origin}\n"));

    for (count, verb) in [(1, "firefox"), (2, "chromium")] {
        let mut start = opens(&home, verb, &[&origin, "--ca", door.ca().to_str().unwrap()]);
        assert!(start.exit(|_| {}).success(), "{}", start.output());
        start.prints("messages come once that works");
        assert_eq!(home.started().matches(PAGE).count(), count, "{}", home.started());
    }
    let mut fresh = opens(&home, "chromium", &[&origin, "--ca", door.ca().to_str().unwrap(), "--fresh"]);
    assert!(!fresh.exit(|_| {}).success(), "a profile is not deleted for a service that is not there");
}

#[test]
fn the_start_lock_lasts_until_a_page_is_handed_over() {
    let home = Home::new();
    let go = home.path().with_file_name("go");
    has_chromium(&home, &format!("while [ ! -e {} ]; do sleep 0.05; done", go.display()));
    home.writes(&format!("{CHROMIUM}/doorbell-service"), &format!("{NOWHERE}\n"));
    let mut runs = works_with(&home.file(CHROMIUM), "1");

    let mut start = opens(&home, "chromium", &[NOWHERE]);
    waits_until("the page is handed over", || home.started().contains(PAGE));
    let lock = || File::open(home.file(&format!("{CHROMIUM}.doorbell-start"))).unwrap();
    assert!(lock().try_lock().is_err(), "what hands the page over has the lock");
    fs::write(&go, "").unwrap();
    assert!(start.exit(|_| {}).success(), "{}", start.output());
    start.prints(&format!("a Chromium (process {}) works with the profile", runs.id()));
    lock().try_lock().unwrap();
    runs.kill().unwrap();
    runs.wait().unwrap();
}

#[test]
fn a_page_waits_while_a_woken_chromium_is_ended() {
    let home = Home::new();
    has_chromium(&home, "");
    home.writes(&format!("{CHROMIUM}/doorbell-service"), &format!("{NOWHERE}\n"));
    let mut ends = works_with(&home.file(CHROMIUM), "1");
    // As the desktop part has it meanwhile.
    let lock = File::create(home.file(&format!("{CHROMIUM}.doorbell-start"))).unwrap();
    lock.lock().unwrap();

    let mut start = opens(&home, "chromium", &[NOWHERE]);
    start.prints("messages come once that works");
    let status = format!("/proc/{}/status", start.id());
    let pauses = || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |count| count.trim().parse::<u64>().unwrap())
    };
    let before = pauses();
    waits_until("it waits, or does not", || pauses() > before + 3 || home.started().contains(PAGE));
    assert_eq!(home.started(), "", "the Chromium that ends would lose the page");
    ends.kill().unwrap();
    ends.wait().unwrap();
    drop(lock);
    assert!(start.exit(|_| {}).success(), "{}", start.output());
    assert!(home.started().contains("--gcm-"), "one with our switches: {}", home.started());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_extension_stays_in_a_profile_that_was_named_to_a_desktop_part() {
    let (home, door) = (Home::new(), WakeDoor::open().await);
    home.has_lazy_firefox();
    has_chromium(&home, "");
    has_firefox_profile(&home, &door);
    let (origin, ca) = (door.origin(), door.ca());
    let ca = ca.to_str().unwrap();
    home.does(&["install", &origin, "--ca", ca, "--firefox", "doorbell"]);
    let mut part = home.starts_the_unit(|_| {});
    part.prints("messages wake its Firefox");
    let mut start = opens(&home, "chromium", &[&origin, "--ca", ca]);
    assert!(start.exit(|_| {}).success(), "{}", start.output());
    start.prints("a message wakes this profile while it is closed");
    let profile = home.file(CHROMIUM);
    waits_until("the part has started it", || home.started().contains("--no-startup-window"));
    assert!(home.text(&format!("{CHROMIUM}/Local State")).contains("browser_guest_enabled"));
    // As the program leaves it that the extension talks to.
    home.writes(&format!("{CHROMIUM}/doorbell-wake-token"), "secret");

    let mut runs = works_with(&profile, "");
    let printed = home.fails(&["uninstall"]);
    assert!(printed.contains("quit it in its menu"), "{printed}");
    assert!(part.exit(|_| {}).success(), "{}", part.output());
    runs.kill().unwrap();
    runs.wait().unwrap();
    let printed = home.does(&["uninstall", "--profiles"]);
    assert!(printed.contains("our extension is taken out of the Chromium profile"), "{printed}");
    let left: Vec<_> = listing(&profile).into_keys().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert!(left.iter().any(|name| name == "doorbell-service"), "the profile stays: {left:?}");
    let is_ours = |name: &&OsString| name.to_str().is_some_and(|name| name.contains("doorbell"));
    assert_eq!(left.iter().filter(is_ours).collect::<Vec<_>>(), ["doorbell-service"]);
    let settings =
        home.text(&format!("{CHROMIUM}/Local State")) + &home.text(&format!("{CHROMIUM}/Default/Preferences"));
    assert!(!settings.contains("guest") && !settings.contains("incognito"), "{settings}");
    assert!(!home.file(".local/state/doorbell/desktop").exists());
}

#[test]
fn a_doorbell_without_the_program_of_the_desktop_part_installs_nothing_and_names_it() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("doorbell");
    fs::copy(support::service::doorbell("desktop").get_program(), &alone).unwrap();
    let before = home.listing();
    for verb in ["install", "run"] {
        let mut command = Command::new(&alone);
        command.args(["desktop", verb, NOWHERE, "--chromium", "doorbell"]);
        has_chromium(&home, "");
        home.surrounds(&mut command);
        let output = command.output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let missing = folder.path().join("doorbell-desktop");
        assert!(why.contains(&format!("{} is missing", missing.display())) && !output.status.success(), "{why}");
    }
    assert_eq!(home.listing(), before, "nothing is written");
}
