//! The real Chromium: prepared by `doorbell chromium --prepare`, driven by DevTools, quit and killed as a user would.

mod devtools;
mod switches;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use devtools::{By, Devtools, Page};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use super::browser::{Browser, Woken};
use super::clock::Deadline;
use super::desktop::Desktop;
use super::foreign::{here, runs, tree};
use super::page::Site;
use super::process::Running;
use super::service::{Service, doorbell};
use super::star::Star;

/// Its names, in the order in which they are looked for.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// What every Chromium's endpoints begin with, by channel and age.
const ENDPOINTS: [&str; 4] = [
    "https://jmt17.google.com/fcm/send/",
    "https://fcm.googleapis.com/fcm/send/",
    "https://fcm.googleapis.com/wp/",
    "https://fcm.googleapis.com/preprod/wp/",
];

/// Is fulfilled when the page shows the words and has been painted since.
const SEEN: &str = "new Promise((resolve) => {
  const look = () => document.body.innerText.includes(WORDS)
    ? requestAnimationFrame(() => requestAnimationFrame(resolve))
    : requestAnimationFrame(look);
  look();
})";

/// A Chromium with a profile of its own, running or not.
pub struct Chromium {
    folder: TempDir,
    /// The command that starts it, for a shell.
    line: String,
    /// The switch for the devices that it has for calls.
    devices: &'static str,
    desktop_variables: Option<[(&'static str, String); 2]>,
    process: Option<Running>,
    driver: Option<Devtools>,
    page: Option<Page>,
}

impl Chromium {
    /// Whether there is one on this machine.
    pub fn is_here() -> bool {
        here("Chromium", PROGRAMS.into_iter().any(runs))
    }

    /// A PATH on which Chromium is one for tests, in `folder`: for one that another process starts.
    pub fn path_for_tests(folder: &Path) -> String {
        Self::path_with(folder, switches::DEVICES)
    }

    /// A PATH on which Chromium is one that ends as it does for root.
    pub fn path_without_sandbox(folder: &Path) -> String {
        Self::path_to(folder, "echo 'Running as root without --no-sandbox is not supported.' >&2; exit 1")
    }

    fn path_with(folder: &Path, devices: &str) -> String {
        let path = std::env::var("PATH").expect("a PATH");
        let is_real = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
        let real = PROGRAMS.into_iter().find(is_real).expect("a Chromium");
        let real = std::env::split_paths(&path).map(|folder| folder.join(real)).find(|file| file.is_file());
        let real = real.expect("a Chromium");
        Self::path_to(folder, &format!("exec {} {}{devices} \"$@\"", real.display(), switches::for_shell()))
    }

    /// A PATH on which Chromium is this script.
    fn path_to(folder: &Path, script: &str) -> String {
        let path = std::env::var("PATH").expect("a PATH");
        let file = folder.join(PROGRAMS[0]);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("a program");
        format!("{}:{path}", folder.display())
    }

    /// A profile whose push service is `service` and where `site` may notify.
    pub fn prepared_for(service: &Service, site: &Site) -> Self {
        Self::prepared(&service.origin(), &service.ca(), &site.url(), &[], None)
    }

    /// The same with its windows and notifications on `desktop`.
    pub fn prepared_on(service: &Service, site: &Site, desktop: &Desktop) -> Self {
        Self::prepared(&service.origin(), &service.ca(), &site.url(), &[], Some(desktop))
    }

    /// The folder of its profile.
    pub fn profile(&self) -> PathBuf {
        self.folder.path().join("profile")
    }

    /// What another program needs in its environment that starts it for a test.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.path();
        let own = [("HOME", folder), ("TMPDIR", folder)].map(|(name, path)| (name, path.display().to_string()));
        let path = ("PATH", Self::path_with(folder, self.devices));
        self.desktop_variables.iter().flatten().cloned().chain(own).chain([path]).collect()
    }

    /// The Chromiums that work with the profile, without their children.
    pub fn processes(&self) -> Vec<u32> {
        let switch = format!("--user-data-dir={}", self.profile().display());
        let is_its = |id: &u32| {
            // The process may have ended since its folder was listed.
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            // Chromium writes its own anew, with spaces between the words.
            let line = String::from_utf8_lossy(&line);
            line.contains(&switch) && !line.contains("--type=") && !line.contains("crashpad")
        };
        let entries = std::fs::read_dir("/proc").expect("the list of processes").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_its).collect()
    }

