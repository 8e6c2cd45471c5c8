//! A client's WebSocket frames: wherever they are cut, the same is received, within the bound; and what is received is what a
//! client would send in one frame each.
//!
//! The first byte is the length of the pieces.
#![no_main]

use doorbell_protocol::websocket::{Decoder, Event, FrameError, mask};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 300;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let (events, error) = decode([bytes].into_iter());
    assert_eq!(decode(bytes.chunks(usize::from(piece).max(1))), (events.clone(), error));

    let again: Vec<u8> = events.iter().flat_map(written).collect();
    assert_eq!(decode([&again[..]].into_iter()), (events, None));
});

/// What is received until the first error, or until nothing more is whole.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<FrameError>) {
    let (mut decoder, mut all) = (Decoder::new(MOST), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => all.push(event),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}

/// One frame of a client.
fn written(event: &Event) -> Vec<u8> {
    let (opcode, mut payload) = match event {
        Event::Text(text) => (1, text.clone().into_bytes()),
        Event::Binary(bytes) => (2, bytes.clone()),
        Event::Close(close) => (8, close.code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec())),
        Event::Ping(bytes) => (9, bytes.clone()),
        Event::Pong(bytes) => (10, bytes.clone()),
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
