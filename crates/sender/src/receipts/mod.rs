//! Receipts: what became of the messages that asked for one (RFC 8030 s5.1, s6.3).
//!
//! A [`ReceiptBook`](book::ReceiptBook) remembers where each push service gives them, and a
//! [`Follower`](follower::Follower) listens there. It reads them as `text/event-stream`, because few clients of HTTP can
//! take the server pushes of RFC 8030. [`events`] and [`receipt`] are sans-IO.

pub mod book;
pub mod events;
pub mod follower;
mod progress;
pub mod receipt;
