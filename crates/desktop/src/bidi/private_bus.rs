//! A message bus for one woken Firefox: no other program is on it.
//!
//! Firefox ends when its bus does. So a shell guards the bus: it ends the bus also when this process is killed, and no
//! Firefox stays with an open port and without a reader of its notifications.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use doorbell_private_file as private_file;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::DesktopError;

const PROGRAM: &str = "dbus-daemon";
/// Nothing is started over this bus, and a message has room for the picture of a notification.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_message_size">4194304</limit>
  <limit name="max_incoming_bytes">16777216</limit>
  <limit name="max_outgoing_bytes">16777216</limit>
  <limit name="max_completed_connections">64</limit>
</busconfig>
"#;
/// It is started as the guard's child: the first argument is the folder, the others are the command. A line on stdin ends
/// the bus. So does the end of stdin, after time enough for a Firefox that was asked to close.
const GUARD: &str = r#"
folder=$1
shift
"$@" &
read -r _ || sleep 3
kill $!
rm -f "$folder/bus" "$folder/bus.conf"
rmdir "$folder"
"#;
/// How long the bus may take to start.
const START_MAX: Duration = Duration::from_secs(10);
/// Its address is a path.
const LINE_BYTES_MAX: u64 = 4096;

/// A running bus. It ends some seconds after this value.
#[derive(Debug)]
pub(super) struct PrivateBus {
    /// The guard's stdin.
    guard: File,
    address: String,
}

impl PrivateBus {
    /// Starts one in a folder of its own below `parent`.
    pub(super) async fn start(parent: &Path) -> Result<Self, DesktopError> {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
        let folder = parent.join(format!("doorbell-bus-{random}"));
        private_file::create_folder(&folder).map_err(DesktopError::io("create", &folder))?;
        let address = format!("unix:path={}", escaped(&folder.join("bus")));
        let started = launch(&folder, &address).await;
        if started.is_err() {
            std::fs::remove_dir_all(&folder).ok();
        }
        Ok(Self { guard: started?, address })
    }

    /// Ends it at once: Firefox has ended.
    pub(super) fn end(mut self) {
        // A guard that is gone has ended it already.
        self.guard.write_all(b"\n").ok();
    }

    /// Where programs find it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// Starts it: the stdin of its guard.
async fn launch(folder: &Path, address: &str) -> Result<File, DesktopError> {
    let config = folder.join("bus.conf");
    let text = CONFIG.replace("ADDRESS", address);
    private_file::replace(&config, text.as_bytes()).map_err(DesktopError::io("write", &config))?;
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "sh"]).arg(folder).arg(PROGRAM).arg("--config-file").arg(&config);
    command.args(["--nofork", "--nopidfile", "--print-address=1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Ctrl-C in the terminal of this process must not end it before its browser.
    command.process_group(0);
    let failed = || DesktopError::io("start", Path::new(PROGRAM));
    let mut guard = command.spawn().map_err(failed())?;
    let stdin = guard.stdin.take().expect("its stdin is piped").into_owned_fd().map_err(failed())?;
    let stdout = guard.stdout.take().expect("its stdout is piped");
    let mut line = String::new();
    // It prints its address once it takes connections.
    match timeout(START_MAX, BufReader::new(stdout.take(LINE_BYTES_MAX)).read_line(&mut line)).await {
        Ok(Ok(_)) if line.starts_with("unix:") => Ok(stdin.into()),
        Ok(Err(why)) => Err(failed()(why)),
        _ => {
            Err(DesktopError::Bus(format!("{PROGRAM} does not start for the woken Firefox: install the package dbus")))
        }
    }
}

/// The path as a value of a D-Bus address, which is safe in XML too.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'/' | b'.' => text.push(char::from(byte)),
            _ => write!(text, "%{byte:02x}").expect("a string grows"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_change_the_address_or_the_configuration() {
        assert_eq!(escaped(Path::new("/run/user/1000/a-b_c.d")), "/run/user/1000/a-b_c.d");
        assert_eq!(escaped(Path::new("/a,b;c=<d>&é")), "/a%2cb%3bc%3d%3cd%3e%26%c3%a9");
    }
}
