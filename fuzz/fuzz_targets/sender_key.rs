//! The key that a message was encrypted with: found only where the standard puts it.
#![no_main]

use doorbell_protocol::headers::coding::{check_openable, sender_key};
use doorbell_protocol::message::ContentHeaders;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (headers, body) = doorbell_fuzz::request(data);
    let Ok(content) = ContentHeaders::from_headers(&headers) else { return };
    let found = sender_key(&content, body);
    let openable = check_openable(&content, body).is_ok();
    assert!(!openable || body.is_empty() || found.is_some(), "what a browser can open has a key");
    let Some(key) = found else { return };
    let in_header = content.get(&http::HeaderName::from_static("crypto-key")).is_some();
    assert!(in_header || body.get(21..86) == Some(key.as_slice()));
});
