//! How many windows a woken Chromium has: written by the program that its extension talks to, read by the desktop part.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use doorbell_private_file as private_file;
use serde::{Deserialize, Serialize};

/// The file in the profile.
pub(super) const FILE: &str = "doorbell-windows";
const BYTES_MAX: u64 = 1024;

/// What was reported last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowsReport {
    /// The process of Chromium.
    pub(super) browser: u32,
    /// The process that has written it, and writes it again with each change as long as it lives.
    pub(super) host: u32,
    /// How many windows there are; `None` if the extension does not see all of them.
    pub(super) windows: Option<u32>,
}

impl WindowsReport {
    /// Writes it into the profile in `folder`.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        private_file::replace(&folder.join(FILE), &serde_json::to_vec(self).map_err(io::Error::other)?)
    }
}

/// How many windows the Chromium `browser` has that works with the profile in `folder`; `None` if that is not known,
/// also because the program that reports it has ended.
pub(super) fn windows(folder: &Path, browser: u32) -> Option<u32> {
    let report = read(folder).filter(|report| report.browser == browser)?;
    report.windows.filter(|_| Path::new("/proc").join(report.host.to_string()).exists())
}

/// Whether the windows of the Chromium `browser`, which works with the profile in `folder`, were counted: a desktop part
/// has started it to end it later. Its environment does not show that: Chromium writes its title over it.
pub(crate) fn shall_end(folder: &Path, browser: u32) -> bool {
    read(folder).is_some_and(|report| report.browser == browser)
}

fn read(folder: &Path) -> Option<WindowsReport> {
    let mut bytes = Vec::new();
    File::open(folder.join(FILE)).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Removes what an earlier process wrote.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process;

    use super::*;

    #[test]
    fn a_report_counts_for_its_chromium_and_as_long_as_its_writer_lives() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(windows(folder.path(), 7), None);
        let mut report = WindowsReport { browser: 7, host: process::id(), windows: Some(2) };
        report.write(folder.path()).unwrap();
        assert_eq!((windows(folder.path(), 7), windows(folder.path(), 8)), (Some(2), None));
        assert_eq!((shall_end(folder.path(), 7), shall_end(folder.path(), 8)), (true, false));
        report.windows = None;
        report.write(folder.path()).unwrap();
        assert_eq!(windows(folder.path(), 7), None);
        // No process has this number: Linux stops far below it.
        report = WindowsReport { browser: 7, host: 4_194_999, windows: Some(0) };
        report.write(folder.path()).unwrap();
        assert_eq!(windows(folder.path(), 7), None);
        forget(folder.path()).unwrap();
        forget(folder.path()).unwrap();
    }

    #[test]
    fn hostile_text_is_no_report() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "0", "{\"browser\":7}", "{\"browser\":-7,\"host\":1,\"windows\":0}", &"[".repeat(1 << 20)] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(windows(folder.path(), 7), None);
        }
    }
}
