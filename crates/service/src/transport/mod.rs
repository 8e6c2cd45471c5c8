//! Everything a connection carries: requests and answers of either HTTP version, pushes, WebSocket and MCS sockets, and
//! TLS.
//!
//! It is the layer below the doors. It does not know resources, and it imports neither `accept` nor `doors` nor `hub`.
//! All input is hostile: every wait has a time-out and every buffer a limit.

mod body;
pub(crate) mod date;
pub(crate) mod half_close;
pub(crate) mod mcs;
mod payload;
pub(crate) mod pings;
pub(crate) mod place;
pub(crate) mod preface;
pub(crate) mod push;
mod read;
pub(crate) mod source;
pub(crate) mod tls;
mod unsent;
pub(crate) mod websocket;

use std::sync::Arc;

pub(crate) use body::{Body, BodyError};
pub(crate) use payload::{Cut, Payload, Pieces};
pub(crate) use place::Place;
pub(crate) use push::{PushError, Pusher};
pub(crate) use read::poll_read;
pub(crate) use unsent::Unsent;

/// A request of either HTTP version.
pub(crate) type Request = http::Request<Incoming>;
/// An answer of either HTTP version.
pub(crate) type Response = http::Response<Payload>;

/// The body of a request, and the way to push to its client.
pub(crate) struct Incoming {
    /// The body, not yet read.
    pub(crate) body: Body,
    /// Pushes responses to the client, if it accepts pushes (HTTP/2 with SETTINGS_ENABLE_PUSH).
    pub(crate) pusher: Option<Pusher>,
    /// The place of its connection.
    pub(crate) place: Arc<Place>,
}
