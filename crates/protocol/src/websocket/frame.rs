//! Frames (RFC 6455 s5.2): their heads, both ways, and the mask.

use thiserror::Error;

/// The payload of a control frame at most (RFC 6455 s5.5).
const CONTROL_MAX: u64 = 125;

/// The length bytes that announce a length of 16 bits, and of 64.
const LONG: u8 = 126;
const LONGER: u8 = 127;

/// What a frame is for (RFC 6455 s11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation,
    /// A text, or its beginning.
    Text,
    /// Bytes, or their beginning.
    Binary,
    /// The end.
    Close,
    /// A question whether the other side has read so far.
    Ping,
    /// Its answer.
    Pong,
}

/// How a client broke the framing's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// An opcode that is not defined.
    #[error("a frame has an unknown opcode")]
    Opcode,
    /// Bits of extensions, none of which was negotiated.
    #[error("a frame has reserved bits")]
    Reserved,
    /// A client must mask what it sends (RFC 6455 s5.1).
    #[error("a frame is not masked")]
    Unmasked,
    /// A control frame that is longer than 125 bytes, or in pieces.
    #[error("a control frame is too long or fragmented")]
    Control,
    /// A piece of a message that has not begun, or a message in the middle of another.
    #[error("the pieces of a message are out of order")]
    Order,
    /// A message over the bound.
    #[error("a message is too long")]
    TooLong,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotText,
    /// The frame that ends the connection is malformed (RFC 6455 s5.5.1, s7.4).
    #[error("a Close frame is malformed")]
    Close,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether the message ends with this frame.
    pub(super) is_last: bool,
    pub(super) opcode: Opcode,
    pub(super) key: [u8; 4],
    /// The bytes of the payload.
    pub(super) payload: u64,
    /// The bytes of the head itself.
    pub(super) size: usize,
}

impl Head {
    /// Reads the head at the start of `bytes`; `None` if it is not all there. An error in it is returned as early as
    /// possible.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::Opcode)?;
        let is_last = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let short = second & 0x7f;
        let (payload, rest) = match short {
            LONG => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            LONGER => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        if opcode.is_control() && (!is_last || payload > CONTROL_MAX) {
            return Err(FrameError::Control);
        }
        let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Self { is_last, opcode, key: *key, payload, size: bytes.len() - rest.len() }))
    }
}

/// Masks a payload, or removes its mask (RFC 6455 s5.3).
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let mut blocks = payload.chunks_exact_mut(4);
    for block in &mut blocks {
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
    blocks.into_remainder().iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
}

/// Appends to `out` one whole message from a server whose payload `write` appends. The payload of a control frame has to
/// be 125 bytes at most.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Most frames are messages, whose length takes 16 bits.
    out.extend_from_slice(&[0x80 | opcode.bits(), LONG, 0, 0]);
    let payload = out.len();
    write(out);
    let length = out.len() - payload;
    let head = start + 1..payload;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if u64::from(short) <= CONTROL_MAX => drop(out.splice(head, [short])),
        (_, Ok(long)) => {
            let [high, low] = long.to_be_bytes();
            drop(out.splice(head, [LONG, high, low]));
        }
        _ => drop(out.splice(head, std::iter::once(LONGER).chain((length as u64).to_be_bytes()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write_frame(&mut out, Opcode::Text, |out| out.resize(out.len() + length, b'x'));
        assert!(out.starts_with(b"before"));
        assert!(out.ends_with(&vec![b'x'; length]));
        out.split_off(6)
    }

    #[test]
    fn a_length_takes_the_fewest_bytes() {
        assert_eq!(frame(0), [0x81, 0]);
        assert_eq!(frame(125)[..2], [0x81, 125]);
        assert_eq!(frame(125).len(), 127);
        assert_eq!(frame(126)[..4], [0x81, 126, 0, 126]);
        assert_eq!(frame(65_535)[..4], [0x81, 126, 0xff, 0xff]);
        assert_eq!(frame(65_536)[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(frame(65_536).len(), 65_546);
    }

    #[test]
    fn a_head_is_read_as_rfc_6455_s5_2_has_it_and_only_when_it_is_all_there() {
        for (bytes, payload) in [
            (vec![0x81, 0x85, 1, 2, 3, 4], 5),
            (vec![0x81, 0xfe, 0x01, 0x00, 1, 2, 3, 4], 256),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65_536),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(Head::parse(&bytes[..cut]), Ok(None));
            }
            let head = Head { is_last: true, opcode: Opcode::Text, key: [1, 2, 3, 4], payload, size: bytes.len() };
            assert_eq!(Head::parse(&[&bytes[..], b"payload"].concat()), Ok(Some(head)));
        }
    }

    #[test]
    fn a_head_that_breaks_a_rule_is_refused_fx_10() {
        assert_eq!(Head::parse(&[0xc1, 0x80]), Err(FrameError::Reserved));
        assert_eq!(Head::parse(&[0x83, 0x80]), Err(FrameError::Opcode));
        assert_eq!(Head::parse(&[0x81, 0x05]), Err(FrameError::Unmasked));
        assert_eq!(Head::parse(&[0x09, 0x80]), Err(FrameError::Control));
        assert_eq!(Head::parse(&[0x89, 0xfe, 0, 126]), Err(FrameError::Control));
    }

    #[test]
    fn a_mask_that_is_applied_twice_is_gone() {
        let mut payload = *b"Hello";
        mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58], "the example of RFC 6455 s5.7");
        mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&payload, b"Hello");
    }
}
