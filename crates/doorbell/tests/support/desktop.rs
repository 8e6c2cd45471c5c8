//! A desktop of the test's own: a virtual screen, a message bus, and dunst, which shows notifications on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::clock::Deadline;
use super::foreign::{here, runs, tree};
use super::process::Running;
use super::x11::X11;

/// Nothing is started over this bus, and everybody on it may talk to everybody.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// Notifications stay until they are clicked, and fit a light page.
const DUNST: &str = r##"[global]
    font = DejaVu Sans 11
    width = 290
    origin = top-right
    offset = 20x100
    padding = 14
    horizontal_padding = 16
    frame_width = 1
    frame_color = "#d0d5dd"
    format = "<b>%s</b>\n%b"
    max_icon_size = 48
    show_indicators = no
    dmenu = /bin/sh CHOOSER
[urgency_normal]
    background = "#ffffff"
    foreground = "#1f2430"
    timeout = 0
[urgency_critical]
    background = "#ffffff"
    foreground = "#1f2430"
    frame_color = "#d0d5dd"
    timeout = 0
"##;

/// Replaces the menu in which a user chooses an action of a notification: takes the one that the test has named.
const CHOOSER: &str = r#"grep -m1 -F "$(cat "$(dirname "$0")/choice")""#;

/// A running desktop. It ends with its owner, in the order of the fields.
pub struct Desktop {
    notifications: Running,
    _bus: Running,
    _screen: Running,
    variables: [(&'static str, String); 2],
    folder: TempDir,
}

impl Desktop {
    /// Whether its tools are here.
    pub fn is_here() -> bool {
        let tools = ["Xvfb", "dbus-daemon", "dunst", "dunstctl", "import"];
        tools.into_iter().all(|tool| here(tool, is_on_path(tool)))
    }

    /// Whether the tools are here by which tests see windows and close them.
    pub fn shows_windows() -> bool {
        here("xdotool", is_on_path("xdotool"))
    }

    /// Starts one.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the desktop");
        // The server picks a display that is free, and names it once it takes connections.
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
        let screen = Running::start(&mut command);
        let display = screen.wait_for("number of a display", |line| line.trim().parse::<u32>().ok());

        let socket = folder.path().join("bus").display().to_string();
        let config = written(&folder, "bus.conf", &BUS.replace("SOCKET", &socket));
        let mut command = Command::new("dbus-daemon");
        command.arg("--config-file").arg(config).args(["--nofork", "--nopidfile", "--print-address=1"]);
        let bus = Running::start(&mut command);
        let address = bus.wait_for("address of the bus", |line| line.starts_with("unix:").then(|| line.to_owned()));

        let variables = [("DISPLAY", format!(":{display}")), ("DBUS_SESSION_BUS_ADDRESS", address)];
        let mut command = Command::new("dunst");
        let chooser = written(&folder, "chooser", CHOOSER).display().to_string();
        let config = DUNST.replace("CHOOSER", &chooser);
        command.arg("-conf").arg(written(&folder, "dunstrc", &config)).arg("-print").envs(variables.clone());
        let notifications = Running::start(&mut command);
        let desktop = Self { notifications, _bus: bus, _screen: screen, variables, folder };
        desktop.waits_until("dunst answers", || desktop.command("dunstctl", &["count"]).is_some());
        desktop
    }

    /// What a program needs in its environment to appear here.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        self.variables.clone()
    }

    /// Waits until a notification with this body pops up.
    pub fn shows(&self, body: &str) {
        let printed = format!("body: '{body}'");
        self.notifications.wait_for(&printed, |line| (line.trim() == printed).then_some(()));
    }

    /// Waits until a notification with this title pops up.
    pub fn announces(&self, title: &str) {
        let printed = format!("summary: '{title}'");
        self.notifications.wait_for(&printed, |line| (line.trim() == printed).then_some(()));
    }

    /// Waits for the next notification: its title.
    pub fn next_title(&self) -> String {
        let title = |line: &str| line.trim().strip_prefix("summary: '")?.strip_suffix('\'').map(str::to_owned);
        self.notifications.wait_for("notification", title)
    }

