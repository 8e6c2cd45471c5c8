//! The profiles of Chromium into which a desktop part has written its extension, also those that were named to it while it
//! ran: an uninstallation takes that out of them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;

use crate::browser::{Browser, ProfileConfig};
use crate::error::DesktopError;

/// The file in the desktop part's own folder. Only a desktop part writes it, and a session has one.
const FILE: &str = "reached.json";
const BYTES_MAX: u64 = 1 << 20;

/// Notes that a desktop part with the folder `state` keeps `profile` reachable.
pub fn note_reached(state: &Path, profile: &ProfileConfig) -> Result<(), DesktopError> {
    if profile.browser != Browser::Chromium {
        return Ok(());
    }
    let mut folders = read(state)?;
    if folders.contains(&profile.folder) {
        return Ok(());
    }
    // So the list does not grow with profiles that were deleted.
    folders.retain(|folder| folder.exists());
    folders.push(profile.folder.clone());
    private_file::create_folder(state).map_err(DesktopError::io("create", state))?;
    let file = file(state);
    let text = serde_json::to_vec_pretty(&folders).map_err(|error| DesktopError::io("write", &file)(error.into()))?;
    private_file::replace(&file, &text).map_err(DesktopError::io("write", &file))
}

/// Where they are noted.
pub(super) fn file(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// Those that were noted in `state`.
pub(super) fn read(state: &Path) -> Result<Vec<PathBuf>, DesktopError> {
    let (file, mut text) = (file(state), String::new());
    match File::open(&file).and_then(|opened| opened.take(BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => serde_json::from_str(&text)
            .map_err(|error| DesktopError::refused(&file, format!("it is damaged ({error}): delete it"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(DesktopError::io("read", &file)(error)),
    }
}
