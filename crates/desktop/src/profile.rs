//! One profile: the rules of [`crate::rules`], and the IO around them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use crate::browser::{Mode, ProfileConfig, ProfileName};
use crate::chromium::Keeper;
use crate::clock::Clock;
use crate::error::DesktopError;
use crate::launcher::Launcher;
use crate::process::Process;
use crate::report::{ProfileEvent, Report};
use crate::rules::{Bounds, Rules, Waiting};
use crate::session::{NO_NOTIFICATION_SERVER, Screen};
use crate::start_lock::StartLock;
use crate::unasked::Unasked;
use crate::wake_door::DoorEvent;

/// How often it is checked whether a browser that starts is ready: until then the start lock is held.
const READY_CHECK: Duration = Duration::from_millis(25);
/// How long a browser that is not ready may take to end by itself: it may be bringing its profile up to date.
const GRACE: Duration = Duration::from_secs(10);
/// How long a browser may take to end that has nothing left to do. Then its user may open a page in it again.
const ENDS_MAX: Duration = Duration::from_secs(10);

/// Why a woken Chromium stays that was started before this process.
const EARLIER: &str =
    "an earlier desktop part has started it, and which notifications it shows is unknown; quit it in its menu";

/// When it is looked again whether notifications can be shown, while a message waits for that.
const SCREEN_CHECK: Duration = Duration::from_secs(10);

/// A profile whose browser is woken.
pub(crate) struct Profile {
    name: ProfileName,
    mode: Mode,
    launchers: watch::Receiver<Launcher>,
    /// The browser, if one is known to run.
    browser: Option<Process>,
    /// Watches a woken browser that does not end by itself.
    keeper: Option<Keeper>,
    ending: Option<Ending>,
    unasked: Unasked,
    rules: Rules,
    ready_max: Duration,
    grace: Duration,
    clock: Clock,
    /// Wakes who reads the credential.
    credential: Arc<Notify>,
    screen: Screen,
    /// A message waits, and nothing could show it.
    is_blind: bool,
    reports: mpsc::Sender<Report>,
}

/// A browser has been asked to end: no page is handed over to it meanwhile.
struct Ending {
    _lock: StartLock,
    until: Duration,
}

impl Profile {
    /// The profile of `config`, whose browser is started by the last of `launchers`. `credential` is notified when the
    /// browser may have got another one.
    pub(crate) fn new(
        config: &ProfileConfig,
        launchers: watch::Receiver<Launcher>,
        bounds: Bounds,
        credential: Arc<Notify>,
        screen: Screen,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        Self {
            name: config.name(),
            mode: config.mode,
            launchers,
            browser: None,
            keeper: None,
            ending: None,
            unasked: Unasked::default(),
            rules: Rules::new(bounds),
            ready_max: bounds.ready_max,
            grace: GRACE,
            clock: Clock::start(),
            credential,
            screen,
            is_blind: false,
            reports,
        }
    }

