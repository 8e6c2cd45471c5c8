//! A browser that is watched until it works: one that ends at once is reported with its last lines.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::BrowserError;
use crate::program::failed;

/// How often it is checked whether it works, and the pause between two checks: half a minute in all, for the first start
/// on a slow machine.
const CHECKS_MAX: u32 = 600;
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How long its last lines may take after it has ended. A child of it may hold its standard error longer.
const LINES_TIMEOUT: Duration = Duration::from_secs(1);
/// As many of its last lines are kept.
const LINES_MAX: usize = 3;
const LINE_BYTES_MAX: u64 = 500;

/// A browser next to this process. It goes on without this value.
#[derive(Debug)]
pub struct Started {
    browser: &'static str,
    process: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Closed when it has closed its standard error.
    closed: Receiver<()>,
}

impl Started {
    /// Starts `command`, a `browser`, without its output.
    pub fn start(browser: &'static str, mut command: Command) -> Result<Self, BrowserError> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|why| failed(&command, why))?;
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let (open, closed) = channel();
        let stderr = process.stderr.take().expect("its standard error is piped");
        let kept = lines.clone();
        thread::spawn(move || {
            keep_last_lines(stderr, &kept);
            drop(open);
        });
        Ok(Self { browser, process, lines, closed })
    }

    /// Waits until it `works`. An error if it ended instead.
    pub fn comes_up(&mut self, works: impl Fn() -> bool) -> Result<(), BrowserError> {
        for _ in 0..CHECKS_MAX {
            if works() {
                break;
            }
            let status = self.process.try_wait();
            if let Some(status) =
                status.map_err(|error| BrowserError::Driver(format!("cannot wait for it: {error}")))?
            {
                // The end of the channel is what is waited for.
                self.closed.recv_timeout(LINES_TIMEOUT).ok();
                let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                let lines = lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ");
                return Err(BrowserError::Ended { browser: self.browser, status, lines });
            }
            thread::sleep(CHECK_INTERVAL);
        }
        Ok(())
    }

    /// Waits until it ends.
    pub fn wait(&mut self) {
        // It cannot fail for a child that was not waited for, and a caller can do nothing about it.
        self.process.wait().ok();
    }
}

/// Reads until the end: a browser must not wait until its lines are read.
fn keep_last_lines(stderr: ChildStderr, kept: &Mutex<VecDeque<String>>) {
    let mut stderr = BufReader::new(stderr);
    while let Some(line) = next_line(&mut stderr) {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if line.is_empty() {
            continue;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LINES_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// The beginning of the next line; the rest of it is skipped. `None` at the end, or if reading fails.
fn next_line(stderr: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = stderr.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
    if read > 0 && line.last() != Some(&b'\n') {
        stderr.skip_until(b'\n').ok()?;
    }
    (read > 0).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(script: &str) -> Started {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Started::start("Browser", command).unwrap()
    }

    #[test]
    fn a_browser_that_ends_at_once_is_reported_with_its_last_lines() {
        let error = starts("for i in 1 2 3 4; do echo; echo line $i >&2; done; exit 7").comes_up(|| false).unwrap_err();
        let report = "Browser ended at once (exit status: 7): line 2 | line 3 | line 4";
        assert_eq!(error.to_string(), report);
    }

    #[test]
    fn a_long_line_is_skipped_from_its_501st_byte_on_and_never_kept_as_a_whole() {
        let long = [vec![b'x'; 100_000], b"\nlast".to_vec()].concat();
        let mut stderr = BufReader::with_capacity(16, &long[..]);
        let first = next_line(&mut stderr).unwrap();
        assert_eq!((first.len(), first.capacity() < 2000), (500, true));
        assert_eq!(next_line(&mut stderr).unwrap(), b"last");
        assert_eq!(next_line(&mut stderr), None);
    }

    #[test]
    fn a_browser_that_works_is_not_waited_for_and_may_write_without_end() {
        let mut browser = starts("read -r line; yes >&2");
        browser.comes_up(|| true).unwrap();
        browser.process.kill().unwrap();
        browser.wait();
    }

    #[test]
    fn only_a_chromium_without_a_sandbox_gets_the_hint_for_one() {
        let ended = |line| starts(&format!("echo '{line}' >&2; exit 1")).comes_up(|| false).unwrap_err().explained();
        let root = ended("Running as root without --no-sandbox is not supported.");
        assert!(root.contains("doorbell never adds it") && root.contains("another user"), "{root}");
        assert!(ended("Missing X server or $DISPLAY").contains("on a desktop"));
        assert!(!ended("Out of memory").contains("sandbox"));
    }
}
