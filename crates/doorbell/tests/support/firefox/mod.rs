//! The real Firefox: prepared by `doorbell firefox --prepare`, driven by Marionette, quit and killed as a user would.

mod installed;
mod prefs;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbell_browsers::firefox::Marionette;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::browser::{Browser, Woken};
use super::clock::Deadline;
use super::desktop::Desktop;
use super::foreign::{here, runs, tree};
use super::page::Site;
use super::process::Running;
use super::service::{Service, doorbell};
use super::star::Star;
use super::weston::Weston;

pub use installed::Installed;

/// Removes the stripes by which Firefox shows that it is driven: a picture shows what users see.
const NO_STRIPES: &str = r#"
Services.wm.getMostRecentWindow("navigator:browser").document.documentElement.removeAttribute("remotecontrol");"#;

/// The colours that pages are asked to have: 0 is dark, 1 is light.
const SCHEME: &str = r#"
Services.prefs.setIntPref("layout.css.prefers-color-scheme.content-override", arguments[0]);"#;

/// A pref that holds from now on: a number, a text, or yes or no.
const PREFERRED: &str = r#"
const [name, value] = arguments;
const kind = { number: "setIntPref", string: "setStringPref", boolean: "setBoolPref" }[typeof value];
Services.prefs[kind](name, value);"#;

/// Writes its session to the disk now, as it does every 15 seconds.
const SESSION_STORED: &str = r#"
const module = (name) => ChromeUtils.importESModule(`resource:///modules/sessionstore/${name}.sys.mjs`)[name];
const window = Services.wm.getMostRecentWindow("navigator:browser");
return module("TabStateFlusher").flushWindow(window).then(() => module("SessionSaver").run());"#;

/// Is fulfilled when a page of the site is restored and loaded.
const RESTORED: &str = r#"
const [site] = arguments;
const { SessionStore } = ChromeUtils.importESModule("resource:///modules/sessionstore/SessionStore.sys.mjs");
// A browser that changes its process has no page for a moment.
const isIt = (tab) => !SessionStore.isTabRestoring(tab) && !tab.linkedBrowser.webProgress?.isLoadingDocument &&
  tab.linkedBrowser.browsingContext?.currentWindowGlobal?.documentURI.spec.startsWith(site);
const tabs = () => [...Services.wm.getEnumerator("navigator:browser")].flatMap(({ gBrowser }) => gBrowser?.tabs ?? []);
return new Promise((resolve) => {
  const window = Services.wm.getMostRecentWindow("navigator:browser");
  const look = () => (tabs().some(isIt) ? resolve() : window.setTimeout(look, 50));
  look();
});"#;

/// Makes the page narrower than Firefox lets a window be.
const NARROWED: &str = r#"
const { style } = Services.wm.getMostRecentWindow("navigator:browser").gBrowser.selectedBrowser;
style.minWidth = style.maxWidth = `${arguments[0]}px`;"#;

/// Is fulfilled when the page is so wide and so dark, and has been painted since.
const LAID_OUT: &str = r#"
const [width, dark] = arguments;
return new Promise((resolve) => {
  const look = () => innerWidth === width && matchMedia("(prefers-color-scheme: dark)").matches === dark
    ? requestAnimationFrame(() => requestAnimationFrame(resolve))
    : requestAnimationFrame(look);
  look();
});"#;

/// Is fulfilled when the page shows the words and has been painted since.
const SEEN: &str = r#"
return new Promise((resolve) => {
  const look = () => document.body.innerText.includes(arguments[0])
    ? requestAnimationFrame(() => requestAnimationFrame(resolve))
    : requestAnimationFrame(look);
  look();
});"#;

/// A Firefox with a profile of its own, running or not.
pub struct Firefox {
    folder: TempDir,
    profile: PathBuf,
    desktop_variables: Vec<(&'static str, String)>,
    headless: bool,
    process: Option<Running>,
    driver: Option<Marionette>,
}

impl Firefox {
    /// Whether there is one on this machine.
    pub fn is_here() -> bool {
        here("Firefox", program().is_some())
    }

    /// Variables by which one that another process starts connects to no host outside this machine.
    pub const CUT_OFF: [(&str, &str); 3] = prefs::DEAD_PROXY;

    /// A profile whose push service is `service`; notifications go to `desktop`.
    pub fn prepared_for(service: &Service, desktop: &Desktop) -> Self {
        Self::prepared(&service.origin(), &service.ca(), desktop)
    }

