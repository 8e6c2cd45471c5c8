//! The profile that Firefox works with: a folder of ours, never one of the user's.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::prefs;
use crate::state::state_dir;

/// A copy of the CA that the profile trusts, so that nobody has to ask Firefox.
const TRUSTED: &str = "doorbell-ca.pem";
/// Where Firefox keeps certificates and its trust in them.
const CERTIFICATES: &str = "cert9.db";

/// A profile.
#[derive(Debug)]
pub(super) struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// The profile `named`, made if it is missing and, with `fresh`, made anew.
    pub(super) fn open(named: &Path, fresh: bool) -> Result<Self> {
        let profile = Self { folder: place(named)? };
        let folder = &profile.folder;
        if !profile.is_empty()? && !profile.is_ours() {
            bail!("{} holds something that is not a profile of doorbell's: name another --profile", folder.display());
        }
        if fresh && folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
        }
        // Whoever reads the profile has the keys of its subscriptions.
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).with_context(|| format!("cannot make the profile {}", folder.display()))?;
        Ok(profile)
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Firefox reads a user.js at each start, and what stands there wins over what it remembers.
    pub(super) fn write_user_js(&self, text: &str) -> Result<()> {
        self.write("user.js", text.as_bytes())
    }

    /// Whether Firefox was taught to trust the CA in `pem`.
    pub(super) fn trusts(&self, pem: &[u8]) -> bool {
        let taught = fs::read(self.folder.join(TRUSTED)).is_ok_and(|known| known == pem);
        taught && self.folder.join(CERTIFICATES).exists()
    }

    /// Notes that it does now.
    pub(super) fn remember_trust(&self, pem: &[u8]) -> Result<()> {
        self.write(TRUSTED, pem)
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let file = self.folder.join(name);
        doorbell_agent::file::replace(&file, contents).with_context(|| format!("cannot write {}", file.display()))
    }

    fn is_empty(&self) -> Result<bool> {
        match fs::read_dir(&self.folder) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error).with_context(|| format!("the profile {}", self.folder.display())),
        }
    }

    fn is_ours(&self) -> bool {
        fs::read_to_string(self.folder.join("user.js")).is_ok_and(|text| text.starts_with(prefs::FIRST_LINE))
    }
}

/// A name stands for a folder in the state directory; what has a slash in it is a folder by itself.
fn place(named: &Path) -> Result<PathBuf> {
    if named.as_os_str().as_encoded_bytes().contains(&b'/') || matches!(named.to_str(), Some("." | "..")) {
        return std::path::absolute(named).with_context(|| format!("the profile {}", named.display()));
    }
    let state = state_dir().context("neither HOME nor XDG_STATE_HOME is set: name a folder with --profile ./NAME")?;
    Ok(std::path::absolute(state.join("firefox"))?.join(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_ours_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("user.js"), "user_pref(\"mine\", true);\n").unwrap();
        for fresh in [false, true] {
            let error = Profile::open(folder.path(), fresh).unwrap_err().to_string();
            assert!(error.contains("name another --profile"), "{error}");
        }
        assert!(folder.path().join("user.js").exists());
    }

    #[test]
    fn a_profile_of_ours_is_kept_unless_it_shall_be_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile::open(folder.path(), false).unwrap();
        profile.write_user_js(&prefs::user_js(&[])).unwrap();
        fs::write(folder.path().join("prefs.js"), "").unwrap();
        Profile::open(folder.path(), false).unwrap();
        assert!(folder.path().join("prefs.js").exists());
        Profile::open(folder.path(), true).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn trust_is_known_again_as_long_as_firefox_has_its_certificates_and_the_ca_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile::open(folder.path(), false).unwrap();
        assert!(!profile.trusts(b"ca"));
        profile.remember_trust(b"ca").unwrap();
        assert!(!profile.trusts(b"ca"));
        fs::write(folder.path().join(CERTIFICATES), "").unwrap();
        assert!(profile.trusts(b"ca"));
        assert!(!profile.trusts(b"another"));
    }
}
