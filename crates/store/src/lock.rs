//! One process at a time: an advisory lock on a file of a directory, which the system releases with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::OpenError;

/// Half a second in all, which an operator does not notice before an error.
const ATTEMPTS: u32 = 20;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(25);

/// The lock of a directory: of the store's, or of a state directory whose store is elsewhere. Dropping it releases it.
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir`, and waits half a second for the process that holds it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] with that process, or [`OpenError::Io`].
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("doorbell.lock");
        let error = |source| OpenError::Io { path: path.clone(), source };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut file = options.open(&path).map_err(error)?;
        match acquire(&file) {
            // The lock does not depend on it, and on a full disk it may fail.
            Ok(()) => drop(note_pid(&mut file)),
            Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse { dir: dir.into(), pid: holder(&mut file) }),
            Err(errno) => return Err(error(errno.into())),
        }
        Ok(Self { _file: file })
    }
}

/// Retries for a moment: a process that is ending holds the lock a little longer than it uses the store, and so does a
/// child process that has not closed the inherited files yet.
fn acquire(file: &File) -> Result<(), Errno> {
    for _ in 0..ATTEMPTS {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => thread::sleep(BETWEEN_ATTEMPTS),
            outcome => return outcome,
        }
    }
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Writes the process id for the error message of another process. The old one is cut after that: a file that was cut
/// first may get no block again on a full disk.
fn note_pid(file: &mut File) -> io::Result<()> {
    let line = format!("{}\n", std::process::id());
    file.write_all(line.as_bytes())?;
    file.set_len(line.len() as u64)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
