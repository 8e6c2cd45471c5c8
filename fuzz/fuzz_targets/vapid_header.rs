//! VAPID credentials: bounded, and what we would write ourselves reads back as itself.
#![no_main]

use doorbell_protocol::vapid::header::{Credentials, TOKEN_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let headers = doorbell_fuzz::head(data);
    let Ok(Some(credentials)) = Credentials::parse(&headers) else { return };
    assert!((1..=TOKEN_MAX).contains(&credentials.token.len()));
    let compact = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !credentials.token.bytes().all(compact) {
        return;
    }
    let mut again = http::HeaderMap::new();
    again.insert("authorization", credentials.to_value().expect("a compact token can be written"));
    assert!(Credentials::parse(&again).is_ok_and(|read| read == Some(credentials)));
});
