//! Chromium's stream: wherever it is cut the same frames come out, which are bounded and written as they were read; and
//! whatever they hold, only what was sent is confirmed.
//!
//! The first byte is the length of the pieces.
#![no_main]

use doorbell_protocol::mcs::client::{ClientStanza, PERSISTENT_ID_MAX, RECEIVED_MAX};
use doorbell_protocol::mcs::frame::{BODY_MAX, Decoder, Encoder, Frame, FrameError};
use doorbell_protocol::mcs::server::DataMessage;
use doorbell_protocol::mcs::stream::{Effect, Stream};
use doorbell_protocol::time::UnixMs;
use libfuzzer_sys::fuzz_target;

const SENT: u32 = 5;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let (frames, end) = decode([bytes].into_iter());
    assert_eq!(decode(bytes.chunks(usize::from(piece).max(1))), (frames.clone(), end));

    let (mut encoder, mut written) = (Encoder::new(), Vec::new());
    frames.iter().for_each(|frame| encoder.write(frame, &mut written));
    assert!(bytes.starts_with(&written));
    if let (Ok(waiting), false) = (end, frames.is_empty()) {
        assert_eq!(written.len() + waiting, bytes.len());
    }
    serve(&frames);
});

/// The frames, and how many bytes wait after them.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<usize, FrameError>) {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(decoder.waiting() <= 4 + BODY_MAX);
    }
    (frames, Ok(decoder.waiting()))
}

/// Lets every login in and sends it a few messages.
fn serve(frames: &[Frame]) {
    let (mut stream, mut confirmed) = (Stream::new(), Vec::new());
    for stanza in frames.iter().map(ClientStanza::parse) {
        let Ok(stanza) = stanza else { return };
        let mut effects = Vec::new();
        if stream.receive(stanza, &mut effects).is_err() {
            return;
        }
        for effect in effects {
            match effect {
                Effect::LogIn(login) => {
                    assert!(login.received.len() <= RECEIVED_MAX);
                    assert!(login.received.iter().all(|id| (1..=PERSISTENT_ID_MAX).contains(&id.len())));
                    stream.accept([], 60_000, UnixMs::from_secs(1), &mut Vec::new());
                    for id in 0..SENT {
                        assert!(stream.send(id, message()).is_ok());
                    }
                }
                Effect::Confirmed(id) => confirmed.push(id),
                Effect::Write(_) | Effect::End => {}
            }
        }
        assert!(confirmed.iter().copied().eq(0..confirmed.len() as u32), "in order, once each");
        assert!(confirmed.len() <= SENT as usize);
    }
}

fn message() -> DataMessage<'static> {
    DataMessage {
        persistent_id: "1",
        from: "s",
        category: "a",
        subtype: "wp:",
        app_data: &[],
        body: None,
        ttl_s: 60,
        sent: UnixMs::from_secs(1),
        immediate_ack: true,
    }
}
