//! base64url: one text per value but for padding, and the lenient reader reads all that the strict one does.
#![no_main]

use doorbell_protocol::base64url::{decode, decode_array, decode_lenient, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(bytes) = decode(text) {
        assert_eq!(encode(&bytes), text.trim_end_matches('='));
        assert_eq!(decode_lenient(text).as_ref(), Ok(&bytes));
    }
    if let Ok(bytes) = decode_array::<16>(text) {
        assert_eq!(decode_lenient(text).as_deref(), Ok(bytes.as_slice()));
    }
    assert_eq!(decode(&encode(text.as_bytes())).as_deref(), Ok(text.as_bytes()));
});
