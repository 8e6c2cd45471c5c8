//! The control socket of the desktop part: what it does ([`Request::Status`]), and one more profile ([`Request::Add`]).
//!
//! A client connects, sends one line of JSON and gets one. Only processes of the same user are answered.

mod client;
mod server;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::getuid;
use serde::{Deserialize, Serialize};

use crate::browser::ProfileConfig;
use crate::error::DesktopError;
use crate::owner;
use crate::status::Status;

pub use client::Client;
pub use server::Server;

/// Its name in the session's folder.
const NAME: &str = "doorbell-desktop.sock";
/// No client of ours sends a longer request.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// The status of as many profiles as a desktop part follows, each with its last wakes, is shorter.
const ANSWER_BYTES_MAX: u64 = 2 << 20;
/// Clients that are served at the same time; the connection of a further one is closed.
const CLIENTS_MAX: usize = 8;
/// How long a request may take, from the connection to the answer.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// What the desktop part is doing.
    Status,
    /// Keep one more profile reachable.
    Add {
        /// The origin of the service that it receives from: a desktop part waits at one service.
        service: String,
        /// The profile.
        profile: ProfileConfig,
    },
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The state.
    Status(Box<Status>),
    /// The profile is kept reachable.
    Added,
    /// It was not done: why.
    Error(String),
}

/// Where the control socket is: in the folder of the user's session, or in `state`, the desktop part's own folder.
pub fn socket(state: &Path) -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    runtime.unwrap_or_else(|| state.to_owned()).join(NAME)
}

/// Refuses a folder in which another user could put a socket of their own.
fn check_folder(socket: &Path) -> Result<(), DesktopError> {
    let folder = socket.parent().expect("a socket is in a folder");
    let metadata = fs::metadata(folder).map_err(DesktopError::io("read", folder))?;
    owner::check(folder, &metadata)?;
    // Root's folder is one that this user cannot write, unless it is root's own session.
    if metadata.uid() != getuid().as_raw() {
        return Err(DesktopError::refused(folder, "it is not your own: set XDG_RUNTIME_DIR to a folder of yours"));
    }
    Ok(())
}
