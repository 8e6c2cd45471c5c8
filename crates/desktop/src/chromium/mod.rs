//! Chromium: started without a window, with an extension of ours by which it receives at once, and which gets the
//! credential of the wake door. It has no way to end by itself when nothing is left to do: the desktop part ends it.

mod application;
mod idle;
mod keeper;
mod native_host;
mod token;
mod windows;

pub(crate) use application::Application;
pub(crate) use keeper::{Keeper, Preparation};
pub use native_host::serve_extension;

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use doorbell_browsers::chromium::{WINDOWLESS, keep_reachable};

use crate::browser::Mode;
use crate::error::DesktopError;
use crate::program;
use token::WakeToken;

pub(crate) use token::FILE as TOKEN_FILE;
pub(crate) use windows::shall_end;

/// The words after `doorbell-desktop` by which Chromium starts the program that its extension talks to, before the profile.
const HOST_ARGUMENTS: [&str; 2] = ["native-host", "--profile"];

/// Puts the extension into the profile in `folder`, and the path of our program that it talks to, which an upgrade may
/// have changed. The next Chromium with this profile loads it.
pub fn install_extension(folder: &Path) -> Result<(), DesktopError> {
    let program = program::path()?;
    let mut arguments: Vec<&OsStr> = HOST_ARGUMENTS.iter().map(OsStr::new).collect();
    arguments.push(folder.as_os_str());
    Ok(keep_reachable(folder, &program, &arguments)?)
}

/// How `browser`, which works with the profile in `folder`, was started without a window. Chromium writes its title over its
/// environment, but keeps its switches there.
pub(crate) fn started_as(folder: &Path, browser: u32) -> Option<Mode> {
    // The process may have ended meanwhile.
    let line = std::fs::read(format!("/proc/{browser}/cmdline")).unwrap_or_default();
    let is_windowless = line.split(|byte| [0, b' '].contains(byte)).any(|word| word == WINDOWLESS.as_bytes());
    is_windowless.then(|| if shall_end(folder, browser) { Mode::Woken } else { Mode::Resident })
}

/// The token of the profile in `folder`; `None` if the extension has not handed one over yet.
pub(crate) fn token(folder: &Path) -> io::Result<Option<String>> {
    Ok(WakeToken::read(folder)?.map(WakeToken::into_string))
}
