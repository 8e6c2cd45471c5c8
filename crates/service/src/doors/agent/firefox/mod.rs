//! The door of Firefox, KDE's KUnifiedPush and Android's Sunup: a WebSocket on the same port as everything else.
//!
//! `dialogue` knows what may be said when, without IO; `session` carries it out; `answer` has every code that a client is
//! sent off with. Where the service is better than the one that these clients were written for: each acknowledged message
//! is settled by itself, nothing waits behind one that is not acknowledged, and no number of stored messages makes it
//! forget a client.

mod answer;
mod dialogue;
mod in_flight;
mod session;

use doorbell_protocol::firefox::SUBPROTOCOL;

use crate::transport::{Request, Response, websocket};

/// Answers a request that wants to become a WebSocket. After 101 the connection goes to
/// [`serve_firefox`](crate::doors::Doors::serve_firefox).
pub(in crate::doors) fn begin(request: &Request) -> Response {
    websocket::accept(request, SUBPROTOCOL).unwrap_or_else(answer::no_websocket)
}
