//! The network edge: accepts connections, ends TLS, turns HTTP/1.1 and HTTP/2 into one kind of request, and frames what
//! is neither.
//!
//! What arrives here is hostile: every wait has a time-out and every buffer a bound, before a door sees anything.

mod accept;
mod body;
pub(crate) mod certificate;
mod http1;
mod http2;
pub(crate) mod mcs;
mod payload;
mod pings;
mod preface;
mod push;
mod read;
pub(crate) mod tls;
mod unsent;
pub(crate) mod websocket;

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Limits;
use crate::doors::Doors;

pub(crate) use accept::{Listener, Transport};
pub(crate) use body::{Body, BodyError};
pub(crate) use payload::Payload;
pub(crate) use push::{PushError, Pusher};

/// A request of either HTTP version.
pub(crate) type Request = http::Request<Incoming>;
/// An answer of either HTTP version.
pub(crate) type Response = http::Response<Payload>;

/// What comes with a request beside its head.
pub(crate) struct Incoming {
    /// The body, not yet read.
    pub(crate) body: Body,
    /// The way to push responses to the client, where it takes any (HTTP/2 with SETTINGS_ENABLE_PUSH).
    pub(crate) pusher: Option<Pusher>,
}

/// What every connection needs to know.
pub(crate) struct Context {
    pub(crate) doors: Arc<Doors>,
    pub(crate) limits: Limits,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Context {
    /// Waits until the service drains.
    async fn stopping(&self) {
        // An error means that the service is gone, which is the end of draining too.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }
}
