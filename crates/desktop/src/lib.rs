//! Wakes closed browsers when a message waits: the desktop part of Doorbell.
//!
//! A resident process of a user's session holds the wake door of the push service for some browser profiles. When the
//! service reports that messages wait and no browser works with the profile, [`run`] starts the browser without a window.
//! The browser connects to the push service, the service worker of the site shows its notification, and the browser ends
//! by itself when nothing is left to do. Messages and their keys never reach this process.
//!
//! Firefox ESR and Chromium are woken; see [`firefox`] and [`chromium`]. Another Firefox is woken if the user allows its
//! debug port. [`rules`] decides when, without IO.

mod bidi;
mod browser;
mod clock;
mod error;
mod file_watch;
mod launcher;
mod owner;
mod process;
mod profile;
mod report;
mod scope;
mod session;
mod start_lock;
mod unasked;
mod wake_door;

pub mod chromium;
pub mod control;
pub mod firefox;
pub mod install;
pub mod program;
pub mod rules;
pub mod settings;
pub mod status;

use std::path::PathBuf;
use std::sync::Arc;

use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use url::Url;

use launcher::Launcher;
use profile::Profile;
use rules::Bounds;
use session::{NO_NOTIFICATION_SERVER, Screen, Session, SessionEvent};
use wake_door::{DoorCommand, Follower, WakeDoor};

pub use browser::{Browser, Mode, ProfileConfig, ProfileName};
pub use error::DesktopError;
pub use report::{ProfileEvent, Report};
pub use start_lock::StartLock;
pub use wake_door::Trust;

/// Reports and commands that the other end has not taken yet; more wait.
const QUEUE_MAX: usize = 64;
/// The service allows a hundred streams on a connection.
const PROFILES_MAX: usize = 64;

/// What the desktop part is started with.
#[derive(Debug)]
pub struct Config {
    /// The push service, `https://…`.
    pub url: Url,
    /// The authorities that identify it.
    pub trust: Trust,
    /// Messages below this urgency wake no browser.
    pub floor: Urgency,
    /// The profiles that are kept reachable.
    pub profiles: Vec<ProfileConfig>,
    /// Where the desktop part keeps its files.
    pub state: PathBuf,
    /// How often a profile may be woken.
    pub bounds: Bounds,
    /// Whether a Firefox that is not an ESR is woken too: every user of the machine can drive it meanwhile.
    pub allow_debug_port: bool,
}

/// What the desktop part is asked for while it runs.
#[derive(Debug)]
pub enum Command {
    /// Keep one more profile reachable.
    Add {
        /// The profile. One that is kept already gets its program, and its credential is read again; its mode stays.
        profile: ProfileConfig,
        /// Whether that is possible.
        answer: oneshot::Sender<Result<(), DesktopError>>,
    },
}

