//! Frames to bytes, and bytes to frames wherever they are cut.

use bytes::{Buf, BufMut, BytesMut};

use super::field::{Field, Reader, Writer};
use super::frame::Frame;
use super::{FRAME_MAX, WireError};

/// The bytes of the length in front of each frame.
const LENGTH_BYTES: usize = 4;

impl Frame {
    /// Appends the frame with its length to `out`. Whatever this accepts, a [`Decoder`] returns unchanged.
    ///
    /// # Errors
    /// The frame would be longer than [`FRAME_MAX`] bytes, the name of a cluster is too long or not ASCII, or the number of
    /// a node is not 1 to 1023. `out` is then as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let start = out.len();
        out.put_u32(0);
        let mut writer = Writer::new(out);
        let written = writer.put(self).and_then(|()| writer.end());
        match written {
            Ok(length) => {
                let length = u32::try_from(length).expect("it is at most FRAME_MAX");
                out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }
}

/// Takes the frames of one direction of a connection from the buffer that it is read into.
///
/// A caller that takes all frames before it reads more has a buffer of one unfinished frame, [`FRAME_MAX`] bytes and four
/// at most, and of one read.
#[derive(Debug, Default)]
pub struct Decoder {
    failed: Option<WireError>,
}

impl Decoder {
    /// A decoder for the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the first frame out of `buffer`; `None`: it is not complete, and the buffer is as it was.
    ///
    /// The headers and bodies of messages are not copied: they share the memory of the buffer and keep all of it alive. A
    /// caller that keeps one for long copies it.
    ///
    /// # Errors
    /// The bytes are not a frame of this version. The length is checked as soon as it is there, before the frame is. The
    /// connection is over: where the next frame starts, or what it means, is not known. Every later call returns the same
    /// error.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let decoded = decode(buffer);
        self.failed = decoded.as_ref().err().copied();
        decoded
    }
}

fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, WireError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    // A length that does not fit into `usize` is greater than every allowed one.
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    match length {
        0 => return Err(WireError::Empty),
        1..=FRAME_MAX => {}
        _ => return Err(WireError::TooLong { length }),
    }
    if buffer.len() - LENGTH_BYTES < length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    let mut reader = Reader::new(buffer.split_to(length).freeze());
    let frame = Frame::read(&mut reader)?;
    reader.end()?;
    Ok(Some(frame))
}