    /// The same for the push service at `origin`, which proves itself by `ca`.
    fn prepared(origin: &str, ca: &Path, desktop: &Desktop) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Firefox");
        let mut command = doorbell("firefox");
        command.arg(origin).arg("--ca").arg(ca);
        command.arg("--prepare").arg("--profile").arg(folder.path().join("profile"));
        command.env("HOME", folder.path()).envs(prefs::DEAD_PROXY);
        let mut prepare = Running::start(&mut command);
        let profile: PathBuf = prepare.wait_for("folder of the profile", |line| Some(line.into()));
        assert!(prepare.exit(|_| {}).success(), "{}", prepare.output());
        let mut user_js = std::fs::OpenOptions::new().append(true).open(profile.join("user.js")).expect("a user.js");
        user_js.write_all(prefs::for_tests().as_bytes()).expect("more prefs");
        let desktop_variables = desktop.variables().to_vec();
        Self { folder, profile, desktop_variables, headless: true, process: None, driver: None }
    }

    /// Another one, prepared like this one, which has not been started yet: that is quicker than to prepare it anew.
    pub fn another(&self) -> Self {
        assert!(self.process.is_none(), "its profile is in use");
        let folder = tempfile::tempdir().expect("a folder for Firefox");
        let profile = folder.path().join("profile");
        let copied = Command::new("cp").arg("-r").arg(&self.profile).arg(&profile).status();
        assert!(copied.is_ok_and(|status| status.success()), "the profile is copied");
        let desktop_variables = self.desktop_variables.clone();
        Self { folder, profile, desktop_variables, headless: self.headless, process: None, driver: None }
    }

    /// Its user logs in anew: another desktop, with another bus.
    pub fn moves_to(&mut self, desktop: &Desktop) {
        self.desktop_variables = desktop.variables().to_vec();
    }

    /// Its user logs in anew, to Wayland; the notifications go to `desktop`.
    pub fn moves_to_wayland(&mut self, weston: &Weston, desktop: &Desktop) {
        self.desktop_variables = weston.variables(desktop);
    }

    /// After a kill it opens the pages that it had, as it does without settings for tests.
    pub fn restores_pages(&self) {
        let mut user_js =
            std::fs::OpenOptions::new().append(true).open(self.profile.join("user.js")).expect("a user.js");
        user_js.write_all(prefs::RESTORE.as_bytes()).expect("more prefs");
    }

    /// With windows, on the desktop's screen.
    pub fn with_windows(mut self) -> Self {
        self.headless = false;
        self
    }

    /// Opens the site's page, in a Firefox that is started if there is none.
    pub fn opens(&mut self, site: &mut Site) {
        self.visits(&site.url());
        site.waits_for_page();
    }

    /// Opens a page in a private window, and goes there.
    pub fn visits_in_private(&mut self, url: &str) {
        let window = self.drive("WebDriver:NewWindow", json!({ "type": "window", "private": true }));
        self.drive("WebDriver:SwitchToWindow", json!({ "handle": window["handle"], "focus": true }));
        self.drive("WebDriver:Navigate", json!({ "url": url }));
    }

    /// A pref of it is changed while it runs.
    pub fn prefers(&mut self, name: &str, value: Value) {
        self.in_chrome(PREFERRED, json!([name, value]));
    }

    /// A pref of it holds from its next start on.
    pub fn will_prefer(&self, name: &str, value: &Value) {
        let mut user_js =
            std::fs::OpenOptions::new().append(true).open(self.profile.join("user.js")).expect("a user.js");
        writeln!(user_js, "user_pref({}, {value});", json!(name)).expect("another pref");
    }

    /// Its open pages are on the disk, to be restored after a crash.
    pub fn stores_its_session(&mut self) {
        self.in_chrome(SESSION_STORED, json!([]));
    }

    /// Waits until it has restored a page of `site`.
    pub fn restores(&mut self, site: &str) {
        self.in_chrome(RESTORED, json!([site]));
    }

    /// Waits until it has printed `words`.
    pub fn prints(&self, words: &str) -> String {
        self.process.as_ref().expect("a running Firefox").prints(words)
    }

    /// Its user blocks notifications, for every site.
    pub fn blocks_notifications(&mut self) {
        self.prefers("permissions.default.desktop-notification", json!(2));
    }

