//! Frames of Firefox's clients: what is read is bounded by the frame, and what we would answer is JSON that holds the same.
#![no_main]

use doorbell_protocol::firefox::{CHANNEL_ID_MAX, ChannelId, ClientMessage, ServerMessage, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match ClientMessage::parse(text) {
        Ok(ClientMessage::Register { channel, key }) => {
            echoed(&channel, ServerMessage::Register { channel: &channel, status: 200, endpoint: "https://a/p/b" });
            assert!(key.is_none_or(|key| !key.is_empty() && key.len() <= text.len()));
        }
        Ok(ClientMessage::Unregister { channel }) => {
            echoed(&channel, ServerMessage::Unregister { channel: &channel, status: 200 });
        }
        Ok(ClientMessage::Ack { updates }) => {
            assert!(updates.len() <= text.len());
            for update in updates {
                assert_eq!(Version::from_text(&update.version.to_text()), Some(update.version));
            }
        }
        Ok(ClientMessage::Hello { uaid, .. }) => assert!(uaid.is_none_or(|uaid| !uaid.is_empty())),
        Ok(_) | Err(_) => {}
    }
});

/// A channelID comes back exactly as it was.
fn echoed(channel: &ChannelId, answer: ServerMessage<'_>) {
    assert!((1..=CHANNEL_ID_MAX).contains(&channel.as_str().len()));
    let mut text = Vec::new();
    answer.write(&mut text);
    let said: serde_json::Value = serde_json::from_slice(&text).expect("the answer is JSON");
    assert_eq!(said["channelID"], channel.as_str());
}
