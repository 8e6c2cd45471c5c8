//! One profile: the rules of [`crate::rules`], and the IO around them.

use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::browser::{Mode, ProfileConfig, ProfileName};
use crate::chromium::Keeper;
use crate::clock::Clock;
use crate::error::DesktopError;
use crate::launcher::Launcher;
use crate::process::Process;
use crate::report::{ProfileEvent, Report};
use crate::rules::{Bounds, Rules, Waiting};
use crate::start_lock::StartLock;
use crate::wake_door::DoorEvent;

/// How often it is checked whether a browser that starts is ready: until then the start lock is held.
const READY_CHECK: Duration = Duration::from_millis(25);

/// How often a browser is started without a message, to get a credential: at the start, and after its user has closed it.
const FIRST_STARTS_MAX: u32 = 3;

/// A profile whose browser is woken.
pub(crate) struct Profile {
    name: ProfileName,
    mode: Mode,
    launcher: Launcher,
    /// Watches a woken browser that does not end by itself.
    keeper: Option<Keeper>,
    first_starts: u32,
    rules: Rules,
    ready_max: Duration,
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
        Self {
            name: config.name(),
            mode: config.mode,
            launcher,
            keeper: None,
            first_starts: 0,
            rules,
            ready_max: bounds.ready_max,
            clock,
            reports,
        }
    }

    /// Wakes the browser whenever it is due, until the door is gone.
    pub(crate) async fn keep(mut self, mut events: mpsc::Receiver<DoorEvent>) {
        let mut browser =
            if self.mode == Mode::Resident || self.needs_first_start() { self.start_at_once().await } else { None };
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(DoorEvent::Waiting(waiting)) => self.rules.messages_wait(waiting),
                    Some(DoorEvent::Quiet) => self.rules.quiet(),
                    Some(DoorEvent::Lost) => self.rules.disconnected(),
                    None => return,
                },
                () = self.clock.reaches(self.rules.due()) => browser = self.start(self.rules.waiting()).await,
                () = nothing_left(&mut self.keeper) => {
                    self.keeper = None;
                    // Its notifications are gone: on the screen they would stay behind, and do nothing.
                    if let Some(browser) = &browser {
                        browser.terminate();
                    }
                }
                status = ended(&mut browser) => {
                    (browser, self.keeper) = (None, None);
                    self.rules.browser_ended(self.clock.now());
                    self.report(ProfileEvent::Ended(status)).await;
                    // The user's own, which gets no credential, is closed now.
                    if self.needs_first_start() {
                        browser = self.start_at_once().await;
                    }
                }
            }
        }
    }

    /// Whether the browser has to be started to get a credential. One that gets none is not started again and again.
    fn needs_first_start(&mut self) -> bool {
        let needs = self.first_starts < FIRST_STARTS_MAX && self.name.browser.needs_first_start(&self.name.folder);
        self.first_starts += u32::from(needs);
        needs
    }

    /// Starts the browser without a message, or finds the one that another process is starting.
    async fn start_at_once(&mut self) -> Option<Process> {
        loop {
            let browser = self.start(None).await;
            if browser.is_some() || !StartLock::try_take(&self.name.folder).is_ok_and(|lock| lock.is_none()) {
                return browser;
            }
            sleep(READY_CHECK).await;
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
                self.failed(error.to_string()).await;
                None
            }
        }
    }

    async fn try_start(&mut self, waiting: Option<Waiting>) -> Result<Option<Process>, DesktopError> {
        let lock = StartLock::try_take(&self.name.folder)?;
        if let Some(process) = self.name.browser.process_of(&self.name.folder) {
            drop(lock);
            return Ok(self.watch(process, waiting).await);
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
        if self.mode == Mode::Woken {
            // Before it can show anything.
            match self.launcher.keeper(&self.name.folder, process.id()).await {
                Ok(keeper) => self.keeper = keeper,
                Err(why) => self.report(ProfileEvent::Stays(why)).await,
            }
        }
        self.wait_until_ready(&mut process).await;
        drop(lock);
        Ok(Some(process))
    }

    /// Watches a browser that another program has started.
    async fn watch(&mut self, id: u32, waiting: Option<Waiting>) -> Option<Process> {
        match Process::with_id(id) {
            Ok(process) => {
                self.rules.browser_runs();
                if waiting.is_some() {
                    self.report(ProfileEvent::BrowserRuns(id)).await;
                }
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
        while self.clock.now() < begun + self.ready_max {
            if self.launcher.is_ready(&self.name.folder, process.id()) {
                return self.report(ProfileEvent::Awake(self.clock.now() - begun)).await;
            }
            if process.has_ended() {
                return self.failed("it ended while it was starting; start it yourself to see why".to_owned()).await;
            }
            sleep(READY_CHECK).await;
        }
        // It has the profile's lock: left alone, it would keep every other one from starting, the user's own too.
        process.kill();
        let (id, waited) = (process.id(), self.ready_max.as_secs());
        let why =
            format!("it was not ready after {waited} s, and is ended (process {id}); start it yourself to see why");
        self.failed(why).await;
    }

    async fn failed(&self, why: String) {
        let waits = self.rules.waiting().is_some();
        self.report(if waits { ProfileEvent::NotWoken(why) } else { ProfileEvent::NotStarted(why) }).await;
    }

    async fn report(&self, event: ProfileEvent) {
        // The other end is gone when the program ends.
        self.reports.send(event.of(&self.name)).await.ok();
    }
}

/// Waits until nothing is left to do for a browser that is watched; forever if there is none.
async fn nothing_left(keeper: &mut Option<Keeper>) {
    match keeper {
        Some(keeper) => keeper.nothing_left().await,
        None => pending().await,
    }
}

/// Waits for the end of the browser; forever if there is none.
async fn ended(browser: &mut Option<Process>) -> Option<String> {
    match browser {
        Some(process) => process.ended().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use doorbell_browsers::Firefox;
    use doorbell_protocol::headers::urgency::Urgency;
    use tokio::time::timeout;

    use super::*;
    use crate::browser::Browser;
    use crate::firefox::{Application, System};

    /// How long anything may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Runs as long as the test lets it, with a process of its own, and is never ready.
    const HANGS: &str = "#!/bin/sh\nsleep 1000 &\necho $! > FOLDER/helper\nwait\n";

    async fn next(reports: &mut mpsc::Receiver<Report>) -> ProfileEvent {
        match timeout(PATIENCE, reports.recv()).await {
            Ok(Some(Report::Profile { event, .. })) => event,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_browser_that_hangs_is_ended_with_its_helpers_and_leaves_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path().join("esr");
        fs::create_dir_all(installed.join("defaults/pref")).unwrap();
        let repository = "SourceRepository=https://example.org/mozilla-esr153\n";
        let hangs = HANGS.replace("FOLDER", folder.path().to_str().unwrap());
        for (name, text) in [("firefox-esr", hangs.as_str()), ("libxul.so", ""), ("application.ini", repository)] {
            fs::write(installed.join(name), text).unwrap();
        }
        fs::set_permissions(installed.join("firefox-esr"), fs::Permissions::from_mode(0o700)).unwrap();
        let firefox = Firefox::at(&installed.join("firefox-esr")).unwrap();
        let application =
            Application::prepare_where(System::unrestricted(), &firefox, &folder.path().join("links")).unwrap();
        let config = ProfileConfig {
            browser: Browser::Firefox,
            folder: folder.path().join("alice"),
            program: firefox.program().to_owned(),
            mode: Mode::Woken,
        };
        fs::create_dir(&config.folder).unwrap();
        let bounds = Bounds { ready_max: Duration::from_secs(2), ..Bounds::default() };
        let (reports, mut reported) = mpsc::channel(8);
        let (events, of_door) = mpsc::channel(1);
        let profile = Profile::new(&config, Launcher::Firefox(application), bounds, reports);
        let kept = tokio::spawn(profile.keep(of_door));
        let waiting = Waiting { messages: 1, urgency: Urgency::Normal, since_ms: 1 };
        events.send(DoorEvent::Waiting(waiting)).await.unwrap();

        let ProfileEvent::Waking { process, .. } = next(&mut reported).await else { panic!("it is not started") };
        let ProfileEvent::NotWoken(why) = next(&mut reported).await else { panic!("it is not reported") };
        assert!(why.contains("was not ready") && why.contains(&process.to_string()), "{why}");
        let ProfileEvent::Ended(Some(status)) = next(&mut reported).await else { panic!("it is not ended") };
        assert!(status.contains("SIGKILL"), "{status}");
        let helper: u32 = fs::read_to_string(folder.path().join("helper")).unwrap().trim().parse().unwrap();
        if let Ok(mut helper) = Process::with_id(helper) {
            // It was killed too, and its end is seen even if its parent has not taken its status yet.
            timeout(PATIENCE, helper.ended()).await.expect("the helper ends too");
        }
        assert!(StartLock::try_take(&config.folder).unwrap().is_some(), "the profile is free");
        drop(events);
        kept.await.unwrap();
    }
}
