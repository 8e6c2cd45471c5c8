//! A message bus for one woken Firefox: no other program is on it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use doorbell_private_file as private_file;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
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
/// How long the bus may take to start.
const START_MAX: Duration = Duration::from_secs(10);
/// Its address is a path.
const LINE_BYTES_MAX: u64 = 4096;

/// A running bus. It ends with this value.
#[derive(Debug)]
pub(super) struct PrivateBus {
    _daemon: Child,
    folder: PathBuf,
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
        Ok(Self { _daemon: started?, folder, address })
    }

    /// Where programs find it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        // Only a socket that no process listens on would stay.
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

async fn launch(folder: &Path, address: &str) -> Result<Child, DesktopError> {
    let config = folder.join("bus.conf");
    let text = CONFIG.replace("ADDRESS", address);
    private_file::replace(&config, text.as_bytes()).map_err(DesktopError::io("write", &config))?;
    let mut command = Command::new(PROGRAM);
    command.arg("--config-file").arg(&config).args(["--nofork", "--nopidfile", "--print-address=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Ctrl-C in the terminal of this process must not end it before its browser.
    command.process_group(0).kill_on_drop(true);
    let mut daemon = command.spawn().map_err(DesktopError::io("start", Path::new(PROGRAM)))?;
    let stdout = daemon.stdout.take().expect("its stdout is piped");
    let mut line = String::new();
    // It prints its address once it takes connections.
    let read = timeout(START_MAX, BufReader::new(stdout.take(LINE_BYTES_MAX)).read_line(&mut line)).await;
    match read {
        Ok(Ok(1..)) => Ok(daemon),
        Ok(Err(why)) => Err(DesktopError::io("read", Path::new(PROGRAM))(why)),
        _ => Err(DesktopError::Bus(format!("{PROGRAM} does not start for the woken Firefox"))),
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
