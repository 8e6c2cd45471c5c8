//! What can go wrong on a desktop, sorted by whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

use doorbell_browsers::BrowserError;
use thiserror::Error;

use crate::browser::Browser;

/// Why nothing is woken, or not now.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DesktopError {
    /// The caller named an address that has no wake door.
    #[error("{url}: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The caller named a folder that is not a profile of Doorbell's.
    #[error("{} is not a {browser} profile of doorbell's: prepare it with `doorbell {} --prepare`", folder.display(), browser.verb())]
    NotAProfile {
        /// The browser that it was named for.
        browser: Browser,
        /// The folder.
        folder: PathBuf,
    },
    /// More profiles than one desktop part follows.
    #[error("{0} profiles are the most that one desktop part follows")]
    TooManyProfiles(usize),
    /// A file of certificate authorities cannot be used.
    #[error("the CA file {} cannot be used: {reason}", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is neither a CA of this system nor a file that names one.
    #[error("no certificate authority is known: name one with --ca")]
    NoTrust,

    /// The program of the desktop part is not where it belongs.
    #[error("{} is missing, which belongs next to doorbell: install both from one release, or build both with `cargo build --release`", .0.display())]
    NoProgram(PathBuf),
    /// The program was started by another version of `doorbell`.
    #[error("doorbell and doorbell-desktop are of different versions ({0}): install both from one release")]
    OtherVersion(String),

    /// The session of the user has no screen, so that no click could open a window.
    #[error("neither DISPLAY nor WAYLAND_DISPLAY is set: start it in a desktop session")]
    NoDisplay,
    /// This Firefox cannot be woken without a window.
    #[error(
        "{} cannot be woken without a window: {reason}; with --allow-debug-port it is woken in another way, but every \
        user of this machine can drive it meanwhile, through a port without a password",
        program.display()
    )]
    Unsuitable {
        /// Its program.
        program: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// On this system a copy of the launcher of Firefox would have a weaker sandbox.
    #[error(
        "{}: a copy of its launcher would have a weaker sandbox on this system, where AppArmor binds what a program may do \
         to its path: an administrator installs the files for all users with `doorbell desktop install --system`, and then \
         no copy is needed",
        program.display()
    )]
    WeakerSandbox {
        /// Its program.
        program: PathBuf,
    },
    /// The subscriptions of a Chromium's profile are at another service.
    #[error("{} has its subscriptions at {service}: name that one, or begin the profile anew with `doorbell chromium --fresh`", folder.display())]
    OtherService {
        /// The folder.
        folder: PathBuf,
        /// The origin of that service.
        service: String,
    },
    /// Something else than our extension talks to the program that Chromium starts for it.
    #[error("this verb is for Chromium, which starts it for the extension of doorbell: {0}")]
    Extension(String),
    /// The browser's program was there, and is gone.
    #[error(
        "{} is gone: install the package again, or start the desktop part anew with another program (--binary)",
        program.display()
    )]
    Gone {
        /// Its program.
        program: PathBuf,
    },
    /// The notifications of a woken browser cannot be passed on.
    #[error("{0}")]
    Bus(String),
    /// The browser was not found or not started.
    #[error(transparent)]
    Browser(#[from] BrowserError),

    /// The service is not reached, or the connection broke.
    #[error("{host}: {why}")]
    Connection {
        /// Host and port.
        host: String,
        /// What failed.
        why: String,
    },

    /// The file of settings, a folder or a socket is not as it must be, or another program has it.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The file, the folder or the socket.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A desktop part runs already.
    #[error(
        "a desktop part runs already (process {process}): `doorbell desktop status` shows what it does, and it ends with \
         `systemctl --user stop doorbell-desktop` or `kill {process}`"
    )]
    RunsAlready {
        /// Its process.
        process: u32,
    },

    /// A file cannot be read or written.
    #[error("cannot {action} {}: {why}{}", path.display(), hint(why))]
    Io {
        /// `read`, `write`, `link`, `lock`, `start` or `delete`.
        action: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// What the system reported.
        why: io::Error,
    },
}

/// What to do about an error of the system, where that is not obvious.
fn hint(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::StorageFull => "; free some space there",
        io::ErrorKind::QuotaExceeded => "; delete something of yours there",
        _ => "",
    }
}

impl DesktopError {
    /// What the user reads: the error, and the flag that helps.
    pub fn explained(&self) -> String {
        match self {
            Self::Browser(error) => error.explained(),
            other => other.to_string(),
        }
    }

    /// `path` is not as it must be.
    pub(crate) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), reason: reason.into() }
    }

    /// For `map_err`: `action` on `path` failed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::Io { action, path, why }
    }
}
