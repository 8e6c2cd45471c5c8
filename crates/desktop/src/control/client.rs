//! The other end of the control socket: `doorbell desktop status`, and `doorbell firefox`.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;

use super::{ANSWER_BYTES_MAX, Answer, REQUEST_MAX, Request, check_folder};
use crate::error::DesktopError;

/// A connection to a desktop part of the same user. It blocks, for [`REQUEST_MAX`] at most.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    process: u32,
    socket: PathBuf,
}

impl Client {
    /// Connects to the desktop part that has `socket`; `None` if none runs.
    pub fn connect(socket: &Path) -> Result<Option<Self>, DesktopError> {
        if !socket.exists() {
            return Ok(None);
        }
        check_folder(socket)?;
        let stream = match UnixStream::connect(socket) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            other => other.map_err(DesktopError::io("reach", socket))?,
        };
        let peer = socket_peercred(&stream).map_err(|error| DesktopError::io("reach", socket)(error.into()))?;
        if peer.uid != getuid() {
            return Err(DesktopError::refused(socket, "a process of another user answers there: do not use it"));
        }
        let process = peer.pid.as_raw_nonzero().get().unsigned_abs();
        Ok(Some(Self { stream, process, socket: socket.to_owned() }))
    }

    /// The process of the desktop part.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Sends a request and waits for the answer.
    pub fn ask(self, request: &Request) -> Result<Answer, DesktopError> {
        let io = || DesktopError::io("reach", &self.socket);
        let mut line = serde_json::to_vec(request).map_err(|error| io()(error.into()))?;
        line.push(b'\n');
        self.stream.set_read_timeout(Some(REQUEST_MAX)).map_err(io())?;
        self.stream.set_write_timeout(Some(REQUEST_MAX)).map_err(io())?;
        (&self.stream).write_all(&line).map_err(io())?;
        let mut answer = Vec::new();
        BufReader::new((&self.stream).take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut answer).map_err(io())?;
        serde_json::from_slice(&answer).map_err(|_| {
            DesktopError::refused(
                &self.socket,
                "the desktop part gave no answer: it ends, or it serves other clients; try again",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::Duration;

    use doorbell_protocol::headers::urgency::Urgency;

    use super::*;
    use crate::PROFILES_MAX;
    use crate::browser::{Browser, ProfileName};
    use crate::report::ProfileEvent;
    use crate::rules::Waiting;
    use crate::status::Status;

    #[test]
    fn the_status_of_the_most_profiles_fits_into_an_answer() {
        let mut status = Status::new("https://push.example.org".to_owned());
        let long = "x".repeat(1000);
        for number in 0..PROFILES_MAX {
            let name = ProfileName { browser: Browser::Firefox, folder: format!("/{long}/{number}").into() };
            let waiting = Some(Waiting { messages: 1, urgency: Urgency::Normal, since_ms: 1 });
            for _ in 0..100 {
                status.note(&ProfileEvent::Waking { process: 7, waiting }.of(&name));
                status.note(&ProfileEvent::Awake(Duration::from_millis(60_000)).of(&name));
            }
            status.note(&ProfileEvent::NotWoken(long.clone()).of(&name));
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let answer = Answer::Status(Box::new(status));
        let line = serde_json::to_string(&answer).unwrap() + "\n";
        let server = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            BufReader::new(&client).read_line(&mut String::new()).unwrap();
            (&client).write_all(line.as_bytes()).ok();
        });
        assert_eq!(Client::connect(&socket).unwrap().unwrap().ask(&Request::Status).unwrap(), answer);
        server.join().unwrap();
    }
}
