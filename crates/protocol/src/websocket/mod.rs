//! WebSocket (RFC 6455) for a server: the proof of the handshake and the framing, without IO.
//!
//! Firefox's door holds one connection for each agent that is awake, nearly all of them idle. So a [`Decoder`] holds
//! nothing between two frames, and frames are written straight into the buffer that is sent. Extensions and compression
//! are not offered.

mod close;
mod decoder;
mod frame;

pub use close::Close;
pub use decoder::{Decoder, Event};
pub use frame::{FrameError, Opcode, mask, write_frame};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What every server appends (RFC 6455 s1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key` (RFC 6455 s4.2.2), which must be 16 bytes in base64; `None`
/// if it is not.
pub fn accept(key: &str) -> Option<String> {
    let bytes = STANDARD.decode(key.trim()).ok()?;
    (bytes.len() == 16)
        .then(|| STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{GUID}", key.trim()).as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_rfc_6455_s1_3() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(accept("dGhlIHNhbXBsZSBub25j"), None, "15 bytes");
        assert_eq!(accept("no base64"), None);
    }
}
