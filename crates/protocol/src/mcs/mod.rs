//! How Chromium talks to its push service: check-in and registration over HTTP, then MCS, a stream of frames over TLS.
//!
//! There is no standard. The field numbers and rules are as captured from Chromium 156, an unmodified one that was
//! pointed at a server of ours by its `--gcm-…` switches; the codec is our own. Chromium is the client, we are the
//! server, so that what it sends is parsed here and what it expects is written here.
//!
//! The order of things: [`checkin`] gives the browser its [`device`], [`registration`] makes a subscription, and on
//! the stream the octets become frames ([`frame`]), the frames what the browser says ([`client`]), which [`stream`]
//! answers with what we say ([`server`]).

pub mod checkin;
pub mod client;
pub mod device;
pub mod frame;
pub mod persistent_id;
pub mod registration;
pub mod server;
pub mod stream;
pub mod wire;

/// Octets from their hexadecimal text, with spaces where a reader wants them.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}
