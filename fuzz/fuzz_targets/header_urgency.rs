//! Urgency: what is accepted is one of the four words, once.
#![no_main]

use doorbell_protocol::headers::urgency::{URGENCY, Urgency};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let headers = doorbell_fuzz::fields(URGENCY, data);
    let Ok(parsed) = Urgency::from_headers(&headers) else { return };
    assert!(headers.len() <= 1);
    assert_eq!(parsed.is_some(), headers.len() == 1);
    if let Some(urgency) = parsed {
        let again = doorbell_fuzz::fields(URGENCY, urgency.as_str().as_bytes());
        assert_eq!(Urgency::from_headers(&again), Ok(Some(urgency)));
    }
});
