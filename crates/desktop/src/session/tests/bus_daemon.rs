//! A message bus of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use zbus::Connection;
use zbus::connection::Builder;

use super::super::bus::Bus;

/// Every program on it may do everything but DENIED.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    DENIED
  </policy>
</busconfig>
"#;

/// A bus at an address that stays the same.
pub(super) struct BusDaemon {
    folder: TempDir,
    running: Option<Child>,
}

impl BusDaemon {
    /// Starts one; `None`, with a notice, where the program is missing. In CI it must not be.
    pub(super) fn start() -> Option<Self> {
        Self::start_denying("")
    }

    /// One with a further rule.
    pub(super) fn start_denying(rule: &str) -> Option<Self> {
        if !is_here() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut bus = Self { folder, running: None };
        let config = CONFIG.replace("SOCKET", bus.socket().to_str().unwrap()).replace("DENIED", rule);
        std::fs::write(bus.config(), config).unwrap();
        bus.start_again();
        Some(bus)
    }

    /// Where it is.
    pub(super) fn bus(&self) -> Bus {
        Bus::At(self.address())
    }

    pub(super) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// A connection of another program.
    pub(super) async fn connect(&self) -> Connection {
        Builder::address(self.address().as_str()).build().await.unwrap()
    }

    /// Ends it, and all connections with it.
    pub(super) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().unwrap();
            running.wait().unwrap();
        }
    }

    /// Another one with the same address.
    pub(super) fn start_again(&mut self) {
        let mut command = Command::new("dbus-daemon");
        command.arg("--config-file").arg(self.config()).args(["--nofork", "--nopidfile", "--print-address=1"]);
        let mut running = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut address = String::new();
        // It prints its address once it takes connections.
        BufReader::new(running.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:"), "{address}");
        self.running = Some(running);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("bus.conf")
    }
}

impl Drop for BusDaemon {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_here() -> bool {
    let version = Command::new("dbus-daemon").arg("--version").stdout(Stdio::null()).status();
    let is_here = version.is_ok_and(|status| status.success());
    if !is_here {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!in_ci, "dbus-daemon is missing, and in CI it must not be: `cargo xtask setup` installs it");
        // Past the test runner's capture, which would hide it because the test passes.
        writeln!(std::io::stderr(), "!! SKIPPED: dbus-daemon is missing; `cargo xtask setup` installs it").ok();
    }
    is_here
}
