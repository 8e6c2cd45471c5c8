//! The profile that a browser works with: a folder of ours, never one of the user's.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::state::state_dir;

/// What profiles of one browser have in common.
pub(crate) struct Kind {
    /// The browser, as people call it.
    pub(crate) browser: &'static str,
    /// The folder of its profiles in the state directory.
    pub(crate) folder: &'static str,
    /// Whether a folder that holds something was filled by us.
    pub(crate) is_ours: fn(&Path) -> bool,
    /// The link in a profile that ends with the number of the process which works with it.
    pub(crate) lock: &'static str,
}

/// A profile.
#[derive(Debug)]
pub(crate) struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// The profile `named`, made if it is missing and, with `fresh`, made anew. One that a browser works with is refused: a
    /// second browser would only open a window in the first, whatever it is told, and deleting it would break the first.
    pub(crate) fn open(named: &Path, kind: &Kind, fresh: bool) -> Result<Self> {
        let folder = place(named, kind.folder)?;
        if !is_empty(&folder)? && !(kind.is_ours)(&folder) {
            bail!("{} holds something that is not a profile of doorbell's: name another --profile", folder.display());
        }
        if let Some(process) = user(&folder.join(kind.lock)) {
            bail!(
                "a {} (process {process}) already runs with the profile {}: close it first, or name another --profile",
                kind.browser,
                folder.display()
            );
        }
        if fresh && folder.exists() {
            delete(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
        }
        // Whoever reads the profile has the keys of its subscriptions.
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&folder).with_context(|| format!("cannot make the profile {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts a file into it, in place of one with this name.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let file = self.folder.join(name);
        doorbell_agent::file::replace(&file, contents).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The process in a lock, if it still lives. A browser that was killed leaves its lock behind.
fn user(lock: &Path) -> Option<u32> {
    let lock = fs::read_link(lock).ok()?;
    let process: u32 = lock.to_str()?.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Path::new("/proc").join(process.to_string()).exists().then_some(process)
}

/// Under another name first: what is left of a profile that could not be deleted whole would not be known for ours.
fn delete(folder: &Path) -> std::io::Result<()> {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(".doorbell-deleted");
    let doomed = folder.with_file_name(name);
    if doomed.exists() {
        fs::remove_dir_all(&doomed)?;
    }
    fs::rename(folder, &doomed)?;
    fs::remove_dir_all(&doomed)
}

fn is_empty(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("the profile {}", folder.display())),
    }
}

/// A name stands for a folder in the state directory; what has a slash in it is a folder by itself.
fn place(named: &Path, browser: &str) -> Result<PathBuf> {
    if named.as_os_str().as_encoded_bytes().contains(&b'/') || matches!(named.to_str(), Some("." | "..")) {
        return std::path::absolute(named).with_context(|| format!("the profile {}", named.display()));
    }
    let state = state_dir().context("neither HOME nor XDG_STATE_HOME is set: name a folder with --profile ./NAME")?;
    Ok(std::path::absolute(state.join(browser))?.join(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind =
        Kind { browser: "Browser", folder: "browser", is_ours: |folder| folder.join("ours").exists(), lock: "lock" };

    fn open(folder: &Path, fresh: bool) -> Result<Profile> {
        Profile::open(folder, &KIND, fresh)
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
            let error = open(folder.path(), fresh).unwrap_err().to_string();
            assert!(error.contains("name another --profile"), "{error}");
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
}
