//! The other end of the control socket, for the commands.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::address::Address;
use super::{ANSWER_BYTES_MAX, ANSWER_MAX, IO_MAX, NAME};

/// A connection to the service that runs in a state directory.
pub(super) struct Client(UnixStream);

/// Why no service answers.
pub(super) enum Absence {
    /// None runs there.
    NotRunning,
    /// A process holds the store, and has no control socket.
    NoSocket {
        /// The process, if it noted its number.
        process: String,
    },
}

impl Client {
    /// Connects to the service in `state_dir`.
    ///
    /// # Errors
    /// The socket is there and this user may not use it.
    pub(super) fn connect(state_dir: &Path) -> Result<Result<Self, Absence>> {
        let connected = Address::of(state_dir).and_then(|address| UnixStream::connect(address.path()));
        match connected {
            Ok(stream) => Ok(Ok(Self(stream))),
            // Nothing is there, or what a service left behind that was killed.
            Err(error) if is_absence(&error) => Ok(Err(absence(state_dir))),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error).context(format!(
                "cannot reach {}: run this as the user of the service, or as root",
                state_dir.join(NAME).display()
            )),
            Err(error) => Err(error).context(format!("cannot reach {}", state_dir.join(NAME).display())),
        }
    }

    /// Asks for a verb: its result.
    ///
    /// # Errors
    /// The service's own, with what to do; or it does not answer.
    pub(super) fn ask(self, verb: &str) -> Result<Value> {
        let answer = self.exchange(verb).context(
            "the service did not answer: it is stopping, or too busy; try again, and look into its log (`journalctl -u \
             doorbell`)",
        )?;
        let mut answer: Value = serde_json::from_slice(&answer)
            .context("the service answered with something that is not JSON: it stopped while it answered; try again")?;
        if let Some(result) = answer.get_mut("result") {
            return Ok(result.take());
        }
        let part = |name: &str| answer["error"][name].as_str().unwrap_or("the service gives no reason").to_owned();
        bail!("{}; {}", part("message"), part("hint"))
    }

    fn exchange(&self, verb: &str) -> io::Result<Vec<u8>> {
        let mut stream = &self.0;
        stream.set_write_timeout(Some(IO_MAX))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(format!("{}\n", json!({ "verb": verb })).as_bytes())?;
        let mut answer = Vec::new();
        BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut answer)?;
        if answer.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory)
}

/// Whether a process holds the lock of the store.
fn absence(state_dir: &Path) -> Absence {
    let Ok(mut lock) = File::open(state_dir.join("doorbell.lock")) else { return Absence::NotRunning };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => {
            let mut process = String::new();
            // Without its number the rest is still true.
            lock.read_to_string(&mut process).ok();
            Absence::NoSocket { process: process.trim().to_owned() }
        }
        _ => Absence::NotRunning,
    }
}
