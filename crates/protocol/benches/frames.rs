//! What the protocols of browsers cost: Firefox's notifications and acknowledgements, Chromium's frames.
//!
//! `cargo bench -p doorbell-protocol --bench frames`

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that cannot go on has failed")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use doorbell_protocol::firefox::{ClientMessage, Notification, Version};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::mcs::frame::{Decoder as McsDecoder, Encoder, Frame, tag};
use doorbell_protocol::message::ContentHeaders;
use doorbell_protocol::websocket::{Decoder, Event, Opcode, mask, write_frame};

const BODY: [u8; 1024] = [0xa7; 1024];
const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
const ACK: &str =
    r#"{"messageType":"ack","updates":[{"channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd","version":"AAAAAAAAAAc"}]}"#;

fn firefox(c: &mut Criterion) {
    let headers = ContentHeaders::from_packed(b"\x01\x00\x09aes128gcm").unwrap();
    let mut out = Vec::new();
    c.bench_function("notification of 1,024 bytes into a frame", |b| {
        b.iter(|| {
            out.clear();
            let version = Version::first(MessageId::from_raw(7));
            let notification = Notification::new(CHANNEL, version, &headers, black_box(&BODY));
            write_frame(&mut out, Opcode::Text, |out| notification.write(out));
        });
    });
    let (frame, mut decoder) = (client_frame(ACK.as_bytes()), Decoder::new(1 << 16));
    c.bench_function("acknowledgement out of a frame", |b| {
        b.iter(|| {
            decoder.feed(black_box(&frame));
            let Ok(Some(Event::Text(text))) = decoder.next_event() else { panic!("a text was sent") };
            ClientMessage::parse(&text).unwrap()
        });
    });
}

fn chromium(c: &mut Criterion) {
    let frame = Frame { tag: tag::DATA_MESSAGE_STANZA, body: Bytes::from_static(&BODY) };
    let (mut encoder, mut decoder, mut bytes) = (Encoder::new(), McsDecoder::new(), Vec::new());
    c.bench_function("MCS frame of 1,024 bytes, written and read", |b| {
        b.iter(|| {
            bytes.clear();
            encoder.write(black_box(&frame), &mut bytes);
            decoder.feed(&bytes);
            decoder.next_frame().unwrap().unwrap()
        });
    });
}

/// A text as a client sends it.
fn client_frame(text: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    frame.extend(key);
    let mut payload = text.to_vec();
    mask(&mut payload, key);
    frame.extend(payload);
    frame
}

criterion_group!(benches, firefox, chromium);
criterion_main!(benches);
