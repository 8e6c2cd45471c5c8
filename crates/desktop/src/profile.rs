//! One profile: the rules of [`crate::rules`], and the IO around them.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::Duration;

use doorbell_browsers::firefox::process_of;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::error::DesktopError;
use crate::firefox::{Application, Process, StartLock, forget_woken, takes_pages};
use crate::report::Report;
use crate::rules::Rules;
use crate::wake_door::DoorEvent;

/// How often it is checked whether a Firefox that starts is ready, and for how long: until then the start lock is held.
const READY_CHECK: Duration = Duration::from_millis(25);
const READY_MAX: Duration = Duration::from_secs(60);

/// A profile whose browser is woken.
pub(crate) struct Profile {
    pub(crate) folder: PathBuf,
    pub(crate) application: Application,
    pub(crate) rules: Rules,
    pub(crate) clock: Clock,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Profile {
    /// Wakes the browser whenever it is due, until the door is gone.
    pub(crate) async fn keep(mut self, mut events: mpsc::Receiver<DoorEvent>) {
        let mut browser: Option<Process> = None;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(DoorEvent::Waiting(waiting)) => self.rules.messages_wait(waiting),
                    Some(DoorEvent::Quiet) => self.rules.quiet(),
                    Some(DoorEvent::Lost) => self.rules.disconnected(),
                    None => return,
                },
                () = self.clock.reaches(self.rules.due()) => browser = self.start().await,
                status = ended(&mut browser) => {
                    browser = None;
                    self.rules.browser_ended(self.clock.now());
                    self.report(Report::Ended { profile: self.folder.clone(), status }).await;
                }
            }
        }
    }

    /// Starts the browser, unless one runs or starts already.
    async fn start(&mut self) -> Option<Process> {
        match self.try_start().await {
            Ok(process) => process,
            Err(error) => {
                // It counts as a wake that took nothing, so that it is not tried again at once.
                self.rules.wake(self.clock.now());
                self.rules.browser_ended(self.clock.now());
                self.report(Report::NotWoken { profile: self.folder.clone(), why: error.to_string() }).await;
                None
            }
        }
    }

    async fn try_start(&mut self) -> Result<Option<Process>, DesktopError> {
        let lock = StartLock::try_take(&self.folder)?;
        if let Some(process) = process_of(&self.folder) {
            drop(lock);
            return Ok(self.watch(process).await);
        }
        let Some(lock) = lock else {
            // Another process is starting a browser with this profile.
            self.rules.busy(self.clock.now());
            return Ok(None);
        };
        self.application.refresh()?;
        forget_woken(&self.folder)?;
        let mut command = self.application.command(&self.folder);
        // Ctrl-C in the terminal of this process is not meant for the browser.
        command.process_group(0);
        let process = Process::of(doorbell_browsers::start(command)?);
        let mut process = process.map_err(DesktopError::io("watch", &self.folder))?;
        let waiting = self.rules.waiting();
        self.rules.wake(self.clock.now());
        self.report(Report::Waking { profile: self.folder.clone(), process: process.id(), waiting }).await;
        self.wait_until_ready(&mut process).await;
        drop(lock);
        Ok(Some(process))
    }

    /// Watches a browser that another program has started.
    async fn watch(&mut self, id: u32) -> Option<Process> {
        match Process::with_id(id) {
            Ok(process) => {
                self.rules.browser_runs();
                self.report(Report::BrowserRuns { profile: self.folder.clone(), process: id }).await;
                Some(process)
            }
            // It has ended in this moment.
            Err(_) => {
                self.rules.busy(self.clock.now());
                None
            }
        }
    }

    async fn wait_until_ready(&self, process: &mut Process) {
        let begun = self.clock.now();
        while self.clock.now() < begun + READY_MAX {
            if takes_pages(&self.folder, process.id()) {
                let after = self.clock.now() - begun;
                return self.report(Report::Awake { profile: self.folder.clone(), after }).await;
            }
            if process.has_ended() {
                return;
            }
            sleep(READY_CHECK).await;
        }
        tracing::warn!("a woken Firefox does not become ready");
    }

    async fn report(&self, report: Report) {
        // The other end is gone when the program ends.
        self.reports.send(report).await.ok();
    }
}

/// Waits for the end of the browser; forever if there is none.
async fn ended(browser: &mut Option<Process>) -> Option<String> {
    match browser {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}
