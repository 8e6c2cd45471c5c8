//! The start lock of a profile: while one process starts its browser, no other does.
//!
//! A Firefox that is started while another one with the same profile is still starting shows "already running, but is
//! not responding". The lock is a file beside the profile, locked by `flock`.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::error::DesktopError;

/// The lock of one profile, held. It is released with this value.
#[derive(Debug)]
pub struct StartLock {
    file: File,
    path: PathBuf,
}

impl StartLock {
    /// The file of the lock of the profile in `folder`.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        let mut name = OsString::from(folder.file_name().unwrap_or_default());
        name.push(".doorbell-start");
        folder.with_file_name(name)
    }

    /// Takes the lock of the profile in `folder`, or returns `None` if another process has it.
    pub fn try_take(folder: &Path) -> Result<Option<Self>, DesktopError> {
        let path = Self::file(folder);
        if let Some(parent) = path.parent() {
            private_file::create_folder(parent).map_err(DesktopError::io("create", parent))?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(DesktopError::io("lock", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, path })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(DesktopError::io("lock", &path)(error.into())),
        }
    }

    /// Leaves the lock to the program that replaces this process: it is held until that one ends.
    pub fn hand_on(self) -> Result<Self, DesktopError> {
        // Rust closes its files when a program is started; this one stays open.
        fcntl_setfd(&self.file, FdFlags::empty())
            .map_err(|error| DesktopError::io("lock", &self.path)(error.into()))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn one_process_at_a_time_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let profile = folder.path().join("profiles/alice");
        let lock = StartLock::try_take(&profile).unwrap().expect("it is free");
        assert!(StartLock::try_take(&profile).unwrap().is_none());
        assert!(StartLock::try_take(&folder.path().join("profiles/bob")).unwrap().is_some());
        drop(lock);
        assert!(StartLock::try_take(&profile).unwrap().is_some());
        assert!(!profile.exists(), "the profile itself stays as it is");
    }

    #[test]
    fn a_lock_that_was_handed_on_is_held_until_the_program_ends() {
        let folder = tempfile::tempdir().unwrap();
        let profile = folder.path().join("alice");
        let lock = StartLock::try_take(&profile).unwrap().expect("it is free").hand_on().unwrap();
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        drop(lock);
        assert!(StartLock::try_take(&profile).unwrap().is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(StartLock::try_take(&profile).unwrap().is_some());
    }
}
