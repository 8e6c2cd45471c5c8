//! A Wayland compositor without a screen. There is no X on it.

use std::process::Command;

use tempfile::TempDir;

use super::clock::Deadline;
use super::desktop::{Desktop, is_on_path};
use super::foreign::here;
use super::process::Running;

const SOCKET: &str = "doorbell";

/// A running weston.
pub struct Weston {
    process: Running,
    folder: TempDir,
}

impl Weston {
    /// Whether it is on this machine.
    pub fn is_here() -> bool {
        here("weston", is_on_path("weston"))
    }

    /// Starts one.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for weston");
        let mut command = Command::new("weston");
        command.args(["--backend=headless-backend.so", "--no-config", "--idle-time=0", "--width=1280", "--height=800"]);
        command.arg(format!("--socket={SOCKET}")).env("XDG_RUNTIME_DIR", folder.path());
        let process = Running::start(command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY"));
        let weston = Self { process, folder };
        let deadline = Deadline::soon();
        while !weston.folder.path().join(SOCKET).exists() {
            assert!(!deadline.left().is_zero(), "weston does not start:\n{}", weston.process.output());
            std::thread::yield_now();
        }
        weston
    }

    /// What a program needs in its environment to appear here, with the notifications of `desktop`.
    pub fn variables(&self, desktop: &Desktop) -> Vec<(&'static str, String)> {
        let bus = desktop.variables().into_iter().filter(|(name, _)| *name != "DISPLAY");
        let own = [
            ("WAYLAND_DISPLAY", SOCKET.to_owned()),
            ("XDG_RUNTIME_DIR", self.folder.path().display().to_string()),
            ("MOZ_ENABLE_WAYLAND", "1".to_owned()),
        ];
        bus.chain(own).collect()
    }
}
