//! Firefox's profile: how ours is recognised, and whether it trusts a certificate authority already.

use std::fs;
use std::path::Path;

use super::lock::{self, LOCK};
use super::prefs;
use crate::error::BrowserError;
use crate::profile::{self, Kind, Profile};

/// Firefox reads it at each start, and it wins over the settings that Firefox remembers.
pub(super) const USER_JS: &str = "user.js";
/// A copy of the CA that the profile trusts, so that we need not ask Firefox.
pub(super) const TRUSTED: &str = "doorbell-ca.pem";
/// Where Firefox keeps certificates and its trust in them.
const CERTIFICATES: &str = "cert9.db";

const KIND: Kind = Kind {
    browser: "Firefox",
    is_ours: |folder| fs::read_to_string(folder.join(USER_JS)).is_ok_and(|text| text.starts_with(prefs::FIRST_LINE)),
    lock: LOCK,
};

/// The profile in `folder`, created if it is missing and, with `fresh`, created anew.
pub(super) fn open(folder: &Path, fresh: bool) -> Result<Profile, BrowserError> {
    Profile::open(folder, &KIND, fresh, process_of)
}

/// Whether `folder` holds a profile of ours.
pub fn is_profile(folder: &Path) -> bool {
    (KIND.is_ours)(folder)
}

/// The process of the Firefox that works with the profile in `folder`, by the profile's lock; `None` if none does.
pub fn process_of(folder: &Path) -> Option<u32> {
    profile::process_of(&folder.join(LOCK)).filter(|&process| lock::is_held_by(folder, process))
}

/// Whether Firefox trusts the CA in `pem` in this profile.
pub(super) fn trusts(profile: &Profile, pem: &[u8]) -> bool {
    let taught = fs::read(profile.folder().join(TRUSTED)).is_ok_and(|known| known == pem);
    taught && profile.folder().join(CERTIFICATES).exists()
}

/// Notes that it does now.
pub(super) fn remember_trust(profile: &Profile, pem: &[u8]) -> Result<(), BrowserError> {
    profile.write(TRUSTED, pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_ours_by_its_user_js() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(USER_JS), "user_pref(\"mine\", true);\n").unwrap();
        open(folder.path(), true).unwrap_err();
        fs::write(folder.path().join(USER_JS), prefs::user_js(&[])).unwrap();
        open(folder.path(), false).unwrap();
    }

    #[test]
    fn trust_is_known_again_as_long_as_firefox_has_its_certificates_and_the_ca_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(folder.path(), false).unwrap();
        assert!(!trusts(&profile, b"ca"));
        remember_trust(&profile, b"ca").unwrap();
        assert!(!trusts(&profile, b"ca"));
        fs::write(folder.path().join(CERTIFICATES), "").unwrap();
        assert!(trusts(&profile, b"ca"));
        assert!(!trusts(&profile, b"another"));
    }
}
