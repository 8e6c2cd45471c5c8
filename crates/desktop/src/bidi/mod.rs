//! Any other Firefox: started headless on a message bus of ours, and driven by WebDriver BiDi.
//!
//! Such a Firefox cannot open a window, and no click reaches it. So its notifications are shown on the session's bus by
//! this process, and a click is sent back. When the click makes the site open a page, Firefox is closed, and the user's
//! Firefox is started with the address of the page.
//!
//! The port of WebDriver BiDi has no password: every user of the machine can drive the browser while it is woken.

mod driver;
mod keeper;
mod private_bus;
mod relay;
mod shown;
#[cfg(test)]
mod tests;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use doorbell_browsers::Firefox;
use zbus::connection::Builder;

use crate::browser::Mode;
use crate::error::DesktopError;
use crate::process::Process;

use keeper::Keeper;
use private_bus::PrivateBus;
use relay::Relay;

/// A Firefox that is woken headless.
#[derive(Clone, Debug)]
pub(crate) struct Headless {
    firefox: Firefox,
    /// Where the private bus is if the session has no folder for sockets.
    state: PathBuf,
    /// The process that takes clicks, for each clone; 0 if there is none.
    ready: Arc<AtomicU32>,
}

impl Headless {
    /// The one that wakes `firefox`.
    pub(crate) fn new(firefox: Firefox, state: &Path) -> Self {
        Self { firefox, state: state.to_owned(), ready: Arc::default() }
    }

    /// Starts it with the profile in `folder`, and a task that shows its notifications until it ends.
    pub(crate) async fn start(&self, folder: &Path, mode: Mode) -> Result<Process, DesktopError> {
        let parent = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| self.state.clone(), PathBuf::from);
        let bus = PrivateBus::start(&parent).await?;
        let relay = Relay::open(bus.address(), Builder::session()).await.map_err(DesktopError::Bus)?;
        let (process, stderr) = self.spawn(folder, bus.address())?;
        let id = process.id();
        let watched = Process::with_id(id).map_err(DesktopError::io("watch", folder))?;
        let keeper = Keeper {
            firefox: self.firefox.clone(),
            folder: folder.to_owned(),
            stays: mode == Mode::Resident,
            ready: Arc::clone(&self.ready),
            process: watched,
            relay,
            bus,
        };
        tokio::spawn(keeper.keep(stderr));
        Ok(process)
    }

    /// Whether `process` takes clicks.
    pub(crate) fn is_ready(&self, process: u32) -> bool {
        self.ready.load(Ordering::Acquire) == process
    }

    fn spawn(&self, folder: &Path, bus: &str) -> Result<(Process, ChildStderr), DesktopError> {
        let mut command = Command::new(self.firefox.program());
        command.args(["--headless", "--no-remote", "--profile"]).arg(folder).args(["--remote-debugging-port", "0"]);
        command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C in the terminal of this process is not meant for the browser.
        command.process_group(0);
        let mut child = command.spawn().map_err(DesktopError::io("start", self.firefox.program()))?;
        let stderr = child.stderr.take().expect("its stderr is piped");
        Ok((Process::of(child).map_err(DesktopError::io("watch", folder))?, stderr))
    }
}
