//! MCS frames: a version byte, then `tag (1 byte), length (varint), body` over and over, in both directions.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::wire;

/// The version byte, before the first frame of each direction. Chromium 156 sends and expects this one.
pub const VERSION: u8 = 41;

/// The longest body that is accepted, in bytes. A login lists each message that the browser has and whose
/// acknowledgement it does not know to have arrived (24 bytes and more each); 128 KiB hold five thousand of them. Everything else that
/// Chromium sends has less than a hundred bytes.
pub const BODY_MAX: usize = 128 * 1024;

/// The longest length field, in bytes: three hold 2 MiB, far more than [`BODY_MAX`].
const LENGTH_BYTES_MAX: usize = 3;

/// What kind of message a body is: the first byte of a frame.
pub mod tag {
    /// Asks for [`HEARTBEAT_ACK`].
    pub const HEARTBEAT_PING: u8 = 0;
    /// Answers [`HEARTBEAT_PING`].
    pub const HEARTBEAT_ACK: u8 = 1;
    /// The client's first.
    pub const LOGIN_REQUEST: u8 = 2;
    /// The server's first.
    pub const LOGIN_RESPONSE: u8 = 3;
    /// The sender sends nothing more.
    pub const CLOSE: u8 = 4;
    /// A question or an order; from Chromium, an acknowledgement.
    pub const IQ_STANZA: u8 = 7;
    /// A message.
    pub const DATA_MESSAGE_STANZA: u8 = 8;
}

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the body is; see [`tag`].
    pub tag: u8,
    /// A protobuf message.
    pub body: Bytes,
}

/// Why a stream cannot be read any further: the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The first byte is not [`VERSION`].
    #[error("the stream has version {0}, not {VERSION}")]
    Version(u8),
    /// A body longer than [`BODY_MAX`].
    #[error("a frame is longer than {BODY_MAX} bytes")]
    TooLong,
    /// A length that is written with more bytes than it needs, or than any allowed length needs.
    #[error("the length of a frame is written with too many bytes")]
    Length,
}

/// Makes frames out of bytes, however they are cut.
///
/// It holds the bytes of one unfinished frame, [`BODY_MAX`] and a few at most, if the caller removes all frames
/// before it feeds more bytes.
#[derive(Default)]
pub struct Decoder {
    bytes: BytesMut,
    versioned: bool,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what came in. After an error the rest of the stream has no meaning and is dropped.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next whole frame; `None` if more bytes must come first. An error stays.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.read().inspect_err(|error| {
            self.failed = Some(*error);
            self.bytes = BytesMut::new();
        })
    }

    /// How many bytes wait for the rest of their frame.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    fn read(&mut self) -> Result<Option<Frame>, FrameError> {
        if !self.versioned {
            let Some(&version) = self.bytes.first() else { return Ok(None) };
            if version != VERSION {
                return Err(FrameError::Version(version));
            }
            self.bytes.advance(1);
            self.versioned = true;
        }
        let Some((&tag, after)) = self.bytes.split_first() else { return Ok(None) };
        let Some((length, length_bytes)) = body_length(after)? else { return Ok(None) };
        let head = 1 + length_bytes;
        if self.bytes.len() - head < length {
            return Ok(None);
        }
        self.bytes.advance(head);
        let body = self.bytes.split_to(length).freeze();
        if self.bytes.is_empty() {
            // The memory of a long frame is freed with the frame.
            self.bytes = BytesMut::new();
        }
        Ok(Some(Frame { tag, body }))
    }
}

/// The length of the body and the number of its own bytes; `None` if they are incomplete.
fn body_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let bytes = &bytes[..bytes.len().min(LENGTH_BYTES_MAX)];
    let read = wire::varint(bytes).map_err(|_| FrameError::Length)?;
    let Some((length, used)) = read else {
        return if bytes.len() < LENGTH_BYTES_MAX { Ok(None) } else { Err(FrameError::Length) };
    };
    if used > 1 && length >> (7 * (used - 1)) == 0 {
        return Err(FrameError::Length);
    }
    let length = usize::try_from(length).ok().filter(|&length| length <= BODY_MAX);
    Ok(Some((length.ok_or(FrameError::TooLong)?, used)))
}

/// Makes bytes out of frames: the version before the first, none after.
#[derive(Default)]
pub struct Encoder {
    versioned: bool,
}

impl Encoder {
    /// An encoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `frame` to `out`. The length is the caller's business: Chromium took bodies of 2 MB.
    pub fn write(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.versioned, true) {
            out.push(VERSION);
        }
        out.push(frame.tag);
        wire::push_varint(out, frame.body.len() as u64);
        out.extend_from_slice(&frame.body);
    }
}