/// Checks and prepares everything, then wakes browsers until the future is dropped. Each step is given to `report`.
///
/// # Errors
/// [`DesktopError`] before anything is connected: a folder that is not a profile, a browser that cannot be woken, an
/// address without a wake door. Later errors are reported, and what failed is tried again.
pub async fn run(
    config: Config,
    mut commands: mpsc::Receiver<Command>,
    mut report: impl FnMut(Report),
) -> Result<(), DesktopError> {
    if ["DISPLAY", "WAYLAND_DISPLAY"].iter().all(|name| std::env::var_os(name).is_none()) {
        return Err(DesktopError::NoDisplay);
    }
    let (reports, mut reported) = mpsc::channel(QUEUE_MAX);
    let (door_commands, for_door) = mpsc::channel(QUEUE_MAX);
    let door = WakeDoor::new(config.url.clone(), config.trust, config.floor, reports.clone())?;
    let mut session = Session::connect().await;
    for what in session.missing() {
        report(Report::Missing(what));
    }
    let screen = session.screen();
    if !screen.shows_notifications().await {
        report(Report::Missing(format!("{NO_NOTIFICATION_SERVER}, and messages wait at the service until then")));
    }
    let mut desktop = Desktop {
        url: config.url,
        state: config.state,
        bounds: config.bounds,
        allow_debug_port: config.allow_debug_port,
        door: door_commands,
        screen,
        reports,
        tasks: JoinSet::new(),
        kept: Vec::new(),
    };
    // All are checked before anything is connected.
    let prepared: Result<Vec<_>, _> = config.profiles.iter().map(|profile| desktop.prepare(profile)).collect();
    for (profile, launcher) in config.profiles.into_iter().zip(prepared?) {
        if desktop.add(&profile, launcher).await {
            report(Report::Added(profile));
        }
    }
    desktop.tasks.spawn(door.follow(for_door));
    loop {
        tokio::select! {
            Some(next) = reported.recv() => {
                desktop.notify(&session, &next);
                report(next);
            }
            event = session.next() => {
                let command = match event {
                    SessionEvent::Reconnect => DoorCommand::Reconnect,
                    SessionEvent::Floor(floor) => {
                        let floor = floor.max(config.floor);
                        report(Report::Floor(floor));
                        DoorCommand::Floor(floor)
                    }
                };
                desktop.door.send(command).await.ok();
            }
            Some(ended) = desktop.tasks.join_next() => ended.expect("the tasks of the desktop part do not panic"),
            Some(Command::Add { profile, answer }) = commands.recv() => {
                let prepared = desktop.prepare(&profile);
                let added = match prepared {
                    Ok(launcher) => {
                        if desktop.add(&profile, launcher).await {
                            report(Report::Added(profile));
                        }
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                // The client of the command may be gone.
                answer.send(added).ok();
            }
            else => return Ok(()),
        }
    }
}

/// The profiles, each with its task.
struct Desktop {
    url: Url,
    state: PathBuf,
    bounds: Bounds,
    allow_debug_port: bool,
    door: mpsc::Sender<DoorCommand>,
    screen: Screen,
    reports: mpsc::Sender<Report>,
    tasks: JoinSet<()>,
    kept: Vec<Kept>,
}

/// What the tasks of one profile are notified of.
struct Kept {
    name: ProfileName,
    launcher: watch::Sender<Launcher>,
    /// Its browser may have got another credential.
    credential: Arc<Notify>,
}

impl Desktop {
    /// Checks that the browser of `profile` can be woken.
    fn prepare(&self, profile: &ProfileConfig) -> Result<Launcher, DesktopError> {
        if !profile.browser.is_wakeable(&profile.folder) {
            return Err(DesktopError::NotAProfile { browser: profile.browser, folder: profile.folder.clone() });
        }
        let is_kept = self.kept.iter().any(|kept| kept.name == profile.name());
        if !is_kept && self.kept.len() >= PROFILES_MAX {
            return Err(DesktopError::TooManyProfiles(PROFILES_MAX));
        }
        Launcher::prepare(profile, &self.state, &self.url, self.allow_debug_port)
    }

    /// Shows the user that a message waits whose browser could not be started: nothing else would.
    fn notify(&mut self, session: &Session, report: &Report) {
        let Report::Profile { name, event: ProfileEvent::NotWoken(why) } = report else { return };
        let shown = session.notify(
            &name.folder.display().to_string(),
            &format!("A message waits; {} could not be started", name.browser),
            why,
        );
        self.tasks.spawn(async move {
            if let Err(error) = shown.await {
                tracing::warn!("{error}");
            }
        });
    }

    /// Keeps one more profile reachable: `false` if that is done already. That one's browser is started by `launcher` from
    /// now on.
    async fn add(&mut self, config: &ProfileConfig, launcher: Launcher) -> bool {
        let name = config.name();
        if let Some(kept) = self.kept.iter().find(|kept| kept.name == name) {
            kept.launcher.send_replace(launcher);
            kept.credential.notify_one();
            return false;
        }
        let credential = Arc::new(Notify::new());
        let (follower, events) = Follower::of(name.clone(), Arc::clone(&credential));
        let (sender, launchers) = watch::channel(launcher);
        let profile = Profile::new(
            config,
            launchers,
            self.bounds,
            Arc::clone(&credential),
            self.screen.clone(),
            self.reports.clone(),
        );
        self.tasks.spawn(profile.keep(events));
        self.kept.push(Kept { name, launcher: sender, credential });
        // It has room for all profiles, and its receiver lives as long as the program.
        self.door.send(DoorCommand::Follow(follower)).await.ok();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// How long anything may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_profile_that_is_named_again_gets_its_program_and_its_credential_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let config = |name: &str| {
            let program = home.path().join(name);
            fs::write(&program, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
            let folder = home.path().join("alice");
            ProfileConfig { browser: Browser::Chromium, folder, program, mode: Mode::Woken }
        };
        // With a credential nothing is started without a message.
        fs::create_dir(home.path().join("alice")).unwrap();
        for (file, text) in [("doorbell-service", "https://push.example\n"), (chromium::TOKEN_FILE, "token")] {
            fs::write(home.path().join("alice").join(file), text).unwrap();
        }
        let (door, mut commanded) = mpsc::channel(QUEUE_MAX);
        let (reports, _reported) = mpsc::channel(QUEUE_MAX);
        let mut desktop = Desktop {
            url: Url::parse("https://push.example").unwrap(),
            state: home.path().join("state"),
            bounds: Bounds::default(),
            allow_debug_port: false,
            door,
            screen: Screen::default(),
            reports,
            tasks: JoinSet::new(),
            kept: Vec::new(),
        };
        let (old, new) = (config("old-chromium"), config("new-chromium"));
        let launcher = desktop.prepare(&old).unwrap();
        assert!(desktop.add(&old, launcher).await);
        let launcher = desktop.prepare(&new).unwrap();
        assert!(!desktop.add(&new, launcher).await, "it is kept already");

        let [kept] = desktop.kept.as_slice() else { panic!("there is one profile") };
        timeout(PATIENCE, kept.credential.notified()).await.expect("the credential is read again");
        let launcher = format!("{:?}", kept.launcher.borrow());
        assert!(launcher.contains("new-chromium") && !launcher.contains("old-chromium"), "{launcher}");
        assert!(matches!(commanded.try_recv(), Ok(DoorCommand::Follow(_))));
        commanded.try_recv().expect_err("it is followed once");
    }
}