    /// Chooses an action of the newest notification by its label.
    pub fn chooses(&self, label: &str) {
        written(&self.folder, "choice", label);
        self.command("dunstctl", &["context"]).expect("dunst shows its menu");
    }

    /// Waits until so many notifications are on the screen.
    pub fn displays(&self, count: usize) {
        let displayed = || self.command("dunstctl", &["count", "displayed"])?.trim().parse::<usize>().ok();
        self.waits_until("the notifications are displayed", || displayed() == Some(count));
    }

    /// Clicks the newest notification.
    pub fn clicks(&self) {
        self.command("dunstctl", &["action"]).expect("dunst takes a click");
    }

    /// Takes the newest notification away without a click.
    pub fn closes(&self) {
        self.command("dunstctl", &["close"]).expect("dunst closes a notification");
    }

    /// Takes them all away without a click.
    pub fn clears(&self) {
        self.command("dunstctl", &["close-all"]).expect("dunst closes notifications");
    }

    /// The windows of the browser with this profile that are on the screen.
    pub fn windows_of(&self, profile: &Path) -> usize {
        self.screen().windows(profile.to_str().expect("a path")).len()
    }

    /// Closes them, as the cross in their corner does.
    pub fn closes_windows_of(&self, profile: &Path) {
        let mut screen = self.screen();
        for window in screen.windows(profile.to_str().expect("a path")) {
            screen.closes(window);
        }
        self.waits_until("the windows are closed", || self.windows_of(profile) == 0);
    }

    fn screen(&self) -> X11 {
        X11::connect(&self.variables[0].1)
    }

    /// Takes a picture of the screen, or of a part of it (`WIDTHxHEIGHT+X+Y`): `target/e2e/NAME.png`.
    pub fn pictures(&self, name: &str, part: Option<&str>) -> PathBuf {
        let folder = tree("target/e2e");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = folder.join(name).with_extension("png");
        let mut arguments = vec!["-window", "root"];
        arguments.extend(part.iter().flat_map(|part| ["-crop", part, "+repage"]));
        arguments.push(file.to_str().expect("a path"));
        self.command("import", &arguments).expect("a picture of the screen");
        file
    }

    /// The bodies of all notifications so far, in the order in which they came over the bus.
    pub fn bodies(&self) -> Vec<String> {
        let body = |line: &str| line.trim().strip_prefix("body: '")?.strip_suffix('\'').map(str::to_owned);
        self.notifications.output().lines().filter_map(body).collect()
    }

    /// The windows of Firefox that are on the screen, by their numbers.
    pub fn windows(&self) -> Vec<u32> {
        self.screen().windows("Navigator")
    }

    /// The user closes this window by the keyboard.
    pub fn closes_window(&self, window: u32) {
        self.presses("ctrl+shift+w", window);
    }

    /// The user presses these keys in a window.
    pub fn presses(&self, keys: &str, window: u32) {
        let window = window.to_string();
        let keys = ["windowfocus", "--sync", &window, "key", "--clearmodifiers", keys];
        self.command("xdotool", &keys).expect("the keys are pressed");
    }

    /// Gets a light background, for a picture.
    pub fn has_a_background(&self) {
        let arguments = ["-window", "root", "-size", "1280x800", "gradient:#dfe7f3-#9fb4d0"];
        // Its exit status is 1 also after success. It only makes a picture nicer.
        self.command("display", &arguments);
    }

    /// Asks again and again until it is so. Each question is a process of its own, which takes its time.
    pub fn waits_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Deadline::soon();
        while !is_so() {
            assert!(!deadline.left().is_zero(), "it never comes to this: {what}");
        }
    }

    /// What a tool prints; `None` if it fails.
    fn command(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(arguments).envs(self.variables()).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn written(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, text).expect("a configuration file");
    file
}

pub(super) fn is_on_path(tool: &str) -> bool {
    on_path(tool).is_some()
}

/// The program of this name.
pub fn on_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file())
}
