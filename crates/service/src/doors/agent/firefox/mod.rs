//! The door of Firefox, KDE's KUnifiedPush and Android's Sunup: a WebSocket on the same port as everything else.
//!
//! `dialogue` checks the order of messages, without IO; `session` does the work; `answer` has every close code. The
//! service does better than the one that these clients were written for: each acknowledged message is settled by
//! itself, an unacknowledged one delays no other, and no number of stored messages makes the service forget a client.

mod answer;
mod dialogue;
mod in_flight;
mod session;

use doorbell_protocol::firefox::SUBPROTOCOL;

use crate::transport::{Request, Response, websocket};

/// Answers a request for a WebSocket. After 101 the connection goes to
/// [`serve_firefox`](crate::doors::Doors::serve_firefox).
pub(in crate::doors) fn accept(request: &Request) -> Response {
    websocket::accept(request, SUBPROTOCOL).unwrap_or_else(answer::no_websocket)
}
