//! The WebSocket protocol between Firefox and its push service: one JSON object in each text frame.
//!
//! It is not a standard: this is the form of Firefox 153; KDE's KUnifiedPush and Android's Sunup use parts of it. Reading
//! accepts what a client may leave out or add; writing has what an unmodified Firefox depends on.

mod client;
mod server;
mod words;

pub use client::{Acknowledged, ClientMessage, Malformed};
pub use server::{Notification, ServerMessage};
pub use words::{AckCode, BroadcastNews, Broadcasts, CHANNEL_ID_MAX, ChannelId, Version};

/// The longest frame that is read, in bytes: a message with a thousand acknowledgements fits.
pub const FRAME_MAX: usize = 64 << 10;

/// The subprotocol that Firefox offers. Neither side depends on it.
pub const SUBPROTOCOL: &str = "push-notification";
