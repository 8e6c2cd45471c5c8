//! The frames between nodes: wherever they are cut the same come out, which are written as they were read.
//!
//! The first byte is the length of the pieces.
#![no_main]

use bytes::BytesMut;
use doorbell_cluster::wire::{Decoder, FRAME_MAX, Frame, WireError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let (frames, end) = decode([bytes].into_iter());
    assert_eq!(decode(bytes.chunks(usize::from(piece).max(1))), (frames.clone(), end));

    let mut written = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut written).expect("what decodes can be encoded"));
    assert!(bytes.starts_with(&written));
    if let Ok(waiting) = end {
        assert_eq!(written.len() + waiting, bytes.len());
        assert!(waiting < 4 + FRAME_MAX);
    }
});

/// The frames, and how many bytes wait after them.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<usize, WireError>) {
    let (mut decoder, mut buffer, mut frames) = (Decoder::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(error));
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, Ok(buffer.len()))
}
