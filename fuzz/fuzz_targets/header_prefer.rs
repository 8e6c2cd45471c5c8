//! Prefer: whatever was understood means the same when it is written and read again.
#![no_main]

use doorbell_protocol::headers::prefer::{PREFER, Prefer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let prefer = Prefer::from_headers(&doorbell_fuzz::fields(PREFER, data));
    match prefer.to_value() {
        Some(value) => assert_eq!(Prefer::from_headers(&doorbell_fuzz::fields(PREFER, value.as_bytes())), prefer),
        None => assert_eq!(prefer, Prefer::default()),
    }
});
