//! Firefox's profile: what tells ours from the user's, and whether it trusts a CA already.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::prefs;
use crate::browser::{Kind, Profile};

/// Firefox reads it at each start, and what stands there wins over what it remembers.
pub(super) const USER_JS: &str = "user.js";
/// A copy of the CA that the profile trusts, so that nobody has to ask Firefox.
const TRUSTED: &str = "doorbell-ca.pem";
/// Where Firefox keeps certificates and its trust in them.
const CERTIFICATES: &str = "cert9.db";

const KIND: Kind = Kind {
    browser: "Firefox",
    folder: "firefox",
    is_ours: |folder| fs::read_to_string(folder.join(USER_JS)).is_ok_and(|text| text.starts_with(prefs::FIRST_LINE)),
    lock: "lock",
};

/// The profile `named`, made if it is missing and, with `fresh`, made anew.
pub(super) fn open(named: &Path, fresh: bool) -> Result<Profile> {
    Profile::open(named, &KIND, fresh)
}

/// Whether Firefox was taught to trust the CA in `pem`.
pub(super) fn trusts(profile: &Profile, pem: &[u8]) -> bool {
    let taught = fs::read(profile.folder().join(TRUSTED)).is_ok_and(|known| known == pem);
    taught && profile.folder().join(CERTIFICATES).exists()
}

/// Notes that it does now.
pub(super) fn remember_trust(profile: &Profile, pem: &[u8]) -> Result<()> {
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
