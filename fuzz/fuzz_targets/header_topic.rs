//! Topic: what is accepted has 1 to 32 characters of base64url, and reads back as itself.
#![no_main]

use doorbell_protocol::headers::topic::{TOPIC, TOPIC_MAX, Topic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(topic)) = Topic::from_headers(&doorbell_fuzz::fields(TOPIC, data)) else { return };
    assert!((1..=TOPIC_MAX).contains(&topic.as_str().len()));
    assert!(topic.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    let again = doorbell_fuzz::fields(TOPIC, topic.as_str().as_bytes());
    assert_eq!(Topic::from_headers(&again), Ok(Some(topic)));
});