    /// `kill -9` for one that another program has started; its children end with it.
    pub fn processes_are_killed(&self) {
        for pid in self.processes().into_iter().filter_map(|id| Pid::from_raw(id.try_into().ok()?)) {
            // It may have ended by itself.
            kill_process(pid, Signal::KILL).ok();
        }
    }

    /// The same with the extension by which pages see the service in their endpoints.
    pub fn prepared_with_extension(service: &Service, site: &Site) -> Self {
        Self::prepared(&service.origin(), &service.ca(), &site.url(), &["--rewrite-endpoints"], None)
    }

    /// A profile whose push service is at `origin` and proves itself by `ca`, and where `site` may notify. Its windows
    /// and notifications are on `desktop`; without one there are none of either.
    fn prepared(origin: &str, ca: &Path, site: &str, more: &[&str], desktop: Option<&Desktop>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Chromium");
        let mut command = doorbell("chromium");
        command.arg(origin).arg("--ca").arg(ca).arg("--allow").arg(site);
        command.args(more).arg("--prepare").arg("--profile").arg(folder.path().join("profile"));
        command.arg("--").args(desktop.is_none().then_some("--headless=new")).args(switches::for_tests());
        let mut prepare = Running::start(command.env("HOME", folder.path()));
        let line = prepare.wait_for("command line", |line| Some(line.to_owned()));
        assert!(prepare.exit(|_| {}).success(), "{}", prepare.output());
        let desktop_variables = desktop.map(Desktop::variables);
        let devices = switches::DEVICES;
        Self { folder, line, devices, desktop_variables, process: None, driver: None, page: None }
    }

    /// Its machine has a microphone and no camera, from its next start on.
    pub fn has_no_camera(&mut self) {
        self.devices = switches::MICROPHONE;
    }

    /// Opens the site's page, in a Chromium that is started if there is none.
    pub fn opens(&mut self, site: &mut Site) {
        self.visits(&site.url());
        site.waits_for_page();
    }

    /// The page subscribes for the application server with this key: the subscription, whose endpoint is a host of
    /// Google's.
    pub fn subscribes(&mut self, key: &str) -> Value {
        self.subscribes_at_one_of(&ENDPOINTS, key)
    }

    /// The same where something in the browser puts `origin` into the endpoint.
    pub fn subscribes_at(&mut self, origin: &str, key: &str) -> Value {
        self.subscribes_at_one_of(&[origin], key)
    }

    fn subscribes_at_one_of(&mut self, prefixes: &[&str], key: &str) -> Value {
        let subscription = self.script(&format!("subscribe({})", Value::from(key)));
        let endpoint = subscription["endpoint"].as_str().unwrap_or_default();
        assert!(prefixes.iter().any(|prefix| endpoint.starts_with(prefix)), "{subscription}");
        subscription
    }

    /// The page ends its subscription.
    pub fn unsubscribes(&mut self) {
        assert_eq!(self.script("unsubscribe()"), true);
    }

    /// Waits until the page shows `words`, and has been painted since.
    pub fn shows_on_the_page(&mut self, words: &str) {
        self.script(&SEEN.replace("WORDS", &Value::from(words).to_string()));
    }

    /// Chromium offers to install the page as an app.
    pub fn can_install_the_page(&mut self) {
        let (driver, page) = self.driver.as_mut().zip(self.page.as_ref()).expect("an open page");
        let obstacles = driver.obstacles_to_installing(page);
        assert_eq!(obstacles, Value::Array(Vec::new()));
    }

    /// Takes a picture of the page: `target/e2e/NAME.png`.
    pub fn pictures(&mut self, name: &str) -> PathBuf {
        let (driver, page) = self.driver.as_mut().zip(self.page.as_ref()).expect("an open page");
        let picture = driver.picture(page);
        let folder = tree("target/e2e");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = folder.join(name).with_extension("png");
        std::fs::write(&file, picture).expect("a picture");
        file
    }

    /// What an expression in the page comes to.
    pub fn script(&mut self, expression: &str) -> Value {
        self.evaluates(expression, By::Script)
    }

