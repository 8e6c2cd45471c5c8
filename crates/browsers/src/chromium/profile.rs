//! Chromium's profile: how ours is recognised, and which service its subscriptions are at.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::switches;
use crate::error::BrowserError;
use crate::profile::{Kind, Profile, process_of as lock_of};
use crate::push_service::PushService;

/// Names the service that the profile's subscriptions are at. A profile with this file is ours.
const SERVICE: &str = "doorbell-service";
/// Names the address of the stream of messages, if it is not the service's: host and port.
const MCS: &str = "doorbell-mcs";
const KIND: Kind =
    Kind { browser: "Chromium", is_ours: |folder| folder.join(SERVICE).is_file(), lock: "SingletonLock" };

/// The profile in `folder`, created if it is missing and, with `fresh`, created anew.
pub(super) fn open(folder: &Path, fresh: bool) -> Result<Profile, BrowserError> {
    Profile::open(folder, &KIND, fresh, process_of)
}

/// Notes that the profile's subscriptions are at `service`, and refuses one whose subscriptions are at another: it
/// would send the secret of its device there, and its pages would go on believing in subscriptions that are dead.
pub(super) fn belongs_to(profile: &Profile, service: &str) -> Result<(), BrowserError> {
    let file = profile.folder().join(SERVICE);
    match fs::read_to_string(&file) {
        Ok(known) if known.trim() == service => Ok(()),
        Ok(known) => {
            Err(BrowserError::OtherService { folder: profile.folder().to_owned(), service: known.trim().to_owned() })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => profile.write(SERVICE, format!("{service}\n").as_bytes()),
        Err(error) => Err(BrowserError::io("read", &file)(error)),
    }
}

/// Whether `folder` holds a profile of ours.
pub fn is_profile(folder: &Path) -> bool {
    (KIND.is_ours)(folder)
}

/// The service that the subscriptions of the profile in `folder` are at; `None` if that is not decided yet.
pub fn service_of(folder: &Path) -> Result<Option<PushService>, BrowserError> {
    let file = folder.join(SERVICE);
    match fs::read_to_string(&file) {
        Ok(known) => PushService::parse(known.trim()).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BrowserError::io("read", &file)(error)),
    }
}

/// Notes where the stream of messages is, for each later start.
pub(super) fn keep_mcs(profile: &Profile, address: &str) -> Result<(), BrowserError> {
    profile.write(MCS, format!("{address}\n").as_bytes())
}

/// Where the stream of messages of the profile in `folder` is, with its port; `None` if it is at the service's address.
pub fn mcs_of(folder: &Path) -> Result<Option<String>, BrowserError> {
    let file = folder.join(MCS);
    match fs::read_to_string(&file) {
        Ok(known) => Ok(Some(known.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BrowserError::io("read", &file)(error)),
    }
}

/// Whether a command line has this switch. Chromium writes its own anew, with spaces between the words.
fn names(command: &[u8], switch: &OsStr) -> bool {
    let switch = switch.as_bytes();
    let mut ends = (0..command.len()).filter(|&at| command[..at].ends_with(switch));
    ends.any(|end| matches!(command[end], 0 | b' ')) || command.ends_with(switch)
}

/// The Chromium that works with the profile in `folder`. One that was killed leaves its lock behind, and another program
/// may have got its number meanwhile.
pub fn process_of(folder: &Path) -> Option<u32> {
    let process = lock_of(&folder.join(KIND.lock))?;
    let command = fs::read(Path::new("/proc").join(process.to_string()).join("cmdline")).ok()?;
    names(&command, &switches::profile(folder)).then_some(process)
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
        let error = belongs_to(&profile, "https://two.example").unwrap_err();
        let BrowserError::OtherService { service, .. } = error else { panic!("{error}") };
        assert_eq!(service, "https://one.example");
        belongs_to(&open(folder.path(), true).unwrap(), "https://two.example").unwrap();
    }

    #[test]
    fn a_profile_keeps_the_address_of_its_stream_until_it_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let profile = open(folder.path(), false).unwrap();
        belongs_to(&profile, "https://one.example").unwrap();
        assert_eq!(mcs_of(folder.path()).unwrap(), None);
        keep_mcs(&profile, "one.example:5228").unwrap();
        assert_eq!(mcs_of(folder.path()).unwrap().as_deref(), Some("one.example:5228"));
        open(folder.path(), true).unwrap();
        assert_eq!(mcs_of(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_profile_of_the_users_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Local State"), "{}").unwrap();
        open(folder.path(), true).unwrap_err();
    }

    #[test]
    fn a_command_line_names_a_profile_by_its_whole_path() {
        let switch = OsStr::new("--user-data-dir=/a b/c");
        for line in
            ["chromium\0--user-data-dir=/a b/c\0", "chromium --user-data-dir=/a b/c --x", "--user-data-dir=/a b/c"]
        {
            assert!(names(line.as_bytes(), switch), "{line}");
        }
        for line in ["", "chromium --user-data-dir=/a b/cd --x", "cat /a b/c"] {
            assert!(!names(line.as_bytes(), switch), "{line}");
        }
    }

    #[test]
    fn another_program_with_the_number_of_a_chromium_that_was_killed_is_not_one() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        std::os::unix::fs::symlink(format!("host-{own}"), folder.path().join(KIND.lock)).unwrap();
        assert_eq!(lock_of(&folder.path().join(KIND.lock)), Some(own));
        assert_eq!(process_of(folder.path()), None);
    }
}
