//! The key that a message was encrypted with: found only where the standard puts it.
#![no_main]

use doorbell_protocol::headers::coding::sender_key;
use doorbell_protocol::message::ContentHeaders;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (headers, body) = doorbell_fuzz::request(data);
    let Ok(content) = ContentHeaders::from_headers(&headers) else { return };
    let Some(key) = sender_key(&content, body) else { return };
    let in_header = content.get(&http::HeaderName::from_static("crypto-key")).is_some();
    assert!(in_header || body.get(21..86) == Some(key.as_slice()));
});