    /// All its processes stand still, as on a laptop that is closed: what comes over the network waits.
    pub fn stands_still(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn goes_on(&self) {
        self.signal(Signal::CONT);
    }

    fn has_turned_to(&mut self, site: &str) -> bool {
        let handles = self.drive("WebDriver:GetWindowHandles", json!({}));
        handles.as_array().into_iter().flatten().any(|handle| {
            self.drive("WebDriver:SwitchToWindow", json!({ "handle": handle, "focus": true }));
            let url = self.drive("WebDriver:GetCurrentURL", json!({}));
            url["value"].as_str().is_some_and(|url| url.starts_with(site))
        })
    }

    /// The page subscribes for the application server with this key: the subscription.
    pub fn subscribes(&mut self, key: &str) -> Value {
        let subscription = self.script("return subscribe(arguments[0])", json!([key]));
        assert!(subscription["endpoint"].is_string(), "{subscription}");
        subscription
    }

    /// The page ends its subscription.
    pub fn unsubscribes(&mut self) {
        assert_eq!(self.script("return unsubscribe()", json!([])), true);
    }

    /// Waits until the page shows `words`, and has been painted since.
    pub fn shows_on_the_page(&mut self, words: &str) {
        self.script(SEEN, json!([words]));
    }

    /// Fills the screen, as if it had no driver.
    pub fn poses(&mut self) {
        self.drive("WebDriver:SetWindowRect", json!({ "x": 0, "y": 0, "width": 1280, "height": 800 }));
        self.in_chrome(NO_STRIPES, json!([]));
    }

    /// A picture of the page as it is at this width, in the light or the dark: `target/e2e/NAME.png`.
    pub fn is_pictured(&mut self, name: &str, width: u32, dark: bool) {
        self.lays_out(width, dark);
        let picture = self.drive("WebDriver:TakeScreenshot", json!({ "full": false }));
        let png = STANDARD.decode(picture["value"].as_str().expect("a picture")).expect("base64");
        let folder = tree("target/e2e");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        std::fs::write(folder.join(name).with_extension("png"), png).expect("a picture is kept");
    }

    /// The page is so wide, and light or dark.
    fn lays_out(&mut self, width: u32, dark: bool) {
        self.drive("WebDriver:SetWindowRect", json!({ "width": 1280, "height": 900 }));
        self.in_chrome(NARROWED, json!([width]));
        self.in_chrome(SCHEME, json!([u8::from(!dark)]));
        self.script(LAID_OUT, json!([width, dark]));
    }

    /// `kill -9` for all its processes.
    pub fn is_killed(&mut self) {
        self.driver = None;
        if let Some(mut process) = self.process.take() {
            send(&process, Signal::KILL);
            process.kill();
        }
    }

    /// `kill -9` for all processes of one that another program has started.
    pub fn is_killed_from_outside(&self) {
        let processes = self.processes();
        assert!(!processes.is_empty(), "none runs");
        for pid in processes.into_iter().filter_map(|id| Pid::from_raw(id.try_into().ok()?)) {
            // It may have ended with its parent.
            kill_process(pid, Signal::KILL).ok();
        }
    }

    fn signal(&self, signal: Signal) {
        send(self.process.as_ref().expect("a running Firefox"), signal);
    }

    /// Starts it as a user's session does: no page of the site, and no driver.
    pub fn starts_without_page(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        self.process = Some(Running::start(self.command().arg("about:blank")));
    }

    /// The folder of its profile.
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// What another program needs in its environment that starts it for a test.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let home = ("HOME", self.folder.path().display().to_string());
        let fixed = prefs::VARIABLES.map(|(name, value)| (name, value.to_owned()));
        self.desktop_variables.iter().cloned().chain([home]).chain(fixed).collect()
    }

    /// Another program is started for its user: with these variables, and without a screen of the developer's.
    pub fn surround(&self, command: &mut Command) {
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.envs(self.variables());
    }

    /// `VERSION_APPBUILDID/PLATFORMBUILDID` of the program that used the profile last.
    pub fn last_version(&self) -> String {
        let notes = std::fs::read_to_string(self.profile.join("compatibility.ini")).expect("it was started before");
        notes.lines().find_map(|line| line.strip_prefix("LastVersion=")).expect("a version").to_owned()
    }

    /// The name that its push service gave it, as its settings on the disk have it.
    pub fn uaid(&self) -> String {
        let prefs = std::fs::read_to_string(self.profile.join("prefs.js")).expect("settings");
        let start = "user_pref(\"dom.push.userAgentID\", \"";
        let uaid = prefs.lines().find_map(|line| line.strip_prefix(start)?.strip_suffix("\");"));
        uaid.expect("it has connected to its push service").to_owned()
    }

