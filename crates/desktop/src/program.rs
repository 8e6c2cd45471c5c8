//! The program `doorbell-desktop`: `doorbell desktop run` reads flags and settings and then becomes this program, which needs
//! less memory than the one with all roles. It runs for as long as a session.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use doorbell_protocol::headers::urgency::Urgency;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::browser::ProfileConfig;
use crate::control::{Server, socket};
use crate::error::DesktopError;
use crate::install::{RUNS_ALREADY_STATUS, note_reached};
use crate::report::Report;
use crate::rules::Bounds;
use crate::settings::{read_urgency, write_urgency};
use crate::status::Status;
use crate::wake_door::Trust;
use crate::{Command, Config};

/// Its file, in the folder of `doorbell`.
const FILE: &str = "doorbell-desktop";
/// Commands that wait until the one before is done.
const COMMANDS_MAX: usize = 8;

/// The path of the program: next to the one of this process.
pub(crate) fn path() -> Result<PathBuf, DesktopError> {
    let own = std::env::current_exe().map_err(DesktopError::io("find", Path::new("this program")))?;
    Ok(own.with_file_name(FILE))
}

/// The path of the program, which is there.
///
/// # Errors
/// [`DesktopError::NoProgram`] if it is not there, [`DesktopError::Io`] if the system does not name the program of this
/// process.
pub fn find() -> Result<PathBuf, DesktopError> {
    let program = path()?;
    if program.is_file() { Ok(program) } else { Err(DesktopError::NoProgram(program)) }
}

/// What the program is started with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// What to log, as `--log` has it.
    pub log: String,
    /// The push service, `https://…`.
    pub url: Url,
    /// The origin of the push service, for `status`.
    pub service: String,
    /// A file of certificate authorities that identify it too.
    pub ca: Option<PathBuf>,
    /// Messages below this urgency wake no browser.
    #[serde(serialize_with = "write_urgency", deserialize_with = "read_urgency")]
    pub floor: Urgency,
    /// Profiles that must be kept reachable: without one of them nothing is.
    pub profiles: Vec<ProfileConfig>,
    /// Profiles of the settings: one that cannot be woken does not keep the others from it.
    pub remembered: Vec<ProfileConfig>,
    /// Profiles of the settings that cannot be kept reachable, and why.
    pub refused: Vec<(ProfileConfig, String)>,
    /// Where the desktop part keeps its files.
    pub state: PathBuf,
    /// Whether a Firefox that is not an ESR is woken too.
    pub allow_debug_port: bool,
}

impl Start {
    /// A file without a name that contains it: the program's standard input.
    ///
    /// # Errors
    /// [`DesktopError::Io`] if the system creates no such file, or a path is not UTF-8.
    pub fn to_file(&self) -> Result<File, DesktopError> {
        let written = memfd_create(FILE, MemfdFlags::CLOEXEC).map_err(std::io::Error::from).and_then(|file| {
            let mut file = File::from(file);
            // A path that is not UTF-8 is no JSON.
            serde_json::to_writer(&file, self)?;
            file.rewind()?;
            Ok(file)
        });
        written.map_err(DesktopError::io("write", Path::new("the start of the desktop part")))
    }

    /// Reads it from the program's standard input.
    ///
    /// # Errors
    /// [`DesktopError::OtherVersion`] if it is not what this version of the program is started with.
    pub fn read(input: impl Read) -> Result<Self, DesktopError> {
        serde_json::from_reader(input).map_err(|error| DesktopError::OtherVersion(error.to_string()))
    }
}

