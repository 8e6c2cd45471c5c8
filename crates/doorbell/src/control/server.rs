//! The service's end of the control socket.

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorbell_service::Clock;
use doorbell_service::seldom::{self, Seldom};
use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::address::Address;
use super::{CLIENTS_MAX, IO_MAX, NAME, REQUEST_BYTES_MAX, Running, answer};

/// The pause after a connection that could not be accepted: the process may have too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The open control socket, and the task that answers there.
pub(crate) struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The socket's file, which is deleted with this value.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone, with the state directory.
        fs::remove_file(&self.0).ok();
    }
}

impl Server {
    /// Opens the socket in the state directory, whose store the caller has open: no other service runs there, and a socket
    /// that is there was left behind by one that was killed.
    ///
    /// # Errors
    /// The system's error, or something else is in its place.
    pub(crate) fn open(state_dir: &Path, running: Arc<Running>, clock: Clock) -> io::Result<Self> {
        let address = Address::of(state_dir)?;
        match fs::symlink_metadata(address.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(file) if file.file_type().is_socket() => fs::remove_file(address.path())?,
            Ok(_) => return Err(io::Error::other(format!("{NAME} is there and is not a socket: move it away"))),
        }
        let listener = UnixListener::bind(address.path())?;
        let file = SocketFile(state_dir.join(NAME));
        // Until this line another user might connect, and is turned away by its credentials.
        fs::set_permissions(address.path(), Permissions::from_mode(0o600))?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, file, running, clock, stopped));
        Ok(Self { stop, task })
    }

    /// Deletes the socket and gives up the requests in progress. Call it while the store is still open: afterwards the file
    /// may be another service's.
    pub(crate) async fn close(self) {
        // The task may have ended by a panic, which is logged.
        self.stop.send(()).ok();
        self.task.await.ok();
    }
}

async fn serve(
    listener: UnixListener,
    file: SocketFile,
    running: Arc<Running>,
    clock: Clock,
    stopped: oneshot::Receiver<()>,
) {
    let (mut clients, failures) = (Clients::default(), Seldom::default());
    tokio::select! {
        _ = stopped => {}
        () = accept_all(&listener, &mut clients, &running, &clock, &failures) => {}
        () = seldom::regularly(|| failures.flush(clock.now())) => {}
    }
    failures.flush(seldom::AT_THE_END);
    drop((listener, file));
    clients.tasks.shutdown().await;
}

async fn accept_all(
    listener: &UnixListener,
    clients: &mut Clients,
    running: &Arc<Running>,
    clock: &Clock,
    failures: &Seldom,
) {
    loop {
        let accepted = tokio::select! {
            Some(_) = clients.tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => clients.serve(client, running.clone()),
            Err(error) => {
                failures.log(clock.now(), move |times| {
                    warn!(%error, times, "the control socket cannot accept a connection");
                });
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The clients that are connected, the oldest first.
#[derive(Default)]
struct Clients {
    tasks: JoinSet<()>,
    order: VecDeque<Connected>,
}

struct Connected {
    task: AbortHandle,
    /// Whether its request has arrived.
    has_asked: Arc<AtomicBool>,
}

impl Clients {
    fn serve(&mut self, client: UnixStream, running: Arc<Running>) {
        self.make_room();
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = has_asked.clone();
        let task = self.tasks.spawn(async move {
            // An error is one of the connection: no client reads an answer.
            serve_client(client, running, &asked).await.ok();
        });
        self.order.push_back(Connected { task, has_asked });
    }

    /// Closes the oldest client that has not asked, or else the oldest of all: clients that never end keep no other one
    /// out.
    fn make_room(&mut self) {
        self.order.retain(|client| !client.task.is_finished());
        if self.order.len() >= CLIENTS_MAX {
            let silent = self.order.iter().position(|client| !client.has_asked.load(Ordering::Relaxed));
            if let Some(closed) = self.order.remove(silent.unwrap_or(0)) {
                closed.task.abort();
            }
        }
    }
}

async fn serve_client(mut client: UnixStream, running: Arc<Running>, has_asked: &AtomicBool) -> io::Result<()> {
    let uid = client.peer_cred()?.uid();
    if uid != geteuid().as_raw() && uid != 0 {
        warn!(uid, "a process of another user was turned away from the control socket");
        return Ok(());
    }
    let (input, mut output) = client.split();
    let mut request = Vec::new();
    let mut input = BufReader::new(input.take(REQUEST_BYTES_MAX));
    timeout(IO_MAX, input.read_until(b'\n', &mut request)).await??;
    has_asked.store(true, Ordering::Relaxed);
    let mut line = answer(&request, running).await.to_string();
    line.push('\n');
    timeout(IO_MAX, async {
        output.write_all(line.as_bytes()).await?;
        output.shutdown().await
    })
    .await?
}
