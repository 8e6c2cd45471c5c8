//! The places of connections: how many there are, how many one source may have, and who has to leave when they are
//! taken.
//!
//! A connection is a **stranger** until the service knows that it belongs to an agent with a subscription, or to an
//! application server with a receipt subscription. Strangers without a request in progress leave first, the oldest one
//! before the others (one that had an answer lately counts as younger), because any client can open such connections
//! without end. Strangers with requests leave only where the places would be taken that are kept for others.

mod forwarded;
mod places;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use doorbell_protocol::time::UnixMs;
use http::HeaderMap;
use tokio::task::AbortHandle;

use super::source::Source;
use forwarded::forwarded_for;
pub(crate) use places::{Bounds, Places};

/// The place of one connection, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// It changes under the lock only.
    number: AtomicU64,
    /// Empty for a proxy's connection; it changes under the lock only.
    source: OnceLock<Source>,
    /// Its source has a connection more by it.
    is_counted: AtomicBool,
    /// Its requests name their clients.
    forwards: AtomicBool,
    /// Requests in progress.
    requests: AtomicU32,
    /// A request was answered since the place was last looked at.
    answered: AtomicBool,
    is_known: AtomicBool,
    /// The handshake of a WebSocket agreed on the subprotocol that the client offered.
    has_subprotocol: AtomicBool,
}

/// A request in progress on a connection: the connection stays as long as this exists.
#[derive(Debug)]
pub(crate) struct RequestInProgress(Arc<Place>);

impl Place {
    /// Where the connection comes from; `None` for a proxy's.
    pub(crate) fn source(&self) -> Option<Source> {
        self.source.get().copied()
    }

    /// Where a request on the connection comes from: from a proxy for HTTP that names its client, the client.
    pub(crate) fn source_of(&self, headers: &HeaderMap) -> Option<Source> {
        if self.forwards.load(Ordering::Relaxed) { forwarded_for(headers) } else { self.source() }
    }

    /// The connection is one of a proxy for HTTP that names its client in each request.
    pub(crate) fn forwards(&self) {
        self.forwards.store(true, Ordering::Relaxed);
    }

    /// From now on the connection belongs to the client of this request alone. It does not count for its source: only
    /// the proxy sees how many connections a client has.
    pub(crate) fn belongs_to_client_of(&self, headers: &HeaderMap) {
        if self.forwards.load(Ordering::Relaxed)
            && let Some(source) = forwarded_for(headers)
        {
            let _lock = self.places.state.lock();
            // A request that was refused before may have come from another client: the first one stays.
            self.source.get_or_init(|| source);
        }
    }

    /// A proxy has named where its connection comes from. `false` if that source has enough connections: then this one
    /// must be closed.
    pub(crate) fn name_source(&self, source: Source, now: UnixMs) -> bool {
        let mut state = self.places.state.lock();
        if Places::has_enough(&state, &source) {
            self.places.reject(state, source, now);
            return false;
        }
        match self.source.set(source) {
            Ok(()) => {
                self.is_counted.store(true, Ordering::Relaxed);
                state.count(source);
            }
            Err(_) => debug_assert!(false, "a connection has one source"),
        }
        true
    }

    /// The connection belongs to an agent with a subscription, or an application server with a receipt subscription:
    /// from now on it is not closed to make room.
    pub(crate) fn keep(&self) {
        if self.is_known.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.places.state.lock();
        // A connection that has to leave already stays a stranger.
        if state.strangers.remove(&self.number.load(Ordering::Relaxed)).is_some() {
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Notes the task that serves the connection, so that it can be closed. The last task counts.
    pub(crate) fn serve_in(&self, task: AbortHandle) {
        let mut state = self.places.state.lock();
        match state.strangers.get_mut(&self.number.load(Ordering::Relaxed)) {
            Some(stranger) => stranger.task = Some(task),
            None if self.is_known.load(Ordering::Relaxed) => {}
            // It was closed in the task before.
            None => task.abort(),
        }
    }

    /// The connection becomes a WebSocket with a subprotocol.
    pub(crate) fn agree_on_subprotocol(&self) {
        self.has_subprotocol.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub(crate) fn has_subprotocol(&self) -> bool {
        self.has_subprotocol.load(Ordering::Relaxed)
    }

    /// A request has arrived.
    pub(crate) fn request(self: &Arc<Self>) -> RequestInProgress {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RequestInProgress(self.clone())
    }
}

#[cfg(test)]
impl Place {
    /// A place for a test of something else.
    pub(crate) fn any() -> Arc<Self> {
        let places = Places::new(Bounds { connections_max: 1, strangers_max: 1, per_source_max: None });
        let mut state = places.state.lock();
        state.enter(&places, None)
    }
}

impl RequestInProgress {
    /// The place of its connection.
    pub(crate) fn place(&self) -> Arc<Place> {
        self.0.clone()
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state.lock().leave(self);
        self.places.freed.notify_one();
    }
}
