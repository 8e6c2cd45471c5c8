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
    #[error("{} is no {browser} profile of doorbell's: prepare it with `doorbell {} --prepare`", folder.display(), browser.verb())]
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

    /// A file cannot be read or written.
    #[error("cannot {action} {}: {why}", path.display())]
    Io {
        /// `read`, `write`, `link`, `lock`, `start` or `delete`.
        action: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// What the system reported.
        why: io::Error,
    },
}

impl DesktopError {
    /// For `map_err`: `action` on `path` failed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::Io { action, path, why }
    }
}
