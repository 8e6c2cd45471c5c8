//! The bytes that go to a user agent and come back.

use std::hint::black_box;

use doorbell_protocol::firefox::{ChannelId, ClientMessage, Notification, Version};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::mcs::frame::Encoder;
use doorbell_protocol::mcs::server::{DataMessage, ServerStanza};
use doorbell_protocol::message::ContentHeaders;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::websocket::{Decoder, Event, Opcode, mask, write_frame};

use crate::{BODY, Step};

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
const VERSION: Version = Version::first(MessageId::from_raw(7));

/// A message becomes the WebSocket frame that Firefox gets.
pub(crate) fn notification() -> Step {
    let channel = ChannelId::try_from(CHANNEL.to_owned()).unwrap();
    let headers = ContentHeaders::from_packed(b"\x01\x00\x09aes128gcm").unwrap();
    let (body, mut out) = (body_bytes(), Vec::new());
    Box::new(move || {
        out.clear();
        let notification = Notification::new(channel.as_str(), VERSION, black_box(&headers), black_box(&body));
        write_frame(&mut out, Opcode::Text, |out| notification.write(out));
        assert!(black_box(&out).len() > BODY);
    })
}

/// A message becomes the MCS frame that Chromium gets.
pub(crate) fn mcs() -> Step {
    let (body, mut out, mut encoder) = (body_bytes(), Vec::new(), Encoder::new());
    Box::new(move || {
        out.clear();
        let message = DataMessage {
            persistent_id: "0:1800000000000001%f6f9f3f9fd7ecd",
            from: "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            category: "org.chromium.linux",
            subtype: "wp:https://app.example.net/#B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2",
            app_data: &[("content-encoding", "aes128gcm")],
            body: Some(black_box(&body)),
            ttl_s: 3600,
            sent: UnixMs::from_secs(1_800_000_000),
            immediate_ack: true,
        };
        encoder.write(&ServerStanza::DataMessage(message).to_frame(1), &mut out);
        assert!(black_box(&out).len() > BODY);
    })
}

/// The frame with which Firefox acknowledges a message is decoded.
pub(crate) fn acknowledgement() -> Step {
    let version = VERSION.to_text();
    let text =
        format!(r#"{{"messageType":"ack","updates":[{{"channelID":"{CHANNEL}","version":"{version}","code":100}}]}}"#);
    let (key, mut payload) = ([1, 2, 3, 4], text.into_bytes());
    mask(&mut payload, key);
    let mut frame = vec![0x81, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend(key);
    frame.extend(payload);
    let mut decoder = Decoder::new(64 * 1024);
    Box::new(move || {
        decoder.feed(black_box(&frame));
        let Ok(Some(Event::Text(text))) = decoder.next_event() else { panic!("a text was sent") };
        let Ok(ClientMessage::Ack { updates }) = ClientMessage::parse(&text) else { panic!("it was an ack") };
        assert_eq!(black_box(updates).len(), 1);
    })
}

/// A body that looks encrypted.
fn body_bytes() -> Vec<u8> {
    (0..BODY).map(|n| (n * 151 % 251) as u8).collect()
}
