//! Firefox ESR: started without a window from a folder of links of ours, in which a script (AutoConfig) starts its push
//! client and ends it when nothing is left to do.

mod application;
mod folders;
mod ordinary;
mod uaid;

#[cfg(test)]
pub(crate) use application::System;
pub(crate) use application::{Application, is_set_by_administrator, names_another_script, system_files};
pub use ordinary::{has_started, shares_pages};
pub(crate) use uaid::{PREFS, uaid};

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::browser::Mode;
use crate::error::DesktopError;

/// The file in the profile in which the script writes the number of its process once a second start opens a window in it.
pub(crate) const WOKEN: &str = "doorbell-woken";
/// The variable by which the script knows that it is wanted, and whether the browser stays.
pub(crate) const WOKEN_VARIABLE: &str = "DOORBELL_WOKEN";

/// Its value.
pub(crate) fn woken_value(mode: Mode) -> &'static str {
    match mode {
        Mode::Woken => "1",
        Mode::Resident => "stay",
    }
}

/// Whether `process`, which works with the profile in `folder`, was started without a window by a desktop part, and is
/// ready: then a second start with the same profile opens its page there.
pub fn takes_pages(folder: &Path, process: u32) -> bool {
    fs::read_to_string(folder.join(WOKEN)).is_ok_and(|text| text.trim() == process.to_string())
}

/// Whether `process` is a browser that was started without a window by a desktop part, ready or not. A Chromium may have
/// written its title over the variable.
pub fn is_woken(process: u32) -> bool {
    woken_as(process).is_some()
}

/// How it was started.
pub(crate) fn woken_as(process: u32) -> Option<Mode> {
    // The process may have ended meanwhile.
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|variable| variable.strip_prefix(WOKEN_VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    [Mode::Woken, Mode::Resident].into_iter().find(|mode| woken_value(*mode).as_bytes() == value)
}

/// Removes what an earlier process wrote: the next one may have the same number.
pub(crate) fn forget_woken(folder: &Path) -> Result<(), DesktopError> {
    let file = folder.join(WOKEN);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DesktopError::io("delete", &file)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_woken_process_is_known_by_its_environment() {
        for (value, woken) in [("1", true), ("stay", true), ("", false)] {
            let mut command = Command::new("cat");
            command.env(WOKEN_VARIABLE, value).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            // Linux shows the environment once the program runs.
            input.write_all(b"!").unwrap();
            output.read_exact(&mut [0]).unwrap();
            assert_eq!(is_woken(child.id()), woken);
            drop(input);
            child.wait().unwrap();
        }
        assert!(!is_woken(0));
    }

    #[test]
    fn pages_are_handed_to_the_process_that_named_itself_only() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!takes_pages(folder.path(), 7));
        forget_woken(folder.path()).unwrap();
        fs::write(folder.path().join(WOKEN), "7").unwrap();
        assert!(takes_pages(folder.path(), 7) && !takes_pages(folder.path(), 70));
        forget_woken(folder.path()).unwrap();
        assert!(!takes_pages(folder.path(), 7));
    }
}
