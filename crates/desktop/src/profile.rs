//! One profile: the rules of [`crate::rules`], and the IO around them.

use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::browser::{Mode, ProfileConfig, ProfileName};
use crate::clock::Clock;
use crate::error::DesktopError;
use crate::launcher::Launcher;
use crate::process::Process;
use crate::report::{ProfileEvent, Report};
use crate::rules::{Bounds, Rules, Waiting};
use crate::start_lock::StartLock;
use crate::wake_door::DoorEvent;

/// How often it is checked whether a browser that starts is ready, and for how long: until then the start lock is held.
const READY_CHECK: Duration = Duration::from_millis(25);
const READY_MAX: Duration = Duration::from_secs(60);

/// A profile whose browser is woken.
pub(crate) struct Profile {
    name: ProfileName,
    mode: Mode,
    launcher: Launcher,
    rules: Rules,
    clock: Clock,
    reports: mpsc::Sender<Report>,
}

impl Profile {
    /// The profile of `config`, whose browser is started by `launcher`.
    pub(crate) fn new(
        config: &ProfileConfig,
        launcher: Launcher,
        bounds: Bounds,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        let (rules, clock) = (Rules::new(bounds), Clock::start());
        Self { name: config.name(), mode: config.mode, launcher, rules, clock, reports }
    }

    /// Wakes the browser whenever it is due, until the door is gone.
    pub(crate) async fn keep(mut self, mut events: mpsc::Receiver<DoorEvent>) {
        let mut browser = match self.mode {
            Mode::Woken => None,
            Mode::Resident => self.start(None).await,
        };
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(DoorEvent::Waiting(waiting)) => self.rules.messages_wait(waiting),
                    Some(DoorEvent::Quiet) => self.rules.quiet(),
                    Some(DoorEvent::Lost) => self.rules.disconnected(),
                    None => return,
                },
                () = self.clock.reaches(self.rules.due()) => browser = self.start(self.rules.waiting()).await,
                status = ended(&mut browser) => {
                    browser = None;
                    self.rules.browser_ended(self.clock.now());
                    self.report(ProfileEvent::Ended(status)).await;
                }
            }
        }
    }

    /// Starts the browser, unless one runs or starts already.
    async fn start(&mut self, waiting: Option<Waiting>) -> Option<Process> {
        match self.try_start(waiting).await {
            Ok(process) => process,
            Err(error) => {
                if waiting.is_some() {
                    // It counts as a wake that took nothing, so that it is not tried again at once.
                    self.rules.wake(self.clock.now());
                    self.rules.browser_ended(self.clock.now());
                }
                self.report(ProfileEvent::NotWoken(error.to_string())).await;
                None
            }
        }
    }

    async fn try_start(&mut self, waiting: Option<Waiting>) -> Result<Option<Process>, DesktopError> {
        let lock = StartLock::try_take(&self.name.folder)?;
        if let Some(process) = self.name.browser.process_of(&self.name.folder) {
            drop(lock);
            return Ok(self.watch(process).await);
        }
        let Some(lock) = lock else {
            // Another process is starting a browser with this profile.
            self.rules.busy(self.clock.now());
            return Ok(None);
        };
        let mut process = self.launcher.start(&self.name.folder, self.mode).await?;
        match waiting {
            Some(_) => self.rules.wake(self.clock.now()),
            None => self.rules.browser_runs(),
        }
        self.report(ProfileEvent::Waking { process: process.id(), waiting }).await;
        self.wait_until_ready(&mut process).await;
        drop(lock);
        Ok(Some(process))
    }

    /// Watches a browser that another program has started.
    async fn watch(&mut self, id: u32) -> Option<Process> {
        match Process::with_id(id) {
            Ok(process) => {
                self.rules.browser_runs();
                self.report(ProfileEvent::BrowserRuns(id)).await;
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
            if self.launcher.is_ready(&self.name.folder, process.id()) {
                return self.report(ProfileEvent::Awake(self.clock.now() - begun)).await;
            }
            if process.has_ended() {
                return;
            }
            sleep(READY_CHECK).await;
        }
        let why = format!("it runs (process {}), but is not ready after {} s", process.id(), READY_MAX.as_secs());
        self.report(ProfileEvent::NotWoken(why)).await;
    }

    async fn report(&self, event: ProfileEvent) {
        // The other end is gone when the program ends.
        self.reports.send(event.of(&self.name)).await.ok();
    }
}

/// Waits for the end of the browser; forever if there is none.
async fn ended(browser: &mut Option<Process>) -> Option<String> {
    match browser {
        Some(process) => process.ended().await,
        None => pending().await,
    }
}