    fn evaluates(&mut self, expression: &str, by: By) -> Value {
        let (driver, page) = self.driver.as_mut().zip(self.page.as_ref()).expect("an open page");
        driver.run(page, expression, by)
    }

    /// `kill -9` for all its processes.
    pub fn is_killed(&mut self) {
        (self.page, self.driver) = (None, None);
        if let Some(mut process) = self.process.take() {
            let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process");
            // It may have ended by itself.
            kill_process_group(group, Signal::KILL).ok();
            process.kill();
        }
    }

    /// Starts it as a user's session does: no page of the site, and no driver.
    pub fn starts_without_page(&mut self) {
        self.starts("");
    }

    fn driver(&mut self) -> &mut Devtools {
        self.driver.as_mut().expect("a driver")
    }

    /// Waits until the page is at `url` and whole. What is asked of the empty page that comes first is lost with it.
    fn waits_for(&mut self, url: &str) {
        let (deadline, shown) = (Deadline::soon(), format!("complete {url}"));
        while !self
            .script("`${document.readyState} ${location.href}`")
            .as_str()
            .is_some_and(|it| it.starts_with(&shown))
        {
            assert!(!deadline.left().is_zero(), "{url} is not shown");
        }
    }

    fn starts(&mut self, switch: &str) -> &Running {
        assert!(self.process.is_none(), "it runs already");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {} {} {switch} about:blank", self.line, self.devices));
        // What it leaves behind when it is killed goes with the folder.
        command.env("HOME", self.folder.path()).env("TMPDIR", self.folder.path());
        command.envs(self.desktop_variables.iter().flatten().cloned());
        // A group of its own, to be killed as a whole.
        command.process_group(0);
        self.process.insert(Running::start(&mut command))
    }
}

impl Browser for Chromium {
    fn new(star: &Star, desktop: &Desktop) -> Self {
        Self::prepared(star.push_service(), &star.ca(), star.site(), &[], Some(desktop))
    }

    fn has_no_devices(&mut self) {
        self.devices = "";
    }

    fn starts_driven(&mut self) {
        let process = self.starts("--remote-debugging-port=0");
        let line = process.prints("DevTools listening on ");
        self.driver = Some(Devtools::connect(line.rsplit(' ').next().expect("an address")));
    }

    fn visits(&mut self, url: &str) {
        if self.driver.is_none() {
            self.starts_driven();
        }
        self.page = Some(self.driver().open(url));
        self.waits_for(url);
    }

    fn turns_to_the_page_of(&mut self, site: &str) {
        let deadline = Deadline::soon();
        self.page = loop {
            let page = self.driver().page_of(site);
            if page.is_some() {
                break page;
            }
            assert!(!deadline.left().is_zero(), "no page of {site} was opened");
        };
        self.waits_for(site);
    }

    fn runs(&mut self, body: &str, arguments: Value) -> Value {
        self.evaluates(&called(body, &arguments), By::Script)
    }

    fn does(&mut self, body: &str, arguments: Value) -> Value {
        self.evaluates(&called(body, &arguments), By::User)
    }

    fn closes_the_page(&mut self) {
        let (driver, page) = self.driver.as_mut().zip(self.page.take()).expect("an open page");
        driver.close(&page);
    }

    fn quits(&mut self) {
        self.page = None;
        let mut process = self.process.take().expect("a running Chromium");
        match self.driver.take() {
            Some(driver) => driver.quit(),
            None => process.terminate(),
        }
        process.exit(|_| {});
    }
}

impl Woken for Chromium {
    const NAME: &str = "chromium";

    fn desktop_part(&self, push_service: &str, ca: &Path) -> Running {
        let mut command = doorbell("desktop");
        command.arg("run").arg(push_service).arg("--ca").arg(ca).arg("--chromium").arg(self.profile());
        let part = Running::start(command.arg("--chromium-ends").envs(self.variables()).env_remove("XDG_STATE_HOME"));
        part.prints("messages wake its Chromium");
        // It has run once, to get the credential of the wake door.
        part.prints("Chromium has ended (exit status: 0)");
        part
    }

    fn processes(&self) -> Vec<u32> {
        self.processes()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.is_killed();
        self.processes_are_killed();
    }
}

/// An expression that calls the function with this body.
fn called(body: &str, arguments: &Value) -> String {
    format!("(function () {{ {body} }})(...{arguments})")
}
