//! A client's WebSocket frames: wherever they are cut, the same is heard, within the bound; and what is heard is what a
//! client would send in one frame each.
//!
//! The first octet is the length of the pieces.
#![no_main]

use doorbell_protocol::websocket::{Decoder, FrameError, Event, mask};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 300;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, octets)) = data.split_first() else { return };
    let (heard, error) = decode([octets].into_iter());
    assert_eq!(decode(octets.chunks(usize::from(piece).max(1))), (heard.clone(), error));

    let again: Vec<u8> = heard.iter().flat_map(written).collect();
    assert_eq!(decode([&again[..]].into_iter()), (heard, None));
});

/// What is heard until the first error, or until nothing more is whole.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<FrameError>) {
    let (mut decoder, mut all) = (Decoder::new(MOST), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(heard)) => all.push(heard),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}

/// One frame of a client.
fn written(heard: &Event) -> Vec<u8> {
    let (opcode, mut payload) = match heard {
        Event::Text(text) => (1, text.clone().into_bytes()),
        Event::Binary(octets) => (2, octets.clone()),
        Event::Close(close) => (8, close.code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec())),
        Event::Ping(octets) => (9, octets.clone()),
        Event::Pong(octets) => (10, octets.clone()),
    };
    assert!(payload.len() <= if opcode < 8 { MOST } else { 125 });
    let key = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode, 0xfe];
    frame.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    frame.extend(key);
    mask(&mut payload, key);
    frame.extend(payload);
    frame
}
