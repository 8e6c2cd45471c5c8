//! `doorbell desktop` with a Firefox that is not an ESR: woken headless, with its debug port.
//!
//! It is the installed one, from a folder in which nothing names it an ESR.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::clock::Stopwatch;
use support::process::Running;
use support::service::doorbell;
use support::{AppServer, Browser, Desktop, Firefox, Service, Site};

/// What the desktop part prints when the service's wake door is open for a profile.
const FOLLOWED: &str = "messages wake its Firefox";

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Firefox::is_here() && Desktop::is_here() && AppServer::is_here()
}

/// A folder of links to the installed Firefox, which is not an ESR there: its launcher.
fn release_firefox(folder: &Path) -> PathBuf {
    let installed = ["firefox-esr", "firefox"].into_iter().find_map(|name| {
        let path = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&path).find_map(|folder| fs::canonicalize(folder.join(name)).ok())
    });
    let installed = installed.expect("an installed Firefox");
    let release = folder.join("release");
    fs::create_dir(&release).unwrap();
    for entry in fs::read_dir(installed.parent().unwrap()).unwrap().map(Result::unwrap) {
        symlink(entry.path(), release.join(entry.file_name())).unwrap();
    }
    let about = release.join("application.ini");
    fs::remove_file(&about).unwrap();
    fs::write(&about, "[App]\nSourceRepository=https://hg.mozilla.org/releases/mozilla-release\n").unwrap();
    let launcher = release.join(installed.file_name().unwrap());
    fs::remove_file(&launcher).unwrap();
    fs::copy(&installed, &launcher).unwrap();
    launcher
}

/// A Firefox that has subscribed at the page of `site` for `shop`, and is closed; with its subscription.
fn closed_firefox(service: &Service, desktop: &Desktop, site: &mut Site, shop: &AppServer) -> (Firefox, Value) {
    let mut firefox = Firefox::prepared_for(service, desktop);
    firefox.opens(site);
    let subscription = firefox.subscribes(&shop.key());
    firefox.quits();
    (firefox, subscription)
}

/// The desktop part for the profile of `firefox`, which it starts by `launcher`.
fn desktop_part(firefox: &Firefox, launcher: &Path, service: &Service, more: &[&str]) -> Running {
    let mut command: Command = doorbell("desktop");
    command.arg("run").arg(service.origin()).arg("--ca").arg(service.ca()).arg("--binary").arg(launcher);
    command.arg("--firefox").arg(firefox.profile()).args(more);
    Running::start(command.envs(firefox.variables()).env_remove("XDG_STATE_HOME"))
}

fn command_line(process: u32) -> String {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_firefox_is_woken_if_its_debug_port_is_allowed_and_a_click_opens_a_window() {
    if !all_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let (firefox, subscription) = closed_firefox(&service, &desktop, &mut site, &shop);
    let launcher = release_firefox(folder.path());

    let mut refused = desktop_part(&firefox, &launcher, &service, &[]);
    assert!(!refused.exit(|_| {}).success());
    let line = refused.prints("it is not a Firefox ESR");
    assert!(line.contains("--allow-debug-port") && line.contains("every user of this machine"), "{line}");

    let mut part = desktop_part(&firefox, &launcher, &service, &["--allow-debug-port"]);
    part.prints("warning: allow_debug_port");
    part.prints(FOLLOWED);
    let sent = shop.sends(r#"{"title":"Mom","body":"Answer"}"#, &subscription, &service);
    let watch = Stopwatch::start();
    desktop.shows("Answer");
    println!("bidi: the notification is on the session's bus {} ms after the service's 201", watch.millis());
    shop.learns_of_delivery(&sent, &service).await;
    println!("{}", part.prints("Firefox is awake"));
    let woken = firefox.processes();
    assert!(command_line(woken[0]).contains("--headless"), "no window is there");

    site.forgets_requests();
    let watch = Stopwatch::start();
    desktop.clicks();
    // Its script may hang: getSubscription() does so in a page that Firefox opens before its push client runs.
    site.waits_for_request();
    println!("bidi: a window asks for the page {} ms after the click", watch.millis());
    let opened = firefox.processes();
    assert!(!opened.contains(&woken[0]), "the woken one has ended before, and did not ask");
    let line = command_line(opened[0]);
    assert!(line.contains(&site.url()) && !line.contains("--headless"), "{line}");
    println!("{}", part.prints("Firefox has ended (exit status: 0)"));
    desktop.pictures("desktop-bidi", None);
    firefox.is_asked_to_end(opened[0]);
    desktop.waits_until("Firefox is closed", || firefox.processes().is_empty());

    // The next one is only dismissed: the woken Firefox has nothing to do any more.
    shop.sends(r#"{"title":"Mom","body":"Too late"}"#, &subscription, &service);
    desktop.shows("Too late");
    let woken = firefox.processes();
    desktop.clears();
    let watch = Stopwatch::start();
    desktop.waits_until("Firefox ends", || firefox.processes().is_empty());
    println!("bidi: Firefox has ended by itself {} ms after the notification", watch.millis());
    part.prints(&format!("waking Firefox (process {})", woken[0]));
    assert!(!part.output().contains("signal"), "{}", part.output());

    // When the desktop part is killed, its Firefox does not stay with an open port.
    shop.sends(r#"{"title":"Mom","body":"Good night"}"#, &subscription, &service);
    desktop.shows("Good night");
    let woken = firefox.processes();
    part.kill();
    desktop.waits_until("Firefox ends too", || !firefox.processes().contains(&woken[0]));
}
