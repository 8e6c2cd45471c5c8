//! The profile that a browser works with: a folder of ours, never one of the user's.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;

use crate::error::BrowserError;
use crate::push_service::PushService;

/// What a profile is prepared for.
#[derive(Clone, Copy, Debug)]
pub struct Preparation<'a> {
    /// The push service that the browser receives from.
    pub service: &'a PushService,
    /// A file of certificate authorities (PEM) that the profile trusts in addition to the browser's own.
    pub ca: Option<&'a Path>,
    /// The folder of the profile, created if it is missing.
    pub folder: &'a Path,
    /// Whether the profile is deleted first, with its subscriptions, cookies and settings.
    pub fresh: bool,
}

/// What a user may want to know while a profile is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Firefox runs without a window for a few seconds, to make the profile trust a certificate authority.
    TeachingTrust,
    /// The profile trusts the authorities in this file, which it did not trust before.
    Trusted(PathBuf),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TeachingTrust => f.write_str(
                "teaching the profile to trust the service's certificate: Firefox runs unseen for some seconds",
            ),
            Self::Trusted(file) => {
                write!(f, "the profile trusts the CA in {} from now on; no other profile does", file.display())
            }
        }
    }
}

/// The folder of the profile `named`: a name is a folder of `browser` in the state directory; a path (with a slash in
/// it, or `.` or `..`) is that folder itself. `None` if it is a name and there is no state directory.
pub fn folder_of(named: &Path, state_dir: Option<&Path>, browser: &str) -> io::Result<Option<PathBuf>> {
    let is_path = named.as_os_str().as_encoded_bytes().contains(&b'/') || matches!(named.to_str(), Some("." | ".."));
    let folder = if is_path { Some(named.to_owned()) } else { state_dir.map(|dir| dir.join(browser).join(named)) };
    folder.map(std::path::absolute).transpose()
}

/// What the profiles of one browser have in common.
pub(crate) struct Kind {
    /// The browser, as users call it.
    pub(crate) browser: &'static str,
    /// Whether we filled a folder that is not empty.
    pub(crate) is_ours: fn(&Path) -> bool,
    /// The link in a profile whose target ends with the number of the process that works with it.
    pub(crate) lock: &'static str,
}

/// A profile of ours that no browser uses.
#[derive(Debug)]
pub struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// The profile in `folder`, created if it is missing and, with `fresh`, created anew. One that a browser works with,
    /// which `user` finds, is an error: a second browser would only open a window in the first, and deleting it would
    /// break the first.
    pub(crate) fn open(
        folder: &Path,
        kind: &Kind,
        fresh: bool,
        user: impl FnOnce(&Path) -> Option<u32>,
    ) -> Result<Self, BrowserError> {
        if !is_empty(folder)? && !(kind.is_ours)(folder) {
            return Err(BrowserError::ForeignProfile(folder.to_owned()));
        }
        if let Some(process) = user(folder) {
            return Err(BrowserError::ProfileInUse { browser: kind.browser, process, folder: folder.to_owned() });
        }
        if fresh && folder.exists() {
            delete(folder).map_err(BrowserError::io("delete", folder))?;
        }
        // A process that reads the profile has the keys of its subscriptions.
        private_file::create_folder(folder).map_err(BrowserError::io("create", folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into it, in place of one with this name.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), BrowserError> {
        debug_assert!(!Path::new(name).is_absolute(), "a file of the profile is in its folder");
        let file = self.folder.join(name);
        private_file::replace(&file, contents).map_err(BrowserError::io("write", &file))
    }

    /// Creates a folder in it, if it is missing.
    pub(crate) fn create_folder(&self, name: &str) -> Result<PathBuf, BrowserError> {
        debug_assert!(!Path::new(name).is_absolute(), "a folder of the profile is in its folder");
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(BrowserError::io("create", &folder))?;
        Ok(folder)
    }
}

/// The process in a lock, if it still lives. A browser that was killed leaves its lock behind.
pub(crate) fn process_of(lock: &Path) -> Option<u32> {
    let lock = fs::read_link(lock).ok()?;
    let process: u32 = lock.to_str()?.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Path::new("/proc").join(process.to_string()).exists().then_some(process)
}

/// Renames it first: what is left of a profile that could not be deleted whole would not be recognised as ours.
fn delete(folder: &Path) -> io::Result<()> {
    let mut name = OsString::from(folder.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
    name.push(".doorbell-deleted");
    let doomed = folder.with_file_name(name);
    if doomed.exists() {
        fs::remove_dir_all(&doomed)?;
    }
    fs::rename(folder, &doomed)?;
    fs::remove_dir_all(&doomed)
}

fn is_empty(folder: &Path) -> Result<bool, BrowserError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(BrowserError::io("read", folder)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { browser: "Browser", is_ours: |folder| folder.join("ours").exists(), lock: "lock" };

    fn open(folder: &Path, fresh: bool) -> Result<Profile, BrowserError> {
        Profile::open(folder, &KIND, fresh, |folder| process_of(&folder.join(KIND.lock)))
    }

    #[test]
    fn a_profile_in_use_is_refused_also_if_it_shall_be_fresh_and_one_whose_user_was_killed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(&folder.path().join("profile"), false).unwrap();
        profile.write("ours", b"").unwrap();
        let lock = profile.folder().join("lock");
        let own = std::process::id();
        for held in [format!("host-{own}"), format!("127.0.1.1:+{own}")] {
            std::os::unix::fs::symlink(held, &lock).unwrap();
            for fresh in [false, true] {
                let error = open(profile.folder(), fresh).unwrap_err().to_string();
                assert!(error.contains("close it first"), "{error}");
            }
            assert!(profile.folder().join("ours").exists());
            fs::remove_file(&lock).unwrap();
        }
        // No process has this number: Linux stops far below it.
        std::os::unix::fs::symlink("host-4194999", &lock).unwrap();
        open(profile.folder(), true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left of the old one");
    }

    #[test]
    fn a_folder_that_is_not_ours_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("theirs"), "").unwrap();
        for fresh in [false, true] {
            let error = open(folder.path(), fresh).unwrap_err();
            assert!(matches!(error, BrowserError::ForeignProfile(_)), "{error}");
        }
        assert!(folder.path().join("theirs").exists());
    }

    #[test]
    fn a_profile_of_ours_is_kept_unless_it_shall_be_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(folder.path(), false).unwrap();
        profile.write("ours", b"").unwrap();
        fs::write(folder.path().join("more"), "").unwrap();
        open(folder.path(), false).unwrap();
        assert!(folder.path().join("more").exists());
        open(folder.path(), true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_is_a_folder_in_the_state_directory_and_a_path_is_itself() {
        let state = Some(Path::new("/state"));
        let folder = |named: &str, state| folder_of(Path::new(named), state, "firefox").unwrap();
        assert_eq!(folder("alice", state), Some("/state/firefox/alice".into()));
        assert_eq!(folder("/a/b", state), Some("/a/b".into()));
        assert_eq!(folder("./alice", None), Some(std::env::current_dir().unwrap().join("alice")));
        assert_eq!(folder("alice", None), None);
    }
}
