//! Why a connection ends (RFC 6455 s5.5.1, s7.4).

use super::frame::FrameError;

/// The payload of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The status code; `None` if the frame is empty. A client's reason is for people and is not kept.
    pub code: Option<u16>,
}

impl Close {
    /// Reads the payload of a client's frame.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        match payload.split_first_chunk() {
            None if payload.is_empty() => Ok(Self { code: None }),
            Some((code, reason)) if std::str::from_utf8(reason).is_ok() => {
                let code = u16::from_be_bytes(*code);
                if may_be_sent(code) { Ok(Self { code: Some(code) }) } else { Err(FrameError::Close) }
            }
            _ => Err(FrameError::Close),
        }
    }
}

/// Whether RFC 6455 s7.4 or its registry let a code be sent: 1004 to 1006 and 1015 are reserved and never sent.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_has_no_payload_or_a_code_and_a_reason() {
        assert_eq!(Close::parse(b""), Ok(Close { code: None }));
        assert_eq!(Close::parse(b"\x03\xe8"), Ok(Close { code: Some(1000) }));
        assert_eq!(Close::parse(b"\x0f\xa0why"), Ok(Close { code: Some(4000) }));
        for malformed in [&b"\x03"[..], b"\x03\xed", b"\x03\xe8\xff", b"\x13\x88", b"\x00\x00"] {
            assert_eq!(Close::parse(malformed), Err(FrameError::Close), "{malformed:?}");
        }
    }
}
