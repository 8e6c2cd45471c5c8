//! Whether the process that a profile's lock names is the Firefox that works with it. A Firefox that was killed leaves its
//! lock behind, and after that, or after a power cut, another program may get its number.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The link whose target ends with the number of the process that works with a profile.
pub(super) const LOCK: &str = "lock";
/// The file that a Firefox locks (`fcntl`) before it creates the link, until it ends.
const PARENT_LOCK: &str = ".parentlock";
/// The system's list of such locks.
const LOCKS: &str = "/proc/locks";
/// What the programs of Firefox begin with.
const PROGRAM: &str = "firefox";
/// Linux counts the start of a process in these, also where its own clock is faster.
const TICKS_PER_SEC: f64 = 100.0;
/// The start of a process is known less exactly than the time of a link.
const SLACK: Duration = Duration::from_secs(2);

/// Whether `process`, which lives, is the Firefox that created the lock of the profile in `folder`.
pub(super) fn is_held_by(folder: &Path, process: u32) -> bool {
    has_locked(process, &folder.join(PARENT_LOCK)) || {
        // Some file systems of a network lock no files.
        let created = fs::symlink_metadata(folder.join(LOCK)).and_then(|link| link.modified());
        created.is_ok_and(|created| is_firefox(process) && started(process).is_some_and(|at| at <= created + SLACK))
    }
}

fn has_locked(process: u32, file: &Path) -> bool {
    let (Ok(file), Ok(locks)) = (fs::metadata(file), fs::read_to_string(LOCKS)) else { return false };
    locks.lines().any(|line| names(line, process, file.ino()))
}

/// Whether a line like `1: POSIX  ADVISORY  WRITE 4711 08:01:131090 0 EOF` is about this process and file. The device is
/// not compared: for some file systems it is another one than that of the file's metadata.
fn names(line: &str, process: u32, inode: u64) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let is_posix = words.next() == Some("POSIX");
    let held = words.nth(2).and_then(|word| word.parse().ok());
    let file = words.next().and_then(|word| word.rsplit(':').next()?.parse().ok());
    is_posix && held == Some(process) && file == Some(inode)
}

fn is_firefox(process: u32) -> bool {
    // An upgrade has deleted the file of a program that runs: Linux adds that to its path.
    let program = fs::read_link(format!("/proc/{process}/exe"));
    program
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PROGRAM.as_bytes())))
}

/// When a process started.
fn started(process: u32) -> Option<SystemTime> {
    let about = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program may hold anything; field 22 of all is the start, since the system's.
    let ticks: f64 = about.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let begun: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let since = Duration::try_from_secs_f64(begun + ticks / TICKS_PER_SEC).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, fcntl_lock, utimensat};

    use super::*;

    #[test]
    fn another_program_with_the_number_of_a_firefox_that_was_killed_is_not_one() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        symlink(format!("127.0.0.1:+{own}"), folder.path().join(LOCK)).unwrap();
        assert!(!is_held_by(folder.path(), own));
        let file = File::create(folder.path().join(PARENT_LOCK)).unwrap();
        assert!(!is_held_by(folder.path(), own), "a killed one leaves this file too");
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(is_held_by(folder.path(), own));
    }

    #[test]
    fn where_files_cannot_be_locked_a_firefox_is_known_by_its_program_and_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("firefox-esr");
        assert!(Command::new("cp").arg("/bin/cat").arg(&program).status().unwrap().success());
        let mut child = Command::new(&program).stdin(Stdio::piped()).spawn().unwrap();
        let lock = folder.path().join(LOCK);
        symlink(format!("127.0.0.1:+{}", child.id()), &lock).unwrap();
        assert!(is_held_by(folder.path(), child.id()));
        fs::remove_file(&program).unwrap();
        assert!(is_held_by(folder.path(), child.id()), "the package is upgraded");

        // The link of a Firefox that was killed before this one started.
        let created = fs::symlink_metadata(&lock).unwrap().modified().unwrap();
        let hour_ago = created - Duration::from_secs(3600);
        let since = hour_ago.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let time = Timespec { tv_sec: since.try_into().unwrap(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, &lock, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert!(!is_held_by(folder.path(), child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_line_of_the_list_names_the_holder_and_the_file() {
        let line = "1: POSIX  ADVISORY  WRITE 4711 08:01:131090 0 EOF";
        assert!(names(line, 4711, 131_090));
        assert!(!names(line, 471, 131_090) && !names(line, 4711, 1));
        for other in [
            "",
            "1:",
            "1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF",
            "1: -> POSIX ADVISORY WRITE 4711 08:01:131090 0 EOF",
        ] {
            assert!(!names(other, 4711, 131_090), "{other}");
        }
    }
}
