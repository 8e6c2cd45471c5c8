//! Receipts: the outcome of each message that asked for one (RFC 8030 s5.1, s6.3).
//!
//! A [`ReceiptBook`](book::ReceiptBook) stores the receipt subscription of each push service, and `follower::Follower`
//! reads it. It reads receipts as `text/event-stream`, because few HTTP clients can receive the server pushes of RFC 8030.
//! [`events`] and [`receipt`] are free of IO.

pub mod book;
pub mod events;
#[cfg(feature = "client")]
pub mod follower;
#[cfg(feature = "client")]
mod progress;
pub mod receipt;
