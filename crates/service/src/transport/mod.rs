//! What travels on a connection: requests and answers of either HTTP version, pushes, WebSocket and MCS sockets, and TLS.
//!
//! It is the layer below the doors. It knows no resource, and it imports neither `accept` nor `doors` nor `hub`. What
//! arrives here is hostile: every wait has a time-out and every buffer a bound.

mod body;
pub(crate) mod date;
pub(crate) mod mcs;
mod payload;
pub(crate) mod pings;
pub(crate) mod preface;
pub(crate) mod push;
mod read;
pub(crate) mod tls;
mod unsent;
pub(crate) mod websocket;

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