    /// The processes, of whichever program, whose command line names the profile.
    pub fn processes(&self) -> Vec<u32> {
        let profile = self.profile.to_str().expect("a path").as_bytes();
        let is_its = |id: &u32| {
            // The process may have ended since its folder was listed.
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mut words = line.split(|&byte| byte == 0);
            let is_doorbell = words.next().is_some_and(|program| program.ends_with(b"/doorbell"));
            !is_doorbell && words.any(|word| word == profile)
        };
        let entries = std::fs::read_dir("/proc").expect("the list of processes").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_its).collect()
    }

    /// Waits until none of its processes is left.
    pub fn is_closed(&self, desktop: &Desktop) {
        desktop.waits_until("Firefox ends", || self.processes().is_empty());
    }

    /// One that another program has started is asked to end, as at a logout.
    pub fn is_asked_to_end(&self, process: u32) {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program().expect("a Firefox"));
        command.args(["--no-remote", "--new-instance", "--profile"]).arg(&self.profile);
        command.args(self.headless.then_some("--headless"));
        command.env("HOME", self.folder.path()).envs(self.desktop_variables.clone()).envs(prefs::VARIABLES);
        // A group of its own, to be killed as a whole.
        command.process_group(0);
        command
    }

    /// What a script of the page gives; a promise is waited for.
    fn script(&mut self, script: &str, arguments: Value) -> Value {
        let parameters = json!({ "script": script, "args": arguments, "sandbox": null });
        self.drive("WebDriver:ExecuteScript", parameters)["value"].take()
    }

    fn in_chrome(&mut self, script: &str, arguments: Value) {
        let driver = self.driver.as_mut().expect("a driver");
        driver.run_in_chrome(script, &arguments).expect("Firefox runs the script");
    }

    fn drive(&mut self, command: &str, parameters: Value) -> Value {
        let driver = self.driver.as_mut().expect("a driver");
        match driver.command(command, &parameters) {
            Ok(result) => result,
            Err(error) => panic!("{error:#}"),
        }
    }
}

impl Browser for Firefox {
    fn new(star: &Star, desktop: &Desktop) -> Self {
        Self::prepared(star.push_service(), &star.ca(), desktop)
    }

    fn has_no_devices(&mut self) {
        self.will_prefer("media.navigator.streams.fake", &json!(false));
    }

    fn starts_driven(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut command = self.command();
        command.args(["--marionette", "--remote-allow-system-access", "about:blank"]);
        let process = self.process.insert(Running::start(&mut command));
        let port =
            process.wait_for("Marionette port", |line| line.split_once("Listening on port ")?.1.trim().parse().ok());
        self.driver = Some(Marionette::connect(port).expect("a driver"));
        // Scripts that wait have a deadline of their own, and report what they saw instead.
        self.drive("WebDriver:SetTimeouts", json!({ "script": 90_000 }));
    }

    fn visits(&mut self, url: &str) {
        if self.driver.is_none() {
            self.starts_driven();
        }
        let handles = self.drive("WebDriver:GetWindowHandles", json!({}));
        self.drive("WebDriver:SwitchToWindow", json!({ "handle": handles[0], "focus": true }));
        self.drive("WebDriver:Navigate", json!({ "url": url }));
    }

    fn turns_to_the_page_of(&mut self, site: &str) {
        let deadline = Deadline::soon();
        while !self.has_turned_to(site) {
            assert!(!deadline.left().is_zero(), "no page of {site} was opened");
        }
    }

    fn runs(&mut self, body: &str, arguments: Value) -> Value {
        self.script(body, arguments)
    }

    fn does(&mut self, body: &str, arguments: Value) -> Value {
        self.script(body, arguments)
    }

    fn closes_the_page(&mut self) {
        let empty = self.drive("WebDriver:NewWindow", json!({ "type": "tab" }));
        self.drive("WebDriver:CloseWindow", json!({}));
        self.drive("WebDriver:SwitchToWindow", json!({ "handle": empty["handle"] }));
    }

    fn quits(&mut self) {
        let mut process = self.process.take().expect("a running Firefox");
        match self.driver.take() {
            Some(driver) => driver.quit().expect("Firefox takes its leave"),
            None => process.terminate(),
        }
        process.exit(|_| {});
    }
}

impl Woken for Firefox {
    const NAME: &str = "firefox";

    fn desktop_part(&self, push_service: &str, ca: &Path) -> Running {
        let mut command = doorbell("desktop");
        command.arg("run").arg(push_service).arg("--ca").arg(ca).arg("--firefox").arg(&self.profile);
        let part = Running::start(command.envs(self.variables()).env_remove("XDG_STATE_HOME"));
        part.prints("messages wake its Firefox");
        part
    }

    fn processes(&self) -> Vec<u32> {
        self.processes()
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        self.is_killed();
        // Those that another program has started, at the end of a test.
        if !self.processes().is_empty() {
            self.is_killed_from_outside();
        }
    }
}

/// To all its processes. They may have ended by themselves.
fn send(process: &Running, signal: Signal) {
    let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process_group(group, signal).ok();
}

fn program() -> Option<&'static str> {
    ["firefox-esr", "firefox"].into_iter().find(|name| runs(name))
}
