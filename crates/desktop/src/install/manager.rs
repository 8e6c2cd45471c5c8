//! The user's systemd, if one runs.

use std::process::{Command, Stdio};

use super::UNIT;

/// Makes it read the units anew: `false` if none runs.
pub fn reload() -> bool {
    systemctl(&["daemon-reload"])
}

/// Starts the desktop part anew with the settings on the disk.
pub fn restart() -> bool {
    systemctl(&["restart", UNIT])
}

/// Stops it.
pub fn stop() -> bool {
    systemctl(&["stop", UNIT])
}

fn systemctl(words: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Without systemd there is no such program.
    command.status().is_ok_and(|status| status.success())
}
