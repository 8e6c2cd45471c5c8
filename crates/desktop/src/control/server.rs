//! The desktop part's end of the control socket.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use doorbell_private_file as private_file;
use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Answer, CLIENTS_MAX, Client, REQUEST_BYTES_MAX, REQUEST_MAX, Request, check_folder};
use crate::Command;
use crate::error::DesktopError;
use crate::status::Status;

/// Another process that creates the socket in this moment is done after a few of these.
const LOCK_ATTEMPTS_MAX: u32 = 40;
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
/// The pause after a connection that could not be accepted: the process may have too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// An open control socket. Its file is deleted with it.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone, with the folder of the session.
        fs::remove_file(&self.0).ok();
    }
}

impl Server {
    /// Creates the socket.
    ///
    /// # Errors
    /// [`DesktopError::RunsAlready`] if another desktop part answers there; an error if the folder is not this user's own.
    pub fn open(socket: &Path) -> Result<Self, DesktopError> {
        let folder = socket.parent().expect("a socket is in a folder");
        private_file::create_folder(folder).map_err(DesktopError::io("create", folder))?;
        check_folder(socket)?;
        // Held until the socket is there: of two desktop parts that start at the same moment one sees the other.
        let _lock = lock(folder)?;
        match Client::connect(socket) {
            Ok(Some(client)) => return Err(DesktopError::RunsAlready { process: client.process() }),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        // What a desktop part left behind that was killed.
        match fs::remove_file(socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(DesktopError::io("delete", socket)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(DesktopError::io("create", socket))?;
        let file = SocketFile(socket.to_owned());
        fs::set_permissions(socket, Permissions::from_mode(0o600)).map_err(DesktopError::io("write", socket))?;
        Ok(Self { listener, file })
    }

    /// Answers clients until it is dropped: from `status`, and by `commands`.
    pub async fn serve(self, status: Arc<Mutex<Status>>, commands: mpsc::Sender<Command>) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let Ok((client, _)) = accepted else {
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    let own = client.peer_cred().is_ok_and(|peer| peer.uid() == getuid().as_raw());
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    if !own {
                        tracing::warn!(socket = %self.file.0.display(), "a process of another user was turned away");
                        continue;
                    }
                    let (status, commands) = (Arc::clone(&status), commands.clone());
                    clients.spawn(async move {
                        // A client that does not send or read in time gets nothing.
                        timeout(REQUEST_MAX, answer(client, &status, &commands)).await.ok();
                        drop(place);
                    });
                }
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

fn lock(folder: &Path) -> Result<File, DesktopError> {
    let file = File::open(folder).map_err(DesktopError::io("read", folder))?;
    for _ in 0..LOCK_ATTEMPTS_MAX {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        thread::sleep(LOCK_INTERVAL);
    }
    Err(DesktopError::refused(folder, "another process holds a lock on this folder: try again"))
}

/// Serves one request. An error is one of the connection: there is no one to answer.
async fn answer(
    mut client: UnixStream,
    status: &Mutex<Status>,
    commands: &mpsc::Sender<Command>,
) -> std::io::Result<()> {
    let (input, mut output) = client.split();
    let mut line = Vec::new();
    BufReader::new(input).take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line).await?;
    let answer = match serde_json::from_slice(&line) {
        Ok(request) => perform(request, status, commands).await,
        Err(_) => Answer::Error("this is not a request of the control socket".to_owned()),
    };
    let mut text = serde_json::to_vec(&answer).unwrap_or_else(|_| br#"{"error":"a path is not text"}"#.to_vec());
    text.push(b'\n');
    output.write_all(&text).await?;
    output.shutdown().await
}

async fn perform(request: Request, status: &Mutex<Status>, commands: &mpsc::Sender<Command>) -> Answer {
    match request {
        // A panic elsewhere does not make the status useless.
        Request::Status => Answer::Status(Box::new(status.lock().unwrap_or_else(PoisonError::into_inner).clone())),
        Request::Add { service, profile } => {
            let held = status.lock().unwrap_or_else(PoisonError::into_inner).service.clone();
            if held != service {
                return Answer::Error(format!("the desktop part waits at {held}, not at {service}"));
            }
            if !profile.folder.is_absolute() || !profile.program.is_absolute() {
                return Answer::Error("a folder and a program are named by absolute paths".to_owned());
            }
            let (answer, answered) = oneshot::channel();
            if commands.send(Command::Add { profile, answer }).await.is_err() {
                return Answer::Error("the desktop part ends".to_owned());
            }
            match answered.await {
                Ok(Ok(())) => Answer::Added,
                Ok(Err(error)) => Answer::Error(error.to_string()),
                Err(_) => Answer::Error("the desktop part ends".to_owned()),
            }
        }
    }
}
