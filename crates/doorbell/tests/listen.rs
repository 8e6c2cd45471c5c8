//! `doorbell listen` behind proxies, and what it makes of a sender's text.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::process::Running;
use support::service::doorbell;
use support::{Proxy, Service};
use tempfile::TempDir;

/// Where a user agent and a sender find a push service.
struct Place {
    origin: String,
    ca: PathBuf,
    folder: TempDir,
}

impl Place {
    fn of(service: &Service) -> Self {
        Self { origin: service.origin(), ca: service.ca(), folder: tempfile::tempdir().unwrap() }
    }

    fn behind(proxy: &Proxy) -> Self {
        Self { origin: proxy.origin(), ca: proxy.ca(), folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = doorbell(verb);
        command.arg("--ca").arg(&self.ca);
        command
    }

    fn listen(&self, options: &[&str]) -> Command {
        let mut command = self.command("listen");
        command.arg(&self.origin).arg("--profile").arg(self.folder.path().join("profile"));
        command.arg("--subscription").arg(self.subscription_file()).args(options);
        command
    }

    fn subscription_file(&self) -> PathBuf {
        self.folder.path().join("sub.json")
    }

    fn subscription(&self) -> String {
        std::fs::read_to_string(self.subscription_file()).unwrap()
    }

    fn send(&self, text: &str) {
        let mut command = self.command("send");
        command
            .arg("--key")
            .arg(self.folder.path().join("vapid.pem"))
            .arg("--")
            .arg(self.subscription_file())
            .arg(text);
        let mut sending = Running::start(&mut command);
        assert!(sending.exit(|_| {}).success(), "{}", sending.output());
    }
}

fn prints_line(listening: &Running, text: &str) {
    listening.wait_for(&format!("line {text:?}"), |line| (line == text).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_lets_no_pushes_pass_messages_come_as_events_and_it_is_said_once() {
    let proxy = Proxy::start().await;
    let place = Place::behind(&proxy);
    let listening = Running::start(&mut place.listen(&[]));
    listening.prints("messages come as events instead");
    for text in ["one", "two", "three"] {
        place.send(text);
        prints_line(&listening, text);
    }
    assert_eq!((listening.count("events instead"), listening.count("connected again")), (1, 0));
    assert_eq!(listening.count("406 "), 0, "{}", listening.output());
    drop(listening);
    place.send("stored");
    let mut draining = Running::start(&mut place.listen(&["--drain"]));
    prints_line(&draining, "stored");
    assert!(draining.exit(|_| {}).success());
}

/// UA-8030-7.3-1
#[tokio::test(flavor = "multi_thread")]
async fn a_404_of_a_proxy_whose_service_is_away_ends_no_subscription() {
    let proxy = Proxy::start().await;
    let place = Place::behind(&proxy);
    let listening = Running::start(&mut place.listen(&[]));
    listening.prints("messages come as events instead");
    let before = place.subscription();
    proxy.answers(404, "404 page not found\n");
    listening.prints("not this push service's own answer");
    proxy.answers(410, "<html>Gone</html>");
    listening.prints("410 Gone");
    assert_eq!(listening.count("connected again"), 0, "{}", listening.output());
    let mut draining = Running::start(&mut place.listen(&["--drain", "--once"]));
    assert!(!draining.exit(|_| {}).success(), "the profile is in use");
    proxy.passes_on();
    listening.prints("connected again");
    place.send("still here");
    prints_line(&listening, "still here");
    assert_eq!(place.subscription(), before);
    assert_eq!(listening.count("404 "), 1, "it is said once: {}", listening.output());
}

/// UA-8030-7.3-1
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_the_service_itself_has_ended_is_replaced_once_the_service_can_be_asked() {
    let proxy = Proxy::start().await;
    let place = Place::behind(&proxy);
    let listening = Running::start(&mut place.listen(&[]));
    listening.prints("messages come as events instead");
    let (before, profile) = (place.subscription(), place.folder.path().join("profile/profile.json"));
    let kept = std::fs::read_to_string(&profile).unwrap();
    proxy.answers(404, r#"{"code":404,"errno":102,"error":"Not Found","message":"It does not exist."}"#);
    listening.prints("no new subscription yet");
    assert_eq!(std::fs::read_to_string(&profile).unwrap(), kept, "the old keys go last");
    proxy.passes_on();
    listening.prints("give the new subscription to your senders");
    assert_ne!(place.subscription(), before);
    place.send("new life");
    prints_line(&listening, "new life");
    assert!(!std::fs::read_to_string(&profile).unwrap().contains(endpoint(&before).as_str()));
}

fn endpoint(subscription: &str) -> String {
    let subscription: Value = serde_json::from_str(subscription).unwrap();
    subscription["endpoint"].as_str().unwrap().to_owned()
}

#[test]
fn standard_output_has_messages_and_nothing_else() {
    let service = Service::start();
    let place = Place::of(&service);
    let profile = place.folder.path().join("profile");
    let listen = |options: &[&str]| {
        let mut command = place.command("listen");
        command.arg(service.origin()).arg("--profile").arg(&profile).args(options);
        let mut listening = Running::start(&mut command);
        let mut lines = Vec::new();
        assert!(listening.exit(|line| lines.push(line.to_owned())).success(), "{}", listening.output());
        (lines, listening.output())
    };
    let (lines, output) = listen(&["--drain", "--json"]);
    assert_eq!(lines, [""; 0]);
    let subscription = output.lines().find_map(|line| line.split_once("for your senders: ")).unwrap().1;
    std::fs::write(place.subscription_file(), subscription).unwrap();
    place.send("one");
    place.send("two");
    let (lines, _) = listen(&["--drain", "--json"]);
    let messages: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<_> = messages.iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, ["one", "two"]);
    place.send("three");
    assert_eq!(listen(&["--once"]).0, ["three"]);
}

/// UA-8030-6.2-2
#[test]
fn a_message_that_cannot_be_printed_is_not_given_up_and_comes_the_next_time() {
    let service = Service::start();
    let place = Place::of(&service);
    assert!(place.listen(&["--drain"]).status().unwrap().success());
    place.send("one");
    place.send("two");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let stopped = place.listen(&[]).stdout(full).output().unwrap();
    assert_eq!(stopped.status.code(), Some(1));
    let said = String::from_utf8(stopped.stderr).unwrap();
    assert!(said.contains("cannot write to standard output (No space left"), "{said}");
    let again = place.listen(&["--drain"]).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "one\ntwo\n");
}

/// A program in the place of another one, which prints its arguments on one line: as hexadecimal digits, each with a NUL
/// behind it.
fn stand_in(program: &Path) {
    let script = "#!/bin/sh\nprintf '%s\\0' \"$@\" | od -An -v -tx1 | tr -d ' \\n'\necho\n";
    std::fs::write(program, script).unwrap();
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o700)).unwrap();
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_text_of_a_sender_becomes_an_option_or_a_second_argument_of_the_command_in_the_help() {
    let help = doorbell("listen").arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, example) = help.split_once("doorbell listen --exec '").unwrap();
    let command = example.split_once('\'').unwrap().0;
    assert!(command.contains("notify-send"), "{command}");
    let service = Service::start();
    let place = Place::of(&service);
    let programs = tempfile::tempdir().unwrap();
    stand_in(&programs.path().join("notify-send"));
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let listening = Running::start(place.listen(&["--exec", command]).env("PATH", path));
    listening.prints("listening");
    for text in ["--icon=/etc/passwd", "-u critical $(id) `id`", "'\"; exit 1; \"'", "two\nlines  and * ?", ""] {
        place.send(text);
        prints_line(&listening, &hex(&format!("--\0Doorbell: {text}\0")));
    }
}

#[test]
fn a_message_is_kept_when_no_shell_can_be_started() {
    let service = Service::start();
    let place = Place::of(&service);
    let mut listening = Running::start(place.listen(&["--exec", "true"]).env("PATH", place.folder.path()));
    listening.prints("listening");
    place.send("kept");
    assert_eq!(listening.exit(|_| {}).code(), Some(1), "{}", listening.output());
    assert_eq!(listening.count("cannot run sh"), 1, "{}", listening.output());
    let mut draining = Running::start(&mut place.listen(&["--drain"]));
    prints_line(&draining, "kept");
    assert!(draining.exit(|_| {}).success());
}
