//! Chromium's profile: what tells ours from the user's, and whose subscriptions are in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::browser::{Kind, Profile};

/// Names the service that the profile's subscriptions are at. By this file a profile is known to be ours.
const SERVICE: &str = "doorbell-service";
const KIND: Kind = Kind {
    browser: "Chromium",
    folder: "chromium",
    is_ours: |folder| folder.join(SERVICE).is_file(),
    lock: "SingletonLock",
};

/// The profile `named`, made if it is missing and, with `fresh`, made anew.
pub(super) fn open(named: &Path, fresh: bool) -> Result<Profile> {
    Profile::open(named, &KIND, fresh)
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
}
