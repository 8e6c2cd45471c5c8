//! `doorbell desktop run` for some profiles, on a desktop of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::app_server::AppServer;
use super::browser::Browser;
use super::desktop::Desktop;
use super::firefox::Firefox;
use super::page::Site;
use super::process::Running;
use super::service::{Service, doorbell};

/// What the desktop part prints when the service's wake door is open for a profile.
const FOLLOWED: &str = "messages wake its Firefox";

/// A desktop part that runs.
pub struct DesktopPart {
    process: Running,
}

impl DesktopPart {
    /// The one for the profiles of `firefoxes`, which belong to one user, with more arguments.
    pub fn start(firefoxes: &[&Firefox], origin: &str, ca: &Path, arguments: &[&str]) -> Self {
        let mut command: Command = doorbell("desktop");
        command.arg("run").arg(origin).arg("--ca").arg(ca).args(arguments);
        for firefox in firefoxes {
            command.arg("--firefox").arg(firefox.profile());
        }
        let user = firefoxes.first().expect("a profile");
        user.surround(&mut command);
        Self { process: Running::start(&mut command) }
    }

    /// The same at the real service: waits until its wake door is open for each.
    pub fn of(firefoxes: &[&Firefox], service: &Service, arguments: &[&str]) -> Self {
        let part = Self::start(firefoxes, &service.origin(), &service.ca(), arguments);
        for firefox in firefoxes {
            part.prints(&format!("{}: {FOLLOWED}", firefox.profile().display()));
        }
        part
    }

    /// Waits until it has printed `words`: the first such line.
    pub fn prints(&self, words: &str) -> String {
        self.process.prints(words)
    }

    /// How often it has printed `words` so far.
    pub fn count(&self, words: &str) -> usize {
        self.process.output().matches(words).count()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// How many TCP connections it has.
    pub fn connections(&self) -> usize {
        const ESTABLISHED: &str = "01";
        let folder = PathBuf::from(format!("/proc/{}", self.process.id()));
        let files = std::fs::read_dir(folder.join("fd")).expect("it runs").flatten();
        // A file may be closed since.
        let sockets: Vec<PathBuf> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
        let table = std::fs::read_to_string(folder.join("net/tcp")).expect("a table of connections");
        let connections = table.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(3);
            (fields.next()? == ESTABLISHED).then(|| fields.nth(5)).flatten()
        });
        connections.filter(|inode| sockets.contains(&PathBuf::from(format!("socket:[{inode}]")))).count()
    }
}

/// A Firefox that has subscribed at the page of `site` for `shop`, and is closed; with its subscription.
pub fn closed_firefox(service: &Service, desktop: &Desktop, site: &mut Site, shop: &AppServer) -> (Firefox, Value) {
    subscribed(Firefox::prepared_for(service, desktop), site, shop)
}

/// The same for one that is prepared already.
pub fn subscribed(mut firefox: Firefox, site: &mut Site, shop: &AppServer) -> (Firefox, Value) {
    firefox.opens(site);
    let subscription = firefox.subscribes(&shop.key());
    firefox.quits();
    (firefox, subscription)
}
