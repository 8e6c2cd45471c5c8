//! The profile that a browser works with: a folder of ours, never one of the user's.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::state::state_dir;

/// A profile.
#[derive(Debug)]
pub(crate) struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// The profile `named`, among those of one `browser`; made if it is missing and, with `fresh`, made anew. `is_ours`
    /// says of a folder that holds something whether we filled it.
    pub(crate) fn open(named: &Path, browser: &str, fresh: bool, is_ours: fn(&Path) -> bool) -> Result<Self> {
        let folder = place(named, browser)?;
        if !is_empty(&folder)? && !is_ours(&folder) {
            bail!("{} holds something that is not a profile of doorbell's: name another --profile", folder.display());
        }
        if fresh && folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
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

    fn open(folder: &Path, fresh: bool) -> Result<Profile> {
        Profile::open(folder, "browser", fresh, |folder| folder.join("ours").exists())
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
