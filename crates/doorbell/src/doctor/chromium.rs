//! A Chromium profile: whether it has connected to a push service, as far as its files show.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doorbell_sender::clock;
use serde_json::Value;

use super::report::Finding;
use super::target::Target;

/// The folder in which Chromium keeps its identity at its push service.
const STORE: &str = "GCM Store";

/// The name of the device's id in it.
const DEVICE_ID: &[u8] = b"device_aid_key";

/// The step, for a service whose stream of messages is at `stream`.
pub(super) fn check(profile: &Path, target: &Target, stream: &Target) -> Finding {
    // Users name the user data directory as often as the profile in it.
    let folder = [profile.to_path_buf(), profile.join("Default")].into_iter().find(|f| f.join("Preferences").is_file());
    let Some(folder) = folder else {
        let why = format!("there are no Preferences in {}", profile.display());
        return Finding::failed(why, "name the folder that chrome://version calls the profile path");
    };
    let authority = target.authority();
    let origin = target.origin();
    let (host, port) = (stream.url.host_str().expect("a target has a host"), stream.port);
    let switches = format!(
        "--gcm-checkin-url=https://{authority}/checkin --gcm-registration-url=https://{authority}/c2dm/register3 \
         --gcm-mcs-endpoint=https://{host}:{port}"
    );
    let store = folder.join(STORE);
    let files: Vec<PathBuf> =
        std::fs::read_dir(&store).into_iter().flatten().filter_map(Result::ok).map(|file| file.path()).collect();
    if !files.iter().any(|file| has_checked_in(file)) {
        return Finding::failed(
            "it has never connected to a push service: there is no GCM Store, or no identity in it",
            format!("start Chromium with {switches}, let it trust {origin}'s certificate, and let a page subscribe"),
        );
    }
    let written = last_written(files.into_iter());
    let preferences = std::fs::read_to_string(folder.join("Preferences")).ok();
    let pages = match preferences.and_then(|text| subscriptions(&text)) {
        Some(number) => format!("pages have {number} subscriptions"),
        None => "its Preferences cannot be read".to_owned(),
    };
    Finding::ok(format!("it has connected to a push service; the GCM Store was last written {written}; {pages}"))
    .with_note(format!(
        "no file shows which service that was, nor whether it is connected: chrome://gcm-internals does (Connection \
         State). It is this one if Chromium is always started with {switches}. If the profile used another service \
         before, delete {} while Chromium is not running: pages then subscribe anew",
        store.display()
    ))
}

/// Whether a file of the store knows the device's id, which a push service assigns at the first check-in. A compacted
/// table may be compressed, and contains what was known before.
fn has_checked_in(file: &Path) -> bool {
    match file.extension().and_then(std::ffi::OsStr::to_str) {
        Some("ldb") => true,
        Some("log") => std::fs::read(file).is_ok_and(|bytes| bytes.windows(DEVICE_ID.len()).any(|w| w == DEVICE_ID)),
        _ => false,
    }
}

/// How many subscriptions pages have, by the Preferences; `None` if those are not JSON.
fn subscriptions(text: &str) -> Option<usize> {
    let preferences: Value = serde_json::from_str(text).ok()?;
    // A profile whose pages never subscribed has no such map.
    Some(preferences["gcm"]["push_messaging_application_id_map"].as_object().map_or(0, serde_json::Map::len))
}

/// How long ago the newest of `files` was written, in words.
pub(super) fn last_written(files: impl Iterator<Item = PathBuf>) -> String {
    let modified = |file: PathBuf| std::fs::metadata(file).and_then(|found| found.modified()).ok();
    let Some(newest) = files.filter_map(modified).max() else { return "at an unknown time".to_owned() };
    ago(newest)
}

fn ago(then: SystemTime) -> String {
    let now = UNIX_EPOCH + Duration::from_millis(clock::now().as_millis().unsigned_abs());
    // A time in the future counts as now: clocks differ.
    let age = now.duration_since(then.min(now)).expect("the earlier of two times is not later");
    match age.as_secs() {
        secs @ 0..120 => format!("{secs} s ago"),
        secs @ 120..7200 => format!("{} min ago", secs / 60),
        secs @ 7200..172_800 => format!("{} hours ago", secs / 3600),
        secs => format!("{} days ago", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn target() -> Target {
        Target::parse("https://push.corp:8443").unwrap()
    }

    #[test]
    fn the_finding_for_a_used_profile_names_where_its_service_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let profile = folder.path().join("Default");
        std::fs::create_dir_all(profile.join(STORE)).unwrap();
        std::fs::write(profile.join(STORE).join("000003.log"), "..device_aid_key.119634194828623872").unwrap();
        let preferences = r#"{"gcm":{"push_messaging_application_id_map":{"wp:a":"https://secret.example/#1"}}}"#;
        std::fs::write(profile.join("Preferences"), preferences).unwrap();
        for named in [folder.path(), &profile] {
            let found = check(named, &target(), &target());
            assert_eq!(found.verdict, Verdict::Ok);
            assert!(found.text.contains(" s ago") && found.text.contains("1 subscriptions"), "{found:?}");
            let note = found.advice.unwrap();
            assert!(note.contains("chrome://gcm-internals") && note.contains("GCM Store") && !note.contains("secret"));
        }
        std::fs::write(profile.join("Preferences"), "{").unwrap();
        let damaged = check(&profile, &target(), &target());
        assert!(damaged.text.contains("cannot be read") && !damaged.text.contains("0 subscriptions"), "{damaged:?}");
    }

    #[test]
    fn without_a_store_the_switches_are_named_and_without_a_profile_the_page_that_shows_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = check(folder.path(), &target(), &target());
        assert!(nothing.verdict == Verdict::Failed && nothing.advice.unwrap().contains("chrome://version"));
        std::fs::write(folder.path().join("Preferences"), "{}").unwrap();
        // What Chromium makes before it has connected to any service.
        std::fs::create_dir_all(folder.path().join(STORE).join("Encryption")).unwrap();
        std::fs::write(folder.path().join(STORE).join("000003.log"), "").unwrap();
        let stream = Target::parse("https://push.corp:5228").unwrap();
        let apart = check(folder.path(), &target(), &stream).advice.unwrap();
        assert!(
            apart.contains("--gcm-mcs-endpoint=https://push.corp:5228") && apart.contains("8443/checkin"),
            "{apart}"
        );
        let fresh = check(folder.path(), &target(), &target());
        assert_eq!(fresh.verdict, Verdict::Failed);
        let fix = fresh.advice.unwrap();
        assert!(fix.contains("--gcm-mcs-endpoint=https://push.corp:8443") && fix.contains("/checkin"), "{fix}");
    }

    #[test]
    fn times_are_in_the_unit_that_people_use() {
        let now = UNIX_EPOCH + Duration::from_millis(clock::now().as_millis().unsigned_abs());
        for (secs, words) in [(7, "s ago"), (600, "10 min ago"), (7200, "2 hours ago"), (864_000, "10 days ago")] {
            assert!(ago(now - Duration::from_secs(secs)).contains(words), "{secs}");
        }
        assert_eq!(ago(now + Duration::from_secs(3600)), "0 s ago", "another clock is ahead");
    }
}
