//! Our user agent: `doorbell listen`, which prints each message's text.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::front::Front;
use super::process::Running;
use super::service::{Service, doorbell};

/// A running `doorbell listen` with a profile of its own.
pub struct Listener {
    folder: TempDir,
    process: Running,
}

impl Listener {
    /// Subscribes at `service` and listens.
    pub fn of(service: &Service) -> Self {
        Self::with(service, &[])
    }

    /// The same with more flags.
    pub fn with(service: &Service, options: &[&str]) -> Self {
        Self::at(&service.origin(), &service.ca(), options)
    }

    /// The same at a service behind a proxy.
    pub fn behind(front: &Front) -> Self {
        Self::at(&front.origin(), &front.ca(), &[])
    }

    /// The same at an origin that clients reach through something else.
    pub fn through(origin: &str, ca: &Path) -> Self {
        Self::at(origin, ca, &[])
    }

    fn at(origin: &str, ca: &Path, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a profile directory");
        let process = listen(&folder, origin, ca, options);
        Self { folder, process }
    }

    /// Its subscription, as the W3C JSON that it wrote.
    pub fn subscription(&self) -> Value {
        self.process.prints("the subscription is in");
        let text = std::fs::read(self.folder.path().join("subscription.json")).expect("the subscription file");
        serde_json::from_slice(&text).expect("the subscription is JSON")
    }

    /// Waits until it prints `text` on a line of its own.
    pub fn prints(&self, text: &str) {
        self.process.wait_for(&format!("line {text:?}"), |line| (line == text).then_some(()));
    }

    /// Waits until it prints each of the texts, in whichever order, on a line of its own.
    pub fn prints_all(&self, texts: impl IntoIterator<Item = String>) {
        let mut missing: BTreeSet<String> = texts.into_iter().collect();
        while !missing.is_empty() {
            let what = format!("lines {missing:?}");
            self.process.wait_for(&what, |line| missing.take(line));
        }
    }

    /// Waits until it ends by itself, in order; its profile stays.
    pub fn ends(&mut self) {
        assert!(self.process.exit(|_| {}).success(), "{}", self.process.output());
    }

    /// Ends it; its profile stays.
    pub fn goes_away(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same profile.
    pub fn comes_back(&mut self, service: &Service) {
        self.process = listen(&self.folder, &service.origin(), &service.ca(), &[]);
    }

    /// Starts it again with a new subscription, for which it leaves the old one.
    pub fn comes_back_anew(&mut self, service: &Service) {
        self.process = listen(&self.folder, &service.origin(), &service.ca(), &["--new"]);
    }
}

fn listen(folder: &TempDir, origin: &str, ca: &Path, options: &[&str]) -> Running {
    let mut command = doorbell("listen");
    command.arg(origin).arg("--ca").arg(ca);
    command.arg("--profile").arg(folder.path().join("profile"));
    command.arg("--subscription").arg(folder.path().join("subscription.json")).args(options);
    Running::start(&mut command)
}