    /// Wakes the browser whenever it is due, until the door is gone.
    pub(crate) async fn keep(mut self, mut events: watch::Receiver<DoorEvent>) {
        if self.mode == Mode::Resident {
            self.unasked.begin(self.clock.now());
        }
        self.look_for_one_that_stays().await;
        self.needs_credential();
        loop {
            tokio::select! {
                changed = events.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let event = *events.borrow_and_update();
                    self.take(event);
                }
                () = self.clock.reaches(self.rules.due()) => self.start(self.rules.waiting()).await,
                () = self.clock.reaches(self.unasked.due()) => self.start(None).await,
                // Its notifications are gone: on the screen they would stay behind, and do nothing.
                lock = nothing_left(&mut self.keeper), if self.ending.is_none() => {
                    if let Some(browser) = &self.browser {
                        browser.terminate();
                    }
                    self.ending = Some(Ending { _lock: lock, until: self.clock.now() + ENDS_MAX });
                }
                () = self.clock.reaches(self.ending.as_ref().map(|ending| ending.until)) => {
                    self.ending = None;
                    if let Some(keeper) = &mut self.keeper {
                        keeper.goes_on();
                    }
                }
                status = ended(&mut self.browser) => {
                    (self.browser, self.keeper, self.ending) = (None, None, None);
                    self.rules.browser_ended(self.clock.now());
                    self.credential.notify_one();
                    self.report(ProfileEvent::Ended(status)).await;
                    // The user's own, which gets no credential, is closed now.
                    self.needs_credential();
                }
            }
        }
    }

    fn take(&mut self, event: DoorEvent) {
        match event {
            DoorEvent::Connected => {
                self.rules.disconnected();
                self.unasked.connected();
                self.needs_credential();
            }
            // It may have taken the place of the event before it.
            DoorEvent::Followed => {
                self.rules.disconnected();
                self.unasked.connected();
                if let Some(keeper) = &mut self.keeper {
                    // It was started for its credential, which it has now, or its service is reached again.
                    keeper.connected();
                }
            }
            DoorEvent::Waiting(waiting) => self.rules.messages_wait(waiting),
            DoorEvent::Quiet => {
                self.rules.quiet();
                if let Some(keeper) = &mut self.keeper {
                    keeper.connected();
                }
            }
            DoorEvent::Lost => self.rules.disconnected(),
        }
    }

    /// Starts the browser soon if it has to run to get a credential.
    fn needs_credential(&mut self) {
        if self.browser.is_none() && self.name.browser.needs_first_start(&self.name.folder) {
            self.unasked.credential_is_missing(self.clock.now());
        }
    }

    /// Reports a woken browser that was started before this process and will not end.
    async fn look_for_one_that_stays(&mut self) {
        let Some(id) = self.name.browser.process_of(&self.name.folder) else { return };
        if self.launcher().stays(&self.name.folder, self.mode, id) {
            self.browser = self.watch(id, None).await;
        }
    }

    fn launcher(&self) -> Launcher {
        self.launchers.borrow().clone()
    }

    /// Starts the browser, unless one runs or starts already.
    async fn start(&mut self, waiting: Option<Waiting>) {
        self.browser = match self.try_start(waiting).await {
            Ok(process) => process,
            Err(error) => {
                if waiting.is_some() {
                    // It counts as a wake that took nothing, so that it is not tried again at once.
                    self.rules.wake(self.clock.now());
                    self.rules.browser_ended(self.clock.now());
                } else {
                    self.unasked.failed(self.clock.now());
                }
                self.failed(error.to_string()).await;
                None
            }
        };
        if self.browser.is_some() {
            self.unasked.runs();
        }
    }

    async fn try_start(&mut self, waiting: Option<Waiting>) -> Result<Option<Process>, DesktopError> {
        let ProfileName { browser, folder } = &self.name;
        if !browser.is_wakeable(folder) {
            // A browser would create it anew, or ask its user for another one.
            return Err(DesktopError::NotAProfile { browser: *browser, folder: folder.clone() });
        }
        let lock = StartLock::try_take(&self.name.folder)?;
        if let Some(process) = self.name.browser.process_of(&self.name.folder) {
            drop(lock);
            return Ok(self.watch(process, waiting).await);
        }
        let Some(lock) = lock else {
            // Another process is starting a browser with this profile.
            self.busy();
            return Ok(None);
        };
        if waiting.is_some() && !self.screen.shows_notifications().await {
            // The browser would take the messages, and show nothing.
            self.rules.nothing_can_be_shown(self.clock.now() + SCREEN_CHECK);
            if !std::mem::replace(&mut self.is_blind, true) {
                self.failed(NO_NOTIFICATION_SERVER.to_owned()).await;
            }
            return Ok(None);
        }
        self.is_blind = false;
        let launcher = self.launcher();
        let before = match self.mode {
            // Before it can show anything.
            Mode::Woken => launcher.before_keeper(&self.name.folder).await,
            Mode::Resident => Ok(None),
        };
        let mut process = launcher.start(&self.name.folder, self.mode).await?;
        match waiting {
            Some(_) => self.rules.wake(self.clock.now()),
            None => self.rules.browser_runs(),
        }
        self.report(ProfileEvent::Waking { process: process.id(), waiting }).await;
        match before {
            Ok(before) => self.keeper = before.map(|before| before.keeper(process.id())),
            Err(why) => self.report(ProfileEvent::Stays(why)).await,
        }
        self.wait_until_ready(&launcher, &mut process).await;
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
                if self.launcher().stays(&self.name.folder, self.mode, id) {
                    self.report(ProfileEvent::Stays(EARLIER.to_owned())).await;
                }
                Some(process)
            }
            // It has ended in this moment.
            Err(_) => {
                self.busy();
                None
            }
        }
    }

    fn busy(&mut self) {
        self.rules.busy(self.clock.now());
        if self.unasked.due().is_some() {
            self.unasked.busy(self.clock.now());
        }
    }

    async fn wait_until_ready(&self, launcher: &Launcher, process: &mut Process) {
        let begun = self.clock.now();
        while self.clock.now() < begun + self.ready_max {
            if launcher.is_ready(&self.name.folder, process.id()) {
                return self.report(ProfileEvent::Awake(self.clock.now() - begun)).await;
            }
            if process.has_ended() {
                return self.failed("it ended while it was starting; start it yourself to see why".to_owned()).await;
            }
            sleep(READY_CHECK).await;
        }
        // It has the profile's lock: left alone, it would keep every other one from starting, the user's own too.
        process.end(self.grace).await;
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
async fn nothing_left(keeper: &mut Option<Keeper>) -> StartLock {
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
    const HANGS: &str = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $! > FOLDER/helper\nwait\n";

    /// Is never ready, and ends in order when it is asked to.
    const SAVES: &str = "#!/bin/sh\ntrap 'exit 7' TERM\nsleep 1000 &\nwait\n";

    async fn next(reports: &mut mpsc::Receiver<Report>) -> ProfileEvent {
        match timeout(PATIENCE, reports.recv()).await {
            Ok(Some(Report::Profile { event, .. })) => event,
            other => panic!("{other:?}"),
        }
    }

    /// A profile with a program of a test in the place of Firefox.
    struct Kept {
        folder: tempfile::TempDir,
        config: ProfileConfig,
        events: watch::Sender<DoorEvent>,
        reports: mpsc::Receiver<Report>,
        credential: Arc<Notify>,
        kept: tokio::task::JoinHandle<()>,
    }

    impl Kept {
        fn waits(&self) {
            let waiting = Waiting { messages: 1, urgency: Urgency::Normal, since_ms: 1 };
            self.events.send(DoorEvent::Waiting(waiting)).unwrap();
        }
    }

    /// One whose start lock another process has until the returned one is dropped.
    fn kept(program: &str, mode: Mode) -> (Kept, StartLock) {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path().join("esr");
        fs::create_dir_all(installed.join("defaults/pref")).unwrap();
        let repository = "SourceRepository=https://example.org/mozilla-esr153\n";
        let program = program.replace("FOLDER", folder.path().to_str().unwrap());
        for (name, text) in [("firefox-esr", program.as_str()), ("libxul.so", ""), ("application.ini", repository)] {
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
            mode,
        };
        fs::create_dir(&config.folder).unwrap();
        let user_js = "// Written by `doorbell firefox`, anew at each start.\n";
        fs::write(config.folder.join("user.js"), user_js).unwrap();
        let lock = StartLock::try_take(&config.folder).unwrap().expect("it is free");
        let bounds = Bounds { ready_max: Duration::from_secs(2), ..Bounds::default() };
        let (reporter, reports) = mpsc::channel(8);
        let (events, of_door) = watch::channel(DoorEvent::Lost);
        let (_, launchers) = watch::channel(Launcher::Firefox(application));
        let credential = Arc::new(Notify::new());
        let mut profile =
            Profile::new(&config, launchers, bounds, Arc::clone(&credential), Screen::default(), reporter);
        profile.grace = Duration::from_secs(1);
        let kept = tokio::spawn(profile.keep(of_door));
        (Kept { folder, config, events, reports, credential, kept }, lock)
    }

    fn woken(program: &str) -> Kept {
        let (kept, lock) = kept(program, Mode::Woken);
        drop(lock);
        kept.waits();
        kept
    }

    #[tokio::test]
    async fn while_another_process_has_the_start_lock_events_are_read_and_the_start_is_tried_again() {
        let (waits, lock) = kept(SAVES, Mode::Resident);
        drop(waits.events);
        timeout(PATIENCE, waits.kept).await.expect("it sees that the door is gone").unwrap();
        drop(lock);

        let (mut starts, lock) = kept(SAVES, Mode::Resident);
        timeout(Duration::from_millis(500), starts.reports.recv()).await.expect_err("the profile is in use");
        drop(lock);
        let ProfileEvent::Waking { waiting: None, .. } = next(&mut starts.reports).await else {
            panic!("it is started without a message")
        };
        let ProfileEvent::NotStarted(_) = next(&mut starts.reports).await else { panic!("it is not ready") };
    }

    #[tokio::test]
    async fn a_browser_that_hangs_is_ended_with_its_helpers_and_leaves_no_lock() {
        let Kept { folder, config, events, mut reports, credential, kept } = woken(HANGS);
        let ProfileEvent::Waking { process, .. } = next(&mut reports).await else { panic!("it is not started") };
        let ProfileEvent::NotWoken(why) = next(&mut reports).await else { panic!("it is not reported") };
        assert!(why.contains("was not ready") && why.contains(&process.to_string()), "{why}");
        let ProfileEvent::Ended(Some(status)) = next(&mut reports).await else { panic!("it is not ended") };
        assert!(status.contains("SIGKILL"), "{status}");
        timeout(PATIENCE, credential.notified()).await.expect("it may have got another credential");
        let helper: u32 = fs::read_to_string(folder.path().join("helper")).unwrap().trim().parse().unwrap();
        if let Ok(mut helper) = Process::with_id(helper) {
            // It was killed too, and its end is seen even if its parent has not taken its status yet.
            timeout(PATIENCE, helper.ended()).await.expect("the helper ends too");
        }
        assert!(StartLock::try_take(&config.folder).unwrap().is_some(), "the profile is free");
        drop(events);
        kept.await.unwrap();
    }

    #[tokio::test]
    async fn a_browser_that_is_slow_may_save_its_profile_before_it_is_ended() {
        let mut woken = woken(SAVES);
        let ProfileEvent::Waking { .. } = next(&mut woken.reports).await else { panic!("it is not started") };
        let ProfileEvent::NotWoken(_) = next(&mut woken.reports).await else { panic!("it is not reported") };
        let ProfileEvent::Ended(Some(status)) = next(&mut woken.reports).await else { panic!("it is not ended") };
        assert!(status.contains("exit status: 7"), "{status}");
    }
}
