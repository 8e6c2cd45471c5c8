//! A wall clock that a test sets while the process runs, by Debian's libfaketime. The monotonic clocks stay right, as they
//! do when a person or NTP sets the clock of a machine.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::foreign::here;

/// What a wall clock shows.
pub struct FalseClock {
    dir: TempDir,
    library: PathBuf,
}

impl FalseClock {
    /// A right clock; `None` if the library is missing, which is printed, and in CI a failure.
    pub fn new() -> Option<Self> {
        let found = library();
        if !here("libfaketime", found.is_some()) {
            return None;
        }
        let clock = Self { dir: tempfile::tempdir().expect("a directory"), library: found? };
        clock.show("+0");
        Some(clock)
    }

    /// From now on the clock is wrong by `offset`, in the notation of faketime: `-300`, `+100d`, `-56y`.
    pub fn show(&self, offset: &str) {
        // Replaced as a whole: half an offset would be another one.
        let new = self.dir.path().join("new");
        fs::write(&new, format!("{offset}\n")).expect("a temporary file");
        fs::rename(new, self.file()).expect("a rename");
    }

    /// The environment of a process that lives by this clock.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|library| library.exists())
}
