//! HTTP/2 PING as proof: once the client has answered one, it has everything that was sent before (RFC 9113 s6.7).

use h2::{Ping, PingPong};
use tokio::sync::{mpsc, oneshot};

/// Askers that wait while one PING is on its way share the next one.
const ASKERS_MAX: usize = 32;

/// Asks a connection whether its client is up to date.
#[derive(Clone, Debug)]
pub(crate) struct Pings(mpsc::Sender<oneshot::Sender<()>>);

impl Pings {
    /// Answers with the pings of one connection, until it ends. The connection itself is driven elsewhere.
    pub(crate) fn start(pings: PingPong) -> Self {
        let (asking, asked) = mpsc::channel(ASKERS_MAX);
        tokio::spawn(answer(pings, asked));
        Self(asking)
    }

    /// Waits until the client has everything that was sent so far; `false` if it never will.
    pub(crate) async fn confirm(&self) -> bool {
        let (confirmed, answer) = oneshot::channel();
        self.0.send(confirmed).await.is_ok() && answer.await.is_ok()
    }
}

async fn answer(mut pings: PingPong, mut asked: mpsc::Receiver<oneshot::Sender<()>>) {
    while let Some(first) = asked.recv().await {
        let mut askers = vec![first];
        while let Ok(another) = asked.try_recv() {
            askers.push(another);
        }
        // The h2 crate lets a PING overtake frames that are queued. The second one is sent when the first is back, and
        // by then those frames have left.
        for _ in 0..2 {
            if pings.ping(Ping::opaque()).await.is_err() {
                return;
            }
        }
        for asker in askers {
            // An asker that has left needs no answer.
            let _ = asker.send(());
        }
    }
}
