//! HTTP/2 server push: one exchange whose client waits while promised responses arrive (RFC 9113 s8.4).

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use thiserror::Error;
use tokio::time::timeout;

use super::half_close::{Due, Owed};
use super::payload::{Cut, Pieces};
use super::pings::Pings;
use super::preface::Peer;
use crate::locked::Locked;

/// One request in progress: it can be answered once, and receives pushes until then. Its answer is due until it is
/// dropped, or held.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    pings: Option<Pings>,
}

/// Pushes responses to a client that waits for an answer.
pub(crate) struct Pusher {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    pings: Option<Pings>,
}

/// What the answer and the pushes of a request have in common.
struct Shared {
    respond: Locked<SendResponse<Bytes>>,
    due: Due,
}

/// Why a push failed.
#[derive(Debug, Error)]
pub(crate) enum PushError {
    /// The client refused or reset this push; other pushes may succeed.
    #[error("the client refused the push")]
    Refused,
    /// The exchange or its connection is over.
    #[error("the client is gone")]
    Over,
}

impl Exchange {
    pub(crate) fn new(respond: SendResponse<Bytes>, due: Due, peer: Arc<Peer>, pings: Option<Pings>) -> Self {
        Self { shared: Arc::new(Shared { respond: Locked::new(respond), due }), peer, pings }
    }

    /// The way to push, unless the client's settings disable it.
    pub(crate) fn pusher(&self) -> Option<Pusher> {
        let pusher = || Pusher { shared: self.shared.clone(), peer: self.peer.clone(), pings: self.pings.clone() };
        self.peer.accepts_pushes().then(pusher)
    }

    pub(crate) fn respond(&self, head: http::Response<()>, ends: bool) -> Result<SendStream<Bytes>, h2::Error> {
        self.shared.respond.lock().send_response(head, ends)
    }

    pub(crate) fn owed(&self) -> &Arc<Owed> {
        self.shared.due.owed()
    }
}

impl Pusher {
    /// How many pushes the client allows at the same time (its SETTINGS_MAX_CONCURRENT_STREAMS).
    pub(crate) fn pushes_max(&self) -> usize {
        self.peer.pushes_max()
    }

    /// Promises `request` and sends its response. `Ok` means that the transport has all of it, not that the client has.
    /// Dropping the future resets the push.
    pub(crate) async fn push(
        &self,
        request: http::Request<()>,
        response: http::Response<()>,
        body: Bytes,
    ) -> Result<(), PushError> {
        let promised = self.shared.respond.lock().push_request(request);
        let mut promised = promised.map_err(|_| PushError::Over)?;
        let stream = promised.send_response(response, body.is_empty()).map_err(|_| PushError::Refused)?;
        let owed = self.shared.due.owed();
        // If the whole connection ended, `closed` reports it.
        let over = |_| if owed.has_ended() { PushError::Over } else { PushError::Refused };
        send_body(stream, body, owed).await.map_err(over)
    }

    /// The request stays open until its client leaves: it has no answer that is due.
    pub(crate) fn hold(&self) {
        self.shared.due.hold();
    }

    /// Waits until the client has proved that it has received every push without a body; `false` if it never will.
    pub(crate) async fn confirm(&self) -> bool {
        let Some(pings) = &self.pings else { return false };
        tokio::select! {
            biased;
            is_confirmed = pings.confirm() => is_confirmed,
            // It answers no PING any more.
            () = self.shared.due.owed().ended() => false,
        }
    }

    /// Waits until the client cancels the exchange or its connection ends.
    pub(crate) async fn closed(&self) {
        // A reset or an error: after both, no client waits.
        let _ = poll_fn(|cx| self.shared.respond.lock().poll_reset(cx)).await;
    }
}

/// Sends a body as the client's windows allow.
pub(crate) async fn send_body(mut stream: SendStream<Bytes>, body: Bytes, owed: &Owed) -> Result<(), h2::Error> {
    send_piece(&mut stream, body, true, owed).await
}

/// Sends a body in pieces, until it ends or the client leaves. A client that does not take a piece in time counts as
/// gone.
pub(crate) async fn send_stream(
    mut stream: SendStream<Bytes>,
    mut pieces: Pieces,
    within: Duration,
    owed: &Owed,
) -> Result<(), h2::Error> {
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            reason = poll_fn(|cx| stream.poll_reset(cx)) => return Err(reason?.into()),
        };
        match piece {
            Some(Err(Cut)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            Some(Ok(piece)) => {
                // On the heap: while it waits for a piece, a stream needs no memory for this.
                let sent = Box::pin(timeout(within, send_piece(&mut stream, piece, false, owed)));
                sent.await.map_err(|_| Reason::CANCEL)??;
            }
            None => return stream.send_data(Bytes::new(), true),
        }
    }
}

async fn send_piece(
    stream: &mut SendStream<Bytes>,
    mut piece: Bytes,
    ends: bool,
    owed: &Owed,
) -> Result<(), h2::Error> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = tokio::select! {
            biased;
            room = poll_fn(|cx| stream.poll_capacity(cx)) => room,
            () = owed.stalled() => None,
        };
        let room = room.ok_or(Reason::CANCEL)??.min(piece.len());
        let chunk = piece.split_to(room);
        stream.send_data(chunk, ends && piece.is_empty())?;
    }
    Ok(())
}
