//! Accepting connections: ports, TLS, HTTP/1.1, HTTP/2, and the choice of a connection's protocol.
//!
//! The folder is generic over the [`Handler`]: the doors are the public listener's. Another kind of listener (for other
//! nodes) implements the trait again and runs a [`Listener`] of its own, or, where HTTP/1.1 without TLS is enough, passes
//! each stream to [`serve_http1`] (the admin listener); this folder does not depend on any of them. All input is hostile:
//! before a handler sees it, every wait has a time-out and every buffer a limit.

mod context;
mod handler;
mod http1;
mod http2;
mod listener;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

pub(crate) use context::Context;
pub(crate) use handler::Handler;
pub(crate) use http1::serve as serve_http1;
pub(crate) use listener::{Listener, Security};
