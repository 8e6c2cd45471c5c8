//! The protocol between Chromium and its push service: check-in and registration over HTTP, then MCS, a stream of frames over TLS.
//!
//! There is no standard. The field numbers and rules were captured from an unmodified Chromium 156, started for our server
//! by its `--gcm-…` switches; the codec is our own. Chromium is the client and we are the server: this module parses what
//! Chromium sends and writes what it expects.
//!
//! The order: [`checkin`] gives the browser its [`device`], [`registration`] makes a subscription, and on the stream the
//! bytes become frames ([`frame`]) and the frames stanzas of the browser ([`client`]), which [`stream`] answers with
//! stanzas of the server ([`server`]).

pub mod checkin;
pub mod client;
pub mod device;
pub mod frame;
pub mod persistent_id;
pub mod registration;
pub mod server;
pub mod stream;
pub mod wire;

/// Bytes from their hexadecimal text, with spaces where a reader wants them.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}
