//! `doorbell send --receipt` reports the end of a message between real processes: `doorbell serve` and
//! `doorbell listen`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use serde_json::Value;
use support::process::Running;
use support::service::doorbell;
use support::{Listener, Service};
use tempfile::TempDir;

/// A `doorbell send --receipt` at work.
struct Sending {
    process: Running,
    _folder: TempDir,
}

impl Sending {
    fn start(service: &Service, subscription: &Value, text: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a directory for the key");
        let mut command = doorbell("send");
        command.args([&subscription.to_string(), text, "--receipt"]).args(options);
        command.arg("--ca").arg(service.ca()).arg("--key").arg(folder.path().join("vapid.pem"));
        Self { process: Running::start(&mut command), _folder: folder }
    }

    /// Waits until the message is accepted, and its receipt is still to come.
    fn waits(self) -> Self {
        self.process.prints("waiting up to");
        self
    }

    /// Waits for the receipt: its words, and the exit status.
    fn learns(mut self) -> (String, i32) {
        let words = self.process.wait_for("receipt", |line| line.strip_prefix("receipt  ").map(str::to_owned));
        (words, self.process.exit(|_| {}).code().expect("an exit status"))
    }
}

fn learned(words: &str, exit: i32) -> (String, i32) {
    (words.to_owned(), exit)
}

/// PS-8030-5.1-2, PS-8030-5.1-3, PS-8030-6.3-2, PS-8030-6.3-7, AS-8030-5.1-2
#[test]
fn a_message_that_is_printed_is_delivered() {
    let service = Service::start();
    let listener = Listener::of(&service);
    let sending = Sending::start(&service, &listener.subscription(), "ding", &[]);
    assert_eq!(sending.learns(), learned("delivered to the user agent", 0));
    listener.prints("ding");
}

/// PS-8030-6.3-5
#[test]
fn a_message_that_is_printed_later_is_delivered_then() {
    let service = Service::start();
    let mut listener = Listener::of(&service);
    let subscription = listener.subscription();
    listener.goes_away();
    let sending = Sending::start(&service, &subscription, "ding", &[]).waits();
    listener.comes_back(&service);
    listener.prints("ding");
    assert_eq!(sending.learns(), learned("delivered to the user agent", 0));
}

/// PS-8030-6.3-4
#[test]
fn a_message_that_is_not_fetched_within_its_ttl_expires() {
    let service = Service::start();
    let mut listener = Listener::of(&service);
    let subscription = listener.subscription();
    listener.goes_away();
    let sending = Sending::start(&service, &subscription, "ding", &["--ttl", "1s"]);
    assert_eq!(sending.learns(), learned("expired: the user agent did not come within the TTL", 6));
}

/// PS-8030-5.2-9, PS-8030-6.2-2
#[test]
fn a_message_with_ttl_0_and_no_connected_agent_is_dropped() {
    let service = Service::start();
    let mut listener = Listener::of(&service);
    let subscription = listener.subscription();
    listener.goes_away();
    let sending = Sending::start(&service, &subscription, "ding", &["--ttl", "0"]);
    assert_eq!(sending.learns(), learned("dropped: TTL 0, and the user agent was not connected", 6));
}

/// WA-13, PS-8030-6.3-2
#[test]
fn a_message_for_other_keys_is_undecryptable() {
    let service = Service::start();
    let (listener, other) = (Listener::of(&service), Listener::of(&service));
    let mut subscription = listener.subscription();
    subscription["keys"] = other.subscription()["keys"].clone();
    let sending = Sending::start(&service, &subscription, "ding", &[]);
    assert_eq!(sending.learns(), learned("the user agent could not decrypt it", 6));
    let sending = Sending::start(&service, &listener.subscription(), "dong", &[]);
    assert_eq!(sending.learns(), learned("delivered to the user agent", 0));
    listener.prints("dong");
}

/// WA-14, PS-8030-6.3-3
#[test]
fn a_message_that_the_command_does_not_take_is_refused() {
    let service = Service::start();
    let listener = Listener::with(&service, &["--exec", "exit 3"]);
    let sending = Sending::start(&service, &listener.subscription(), "ding", &[]);
    assert_eq!(sending.learns(), learned("the user agent did not hand it to the web app", 6));
}

/// A service manager signals the command together with `listen`, here at the last attempt, and the command a moment before.
///
/// WA-14, UA-8030-6.2-2
#[test]
fn a_message_whose_command_ends_with_the_listener_is_not_refused_and_comes_the_next_time() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let attempts = folder.path().join("attempts");
    let command =
        "echo x >> \"$0\"; test $(wc -l < \"$0\") -lt 3 && exit 1; (sleep 0.1; kill -TERM $PPID) & kill -TERM $$";
    let command = format!("exec sh -c '{command}' {}", attempts.display());
    let mut listener = Listener::with(&service, &["--exec", &command]);
    let sending = Sending::start(&service, &listener.subscription(), "ding", &[]).waits();
    listener.ends();
    assert_eq!(std::fs::read_to_string(&attempts).unwrap().lines().count(), 3);
    listener.comes_back(&service);
    listener.prints("ding");
    assert_eq!(sending.learns(), learned("delivered to the user agent", 0));
}

/// PS-8030-7.3-4, PS-8030-6.3-3
#[test]
fn a_message_for_a_removed_subscription_ends_with_its_removal() {
    let service = Service::start();
    let mut listener = Listener::of(&service);
    let subscription = listener.subscription();
    listener.goes_away();
    let sending = Sending::start(&service, &subscription, "ding", &[]).waits();
    listener.comes_back_anew(&service);
    assert_eq!(sending.learns(), learned("the subscription was removed", 6));
    assert_ne!(listener.subscription()["endpoint"], subscription["endpoint"]);
}