/// Shows the kind and the length only: bodies contain secrets, origins and payloads.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", self.tag, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, FrameError> {
        std::iter::from_fn(|| decoder.next_frame().transpose()).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::new();
        decoder.feed(bytes);
        all(&mut decoder)
    }

    fn encode(frames: &[Frame]) -> Vec<u8> {
        let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
        frames.iter().for_each(|frame| encoder.write(frame, &mut bytes));
        bytes
    }

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let body = prop_oneof![0usize..300, Just(16_383), Just(16_384)].prop_map(|n| Bytes::from(vec![7; n]));
        prop::collection::vec((any::<u8>(), body).prop_map(|(tag, body)| Frame { tag, body }), 0..6)
    }

    #[test]
    fn the_version_comes_once_and_must_be_ours() {
        let ping = Frame { tag: tag::HEARTBEAT_PING, body: Bytes::from_static(&[0x10, 1]) };
        assert_eq!(encode(&[ping.clone(), ping.clone()]), [41, 0, 2, 0x10, 1, 0, 2, 0x10, 1]);
        assert_eq!(decode(&[41, 0, 2, 0x10, 1]), Ok(vec![ping]));
        assert_eq!(decode(&[]), Ok(vec![]));
        for version in [0, 38, 40, 42, 0x16, b'G'] {
            assert_eq!(decode(&[version, 0, 0]), Err(FrameError::Version(version)));
        }
    }

    #[test]
    fn the_longest_body_is_taken_and_one_byte_more_is_refused_before_it_comes() {
        let longest = Frame { tag: 2, body: Bytes::from(vec![0; BODY_MAX]) };
        assert_eq!(decode(&encode(std::slice::from_ref(&longest))), Ok(vec![longest]));
        let mut head = vec![VERSION, 2];
        wire::push_varint(&mut head, BODY_MAX as u64 + 1);
        assert_eq!(decode(&head), Err(FrameError::TooLong));
        assert_eq!(decode(&[VERSION, 2, 0xff, 0xff, 0x7f]), Err(FrameError::TooLong));
    }

    #[test]
    fn overlong_lengths_are_refused() {
        for length in [&[0x80, 0x80, 0x80][..], &[0xff; 3], &[0xff; 12], &[0x80, 0], &[0x81, 0x80, 0]] {
            assert_eq!(decode(&[&[VERSION, 8], length].concat()), Err(FrameError::Length), "{length:02x?}");
        }
        assert_eq!(decode(&[VERSION, 8, 0x80, 0x80]), Ok(vec![]));
    }

    #[test]
    fn after_an_error_nothing_is_kept_and_the_error_stays() {
        let mut decoder = Decoder::new();
        decoder.feed(b"GET / HTTP/1.1\r\n");
        for _ in 0..2 {
            assert_eq!(decoder.next_frame(), Err(FrameError::Version(b'G')));
            decoder.feed(&[VERSION, 0, 0]);
            assert_eq!(decoder.waiting(), 0);
        }
    }

    #[test]
    fn a_frame_does_not_show_its_body() {
        let frame = Frame { tag: 2, body: Bytes::from_static(b"secret") };
        assert_eq!(format!("{frame:?}"), "Frame(2, 6 bytes)");
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_frames(sent in frames(), cuts: Vec<prop::sample::Index>) {
            let bytes = encode(&sent);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (mut decoder, mut got) = (Decoder::new(), Vec::new());
            for pair in cuts.windows(2) {
                decoder.feed(&bytes[pair[0]..pair[1]]);
                got.extend(all(&mut decoder).unwrap());
            }
            prop_assert_eq!(got, sent);
            prop_assert_eq!(decoder.waiting(), 0);
        }

        #[test]
        fn byte_by_byte_gives_what_all_at_once_gives(mut bytes: Vec<u8>, ours: bool) {
            if ours {
                bytes.insert(0, VERSION);
            }
            let (mut decoder, mut got) = (Decoder::new(), Ok(Vec::new()));
            for byte in &bytes {
                decoder.feed(&[*byte]);
                got = got.and_then(|mut frames: Vec<Frame>| {
                    frames.extend(all(&mut decoder)?);
                    Ok(frames)
                });
                prop_assert!(decoder.waiting() <= 1 + LENGTH_BYTES_MAX + BODY_MAX);
            }
            prop_assert_eq!(got, decode(&bytes));
        }
    }
}
