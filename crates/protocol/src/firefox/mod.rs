//! The WebSocket protocol that Firefox speaks with its push service: one JSON object in each text frame.
//!
//! It is no standard: the dialect is that of Firefox 153, and KDE's KUnifiedPush and Android's Sunup speak parts of it.
//! Reading forgives what a client may leave out or add; writing is what a stock Firefox depends on.

mod client;
mod server;
mod words;

pub use client::{Acknowledged, ClientMessage, Malformed};
pub use server::{Notification, ServerMessage};
pub use words::{AckCode, Broadcasts, CHANNEL_ID_MAX, ChannelId, Version};

/// The longest frame that is read, in octets: a message with a thousand acknowledgements fits.
pub const FRAME_MAX: usize = 64 << 10;

/// The subprotocol that Firefox offers. Neither side depends on it.
pub const SUBPROTOCOL: &str = "push-notification";
