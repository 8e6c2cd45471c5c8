//! HTTP/2 server push: one exchange whose client waits while promised responses flow (RFC 9113 s8.4).

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use thiserror::Error;

use super::preface::Peer;

/// One request in progress: it can be answered once, and pushed to until then.
pub(super) struct Exchange {
    respond: Arc<Mutex<SendResponse<Bytes>>>,
    peer: Arc<Peer>,
}

/// Pushes responses to a client that waits for an answer.
pub(crate) struct Pusher {
    respond: Arc<Mutex<SendResponse<Bytes>>>,
    peer: Arc<Peer>,
}

/// Why a push did not go out.
#[derive(Debug, Error)]
pub(crate) enum PushError {
    /// The client refused or reset this push; others may go on.
    #[error("the client refused the push")]
    Refused,
    /// The exchange or its connection is over.
    #[error("the client is gone")]
    Over,
}

impl Exchange {
    pub(super) fn new(respond: SendResponse<Bytes>, peer: Arc<Peer>) -> Self {
        Self { respond: Arc::new(Mutex::new(respond)), peer }
    }

    /// The way to push, unless the client's settings forbid it.
    pub(super) fn pusher(&self) -> Option<Pusher> {
        let pusher = || Pusher { respond: self.respond.clone(), peer: self.peer.clone() };
        self.peer.takes_pushes().then(pusher)
    }

    pub(super) fn respond(&self, head: http::Response<()>, ends: bool) -> Result<SendStream<Bytes>, h2::Error> {
        lock(&self.respond).send_response(head, ends)
    }
}

impl Pusher {
    /// How many pushes the client lets be open at once (its SETTINGS_MAX_CONCURRENT_STREAMS).
    pub(crate) fn pushes_max(&self) -> usize {
        self.peer.pushes_max()
    }

    /// Promises `request` and sends its response; `Ok` when all of it is handed to the transport, which is no proof
    /// that the client has it. Given up, it resets the push.
    pub(crate) async fn push(
        &self,
        request: http::Request<()>,
        response: http::Response<()>,
        body: Bytes,
    ) -> Result<(), PushError> {
        let promised = lock(&self.respond).push_request(request);
        let mut promised = promised.map_err(|_| PushError::Over)?;
        let stream = promised.send_response(response, body.is_empty()).map_err(|_| PushError::Refused)?;
        // If it is the whole connection that ended, `closed` tells.
        send_body(stream, body).await.map_err(|_| PushError::Refused)
    }

    /// Waits until the client gives the exchange up or its connection ends.
    pub(crate) async fn closed(&self) {
        // Either a reset or an error: both say that nobody waits any more.
        let _ = poll_fn(|cx| lock(&self.respond).poll_reset(cx)).await;
    }
}

/// Sends a body as the client's windows allow.
pub(super) async fn send_body(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.unwrap_or(Err(Reason::CANCEL.into()))?.min(body.len());
        let chunk = body.split_to(room);
        stream.send_data(chunk, body.is_empty())?;
    }
    Ok(())
}

fn lock(respond: &Mutex<SendResponse<Bytes>>) -> MutexGuard<'_, SendResponse<Bytes>> {
    respond.lock().unwrap_or_else(PoisonError::into_inner)
}