/// Signals that ask a process to stop.
struct Stops([(&'static str, Signal); 2]);

impl Stops {
    /// From now on they no longer end the process.
    fn new() -> Result<Self, DesktopError> {
        let on = |kind| signal(kind).map_err(DesktopError::io("receive", Path::new("signals")));
        Ok(Self([("SIGINT", on(SignalKind::interrupt())?), ("SIGTERM", on(SignalKind::terminate())?)]))
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        let [(interrupt, interrupted), (terminate, terminated)] = &mut self.0;
        tokio::select! {
            _ = interrupted.recv() => interrupt,
            _ = terminated.recv() => terminate,
        }
    }
}

/// Wakes browsers until a signal comes: the exit status. Each line for the user is given to `print`.
///
/// # Errors
/// As [`crate::run`], and [`DesktopError`] if another user's file is in the way.
pub async fn run(start: Start, print: fn(&str)) -> Result<ExitCode, DesktopError> {
    let mut stops = Stops::new()?;
    let Start { url, service, ca, floor, profiles, state, allow_debug_port, remembered, refused, log: _ } = start;
    let trust = Trust::with(ca.as_deref())?;
    let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
    let server = match Server::open(&socket(&state)) {
        Err(error @ DesktopError::RunsAlready { .. }) => {
            print(&error.to_string());
            return Ok(ExitCode::from(RUNS_ALREADY_STATUS));
        }
        other => other?,
    };
    let status = Arc::new(Mutex::new(Status::new(service)));
    let noted = Arc::clone(&status);
    let folder = state.clone();
    let config = Config { url, trust, floor, profiles, state, bounds: Bounds::default(), allow_debug_port };
    let running = crate::run(config, commanded, move |report| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).note(&report);
        if let Report::Added(profile) = &report
            && let Err(error) = note_reached(&folder, profile)
        {
            print(&format!("`doorbell desktop uninstall` will not find {}: {error}", profile.folder.display()));
        }
        print(&report.to_string());
    });
    let adding = add(remembered, refused, commands.clone(), Arc::clone(&status), print);
    tokio::select! {
        done = async { tokio::join!(running, adding).0 } => done.map(|()| ExitCode::SUCCESS),
        () = server.serve(status, commands) => Ok(ExitCode::SUCCESS),
        signal = stops.next() => {
            print(&format!("{signal}: stopping; closed browsers stay closed from now on"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Adds the profiles of the settings one by one.
async fn add(
    remembered: Vec<ProfileConfig>,
    refused: Vec<(ProfileConfig, String)>,
    commands: mpsc::Sender<Command>,
    status: Arc<Mutex<Status>>,
    print: fn(&str),
) {
    let not_added = |profile: &ProfileConfig, why: String| {
        print(&format!("{}: not kept reachable: {why}", profile.folder.display()));
        status.lock().unwrap_or_else(PoisonError::into_inner).not_added(profile, why);
    };
    for (profile, why) in refused {
        not_added(&profile, why);
    }
    for profile in remembered {
        let (answer, answered) = oneshot::channel();
        if commands.send(Command::Add { profile: profile.clone(), answer }).await.is_err() {
            return;
        }
        let Ok(added) = answered.await else { return };
        if let Err(error) = added {
            not_added(&profile, error.explained());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::{Browser, Mode};

    fn start() -> Start {
        let profile = ProfileConfig {
            browser: Browser::Firefox,
            folder: "/home/alice/work".into(),
            program: "/usr/bin/firefox-esr".into(),
            mode: Mode::Woken,
        };
        Start {
            log: "info".to_owned(),
            url: "https://push.example".parse().unwrap(),
            service: "https://push.example".to_owned(),
            ca: Some("/ca.pem".into()),
            floor: Urgency::High,
            profiles: vec![profile.clone()],
            remembered: vec![],
            refused: vec![(profile, "it is gone".to_owned())],
            state: "/state".into(),
            allow_debug_port: true,
        }
    }

    #[test]
    fn the_program_reads_what_it_is_started_with() {
        let read = Start::read(start().to_file().unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", start()));
    }

    #[test]
    fn a_start_of_another_version_is_refused_with_what_to_do() {
        let mut value = serde_json::to_value(start()).unwrap();
        value["invented"] = true.into();
        let error = Start::read(value.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("invented") && error.contains("install both"), "{error}");
    }
}
