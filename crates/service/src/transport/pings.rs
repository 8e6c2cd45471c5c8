//! HTTP/2 PING as proof: a client that answers one has received everything sent before it (RFC 9113 s6.7).

use h2::{Ping, PingPong};
use tokio::sync::{mpsc, oneshot};

/// Tasks that wait while one PING is on its way share the next one.
const WAITERS_MAX: usize = 32;

/// Checks whether the client of a connection is up to date.
#[derive(Clone, Debug)]
pub(crate) struct Pings(mpsc::Sender<oneshot::Sender<()>>);

impl Pings {
    /// Uses the pings of one connection until it ends. Another task drives the connection itself.
    pub(crate) fn start(pings: PingPong) -> Self {
        let (sender, receiver) = mpsc::channel(WAITERS_MAX);
        tokio::spawn(answer(pings, receiver));
        Self(sender)
    }

    /// Waits until the client has received everything sent so far; `false` if it never will.
    pub(crate) async fn confirm(&self) -> bool {
        let (confirmed, answer) = oneshot::channel();
        self.0.send(confirmed).await.is_ok() && answer.await.is_ok()
    }
}

async fn answer(mut pings: PingPong, mut receiver: mpsc::Receiver<oneshot::Sender<()>>) {
    while let Some(first) = receiver.recv().await {
        let mut waiters = vec![first];
        while let Ok(another) = receiver.try_recv() {
            waiters.push(another);
        }
        // The h2 crate lets a PING overtake queued frames. The second PING is sent when the first is back: by then
        // those frames have left.
        for _ in 0..2 {
            if pings.ping(Ping::opaque()).await.is_err() {
                return;
            }
        }
        for waiter in waiters {
            // A task that has stopped waiting needs no answer.
            let _ = waiter.send(());
        }
    }
}
