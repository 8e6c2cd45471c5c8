//! The application server's door: push resources (RFC 8030 s5) and message resources (s6.2).

mod answer;
mod message;
pub(super) mod push;
pub(super) mod rates;
mod receipts;
pub(super) mod vapid;
