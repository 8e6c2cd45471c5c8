//! The accept loop of the admin listener. It has places and open files of its own, so that it answers while the public
//! one is full.
//!
//! It shares HTTP/1.1 with the public listener (`accept::serve_http1`) and not the loop of that one: TLS, HTTP/2, MCS and
//! sources have no use here, and a Unix socket has none of the options of TCP.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};
use tracing::{debug, warn};

use super::Admin;
use super::socket::{AdminSocket, AdminStream};
use crate::accept::{Context, serve_http1};
use crate::config::Limits;
use crate::locked::Locked;
use crate::seldom::Seldom;
use crate::transport::place::{Bounds, Place, Places};

/// Connections open at once: some monitors, some browsers. For one more the oldest is closed, so that clients that never
/// end do not keep a monitor out.
const CONNECTIONS_MAX: usize = 32;
/// A connection is closed after this time, whatever it does: a client that reads slowly must not hold it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);
/// The time for a request's head, and the silence before it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers in progress may take when the service ends: all of them are small.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Open files that are kept for connections here, for when the public listener has used up all others.
const SPARE_FILES: usize = 4;
/// How often files are put back into the spare ones, in addition to the end of each connection.
const SPARE_INTERVAL: Duration = Duration::from_secs(1);

/// A bound socket and its handler.
pub(super) struct AdminListener {
    pub(super) socket: AdminSocket,
    pub(super) context: Arc<Context<Admin>>,
}

/// The limits of the connections here.
pub(super) fn limits(public: &Limits) -> Limits {
    Limits { request_timeout: REQUEST_TIMEOUT, ..*public }
}

impl AdminListener {
    /// Answers until the context stops, then waits a moment for the answers in progress.
    pub(super) async fn run(self) {
        let mut connections = Connections::default();
        tokio::select! {
            () = self.accept_all(&mut connections) => {}
            () = self.context.stopping() => {}
        }
        drop(self.socket);
        let ended = async { while connections.tasks.join_next().await.is_some() {} };
        if timeout(DRAIN_TIMEOUT, ended).await.is_err() {
            debug!("connections of the admin listener are closed");
        }
    }

    async fn accept_all(&self, connections: &mut Connections) {
        // The bound is that of `Connections`.
        let unbounded = Bounds { connections_max: usize::MAX, strangers_max: usize::MAX, per_source_max: None };
        let (places, failures) = (Places::new(unbounded), Seldom::default());
        let (spare, mut refill) = (Arc::new(Spare::default()), interval(SPARE_INTERVAL));
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = refill.tick() => {
                    spare.refill();
                    continue;
                }
            };
            let now = self.context.clock.now();
            match accepted {
                Ok(stream) => {
                    let place = places.enter(None, now).await.expect("there is no bound of one source");
                    let (context, spare) = (self.context.clone(), spare.clone());
                    match stream {
                        AdminStream::Tcp(stream) => connections.spawn(serve(stream, context, place, spare)),
                        AdminStream::Unix(stream) => connections.spawn(serve(stream, context, place, spare)),
                    }
                }
                Err(error) => {
                    if let Some(times) = failures.count(now) {
                        warn!(%error, times, "the admin listener uses a spare file, as no other can be opened");
                    }
                    // The connection still waits, and is accepted with this file.
                    if !spare.give() {
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    }
}

async fn serve<IO>(io: IO, context: Arc<Context<Admin>>, place: Arc<Place>, spare: Arc<Spare>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Dropped after the connection, also when it is aborted.
    let _refill = Refill(spare);
    // No answer here becomes a WebSocket, so nothing is left of the connection.
    let _ = timeout(CONNECTION_TIME_MAX, serve_http1(io, context, place)).await;
}

/// Placeholder files; closing one frees a descriptor for a connection.
#[derive(Default)]
struct Spare(Locked<Vec<File>>);

impl Spare {
    fn refill(&self) {
        let mut files = self.0.lock();
        while files.len() < SPARE_FILES {
            // While no file can be opened, those that are there are kept.
            let Ok(file) = File::open("/dev/null") else { return };
            files.push(file);
        }
    }

    /// Closes one; whether there was one.
    fn give(&self) -> bool {
        self.0.lock().pop().is_some()
    }
}

/// Puts the file of a connection that has ended back at once: otherwise the public listener takes it.
struct Refill(Arc<Spare>);

impl Drop for Refill {
    fn drop(&mut self) {
        self.0.refill();
    }
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Connections {
    fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(connection));
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn the_oldest_connection_makes_room_for_a_new_one() {
        let mut connections = Connections::default();
        for _ in 0..3 * CONNECTIONS_MAX {
            connections.spawn(std::future::pending());
            // Those who have to leave get the time to do it.
            yield_now().await;
            assert!(connections.order.len() <= CONNECTIONS_MAX);
            assert!(connections.tasks.len() <= CONNECTIONS_MAX + 1, "{} tasks", connections.tasks.len());
        }
    }

    #[test]
    fn spare_files_are_given_once_and_put_back() {
        let spare = Spare::default();
        assert!(!spare.give());
        spare.refill();
        assert_eq!((0..2 * SPARE_FILES).filter(|_| spare.give()).count(), SPARE_FILES);
        spare.refill();
        assert!(spare.give());
    }
}
