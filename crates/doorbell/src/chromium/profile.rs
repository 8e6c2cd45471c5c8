//! Chromium's profile: what tells ours from the user's, whose subscriptions are in it, and whether it is in use.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::browser::Profile;

/// Names the service that the profile's subscriptions are at. By this file a profile is known to be ours.
const SERVICE: &str = "doorbell-service";
/// A link to `HOST-PID`: the Chromium that works with the profile.
const LOCK: &str = "SingletonLock";

/// The profile `named`, made if it is missing and, with `fresh`, made anew.
pub(super) fn open(named: &Path, fresh: bool) -> Result<Profile> {
    Profile::open(named, "chromium", fresh, |folder| folder.join(SERVICE).is_file())
}

/// Refuses a profile of which a Chromium is making use: a second one would only open a window in the first, whatever it
/// is told.
pub(super) fn is_at_rest(profile: &Profile) -> Result<()> {
    let Some(process) = user(profile.folder()) else { return Ok(()) };
    bail!(
        "a Chromium (process {process}) already runs with the profile {}: close it first, or name another --profile",
        profile.folder().display()
    )
}

/// The process in the lock, if it still lives. A Chromium that was killed leaves its lock behind.
fn user(folder: &Path) -> Option<u32> {
    let lock = fs::read_link(folder.join(LOCK)).ok()?;
    let process: u32 = lock.to_str()?.rsplit_once('-')?.1.parse().ok()?;
    Path::new("/proc").join(process.to_string()).exists().then_some(process)
}

/// Notes that the profile's subscriptions are at `service`, and refuses one whose subscriptions are at another: it
/// would show the secret of its device there, and its pages would go on believing in subscriptions that are dead.
pub(super) fn belongs_to(profile: &Profile, service: &str) -> Result<()> {
    match fs::read_to_string(profile.folder().join(SERVICE)) {
        Ok(known) if known.trim() == service => Ok(()),
        Ok(known) => bail!(
            "the profile {} has its subscriptions at {}: name another --profile, or begin it anew with --fresh",
            profile.folder().display(),
            known.trim()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            profile.write(SERVICE, format!("{service}\n").as_bytes())
        }
        Err(error) => Err(error).with_context(|| format!("the profile {}", profile.folder().display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_profile_stays_with_its_service_until_it_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(folder.path(), false).unwrap();
        belongs_to(&profile, "https://one.example").unwrap();
        belongs_to(&open(folder.path(), false).unwrap(), "https://one.example").unwrap();
        let error = belongs_to(&profile, "https://two.example").unwrap_err().to_string();
        assert!(error.contains("subscriptions at https://one.example") && error.contains("--fresh"), "{error}");
        belongs_to(&open(folder.path(), true).unwrap(), "https://two.example").unwrap();
    }

    #[test]
    fn a_profile_of_the_users_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Local State"), "{}").unwrap();
        open(folder.path(), true).unwrap_err();
    }

    #[test]
    fn a_profile_in_use_is_refused_and_one_whose_user_was_killed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(folder.path(), false).unwrap();
        is_at_rest(&profile).unwrap();
        let lock = folder.path().join(LOCK);
        symlink(format!("my-host-{}", std::process::id()), &lock).unwrap();
        assert!(is_at_rest(&profile).unwrap_err().to_string().contains("close it first"));
        fs::remove_file(&lock).unwrap();
        // More than Linux ever counts to.
        symlink("my-host-999999999", &lock).unwrap();
        is_at_rest(&profile).unwrap();
    }
}
