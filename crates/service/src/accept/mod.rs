//! Accepting connections: ports, TLS, HTTP/1.1, HTTP/2, and the choice of the protocol that a connection speaks.
//!
//! It is generic over what answers, a [`Handler`]: the doors are the public listener's. A listener of another kind
//! (for operators, for other nodes) implements the trait again and runs a [`Listener`] of its own; this folder knows
//! none of them. What arrives here is hostile: every wait has a time-out and every buffer a bound, before a handler
//! sees anything.

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
pub(crate) use listener::{Listener, Security};
