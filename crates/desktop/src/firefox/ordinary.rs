//! A Firefox that was not started by a desktop part: whether a second start with its profile opens a page in it.

use std::fs;
use std::io::Read;
use std::path::Path;

/// What Firefox writes of its start, into its profile: it can show whether one crashed.
const CHECKPOINTS: &str = "sessionCheckpoints.json";
const CHECKPOINTS_BYTES_MAX: u64 = 4096;
/// From this one on it takes pages.
const STARTED: &str = "\"final-ui-startup\":true";
/// One that ends takes none.
const ENDS: &str = "\"quit-application\"";
/// The link that a Firefox creates when it begins to work with a profile.
const LOCK: &str = "lock";
/// Flags of one that takes no pages, or shows them to no user.
const WITHOUT: [&[u8]; 4] = [b"--no-remote", b"-no-remote", b"--headless", b"-headless"];

/// Whether `process`, which works with a profile, ever takes pages from a second start.
pub fn shares_pages(process: u32) -> bool {
    // The process may have ended meanwhile.
    let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    !command.split(|&byte| byte == 0).any(|word| WITHOUT.contains(&word))
}

/// Whether the Firefox that works with the profile in `folder` has started so far that it takes pages.
pub fn has_started(folder: &Path) -> bool {
    let written = |name: &str| fs::symlink_metadata(folder.join(name)).and_then(|metadata| metadata.modified());
    // What an earlier process wrote is older than the lock.
    let (Ok(begun), Ok(checkpoint)) = (written(LOCK), written(CHECKPOINTS)) else { return false };
    let mut text = String::new();
    let read = fs::File::open(folder.join(CHECKPOINTS))
        .and_then(|file| file.take(CHECKPOINTS_BYTES_MAX).read_to_string(&mut text));
    checkpoint > begun && read.is_ok() && text.contains(STARTED) && !text.contains(ENDS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_firefox_has_started_when_it_wrote_so_after_it_took_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = |text: &str, seconds: u64| {
            let file = folder.path().join(CHECKPOINTS);
            fs::write(&file, text).unwrap();
            let lock = fs::symlink_metadata(folder.path().join(LOCK)).unwrap().modified().unwrap();
            let written = fs::File::options().write(true).open(file).unwrap();
            written.set_modified(lock + Duration::from_secs(10) - Duration::from_secs(seconds)).unwrap();
        };
        symlink("127.0.0.1:+1", folder.path().join(LOCK)).unwrap();
        assert!(!has_started(folder.path()));
        checkpoints(r#"{"profile-after-change":true,"final-ui-startup":true}"#, 20);
        assert!(!has_started(folder.path()), "an earlier one wrote this");
        checkpoints(r#"{"profile-after-change":true}"#, 0);
        assert!(!has_started(folder.path()));
        checkpoints(r#"{"profile-after-change":true,"final-ui-startup":true}"#, 0);
        assert!(has_started(folder.path()));
        checkpoints(r#"{"final-ui-startup":true,"quit-application":true}"#, 0);
        assert!(!has_started(folder.path()));
    }

    #[test]
    fn one_that_is_driven_does_not_share_pages() {
        for (flag, shares) in [("--no-remote", false), ("--headless", false), ("--profile", true)] {
            // The shell keeps its arguments while it waits for its input.
            let mut command = Command::new("sh");
            command.args(["-c", "echo; read line", flag]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            assert_eq!(shares_pages(child.id()), shares, "{flag}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}
