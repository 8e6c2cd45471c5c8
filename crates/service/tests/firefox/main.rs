//! The door of Firefox and similar clients, frame by frame, with clients that work on frames and JSON only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod delivery;
mod dialogue;
mod ends;
mod hostile;
mod not_passed_on;
mod sequences;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use support::Subscription;
use support::socket::Socket;

/// A channelID as Firefox makes them.
const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
const OTHER_CHANNEL: &str = "0c9a7a2e-7c9f-4f5a-8a4b-5a0c7f6a2d11";

/// The application server's view of a subscription that was made on a socket.
fn at(push: &str) -> Subscription {
    Subscription { subscription: String::new(), push: push.to_owned(), set: String::new() }
}

/// Whether `path` begins a capability URL of the kind.
fn is_below(uri: &str, kind: &str) -> bool {
    Path::new(&support::path(uri)).starts_with(kind)
}

/// Reads the texts of the next `count` notifications, acknowledging each.
async fn take(socket: &mut Socket, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        let message = socket.notified().await;
        socket.ack(&message, 100).await;
        texts.push(message.text);
    }
    texts
}
