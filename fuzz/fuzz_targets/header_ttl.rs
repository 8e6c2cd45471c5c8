//! TTL: exactly one field of digits is accepted, and never reads as more than 2^31.
#![no_main]

use doorbell_protocol::headers::ttl::{TTL, Ttl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let headers = doorbell_fuzz::fields(TTL, data);
    let values: Vec<_> = headers.get_all(TTL).iter().collect();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let good = values.len() == 1 && values[0].to_str().is_ok_and(|text| digits(text.trim()));
    let parsed = Ttl::from_headers(&headers);
    assert_eq!(parsed.is_ok(), good);
    if let Ok(ttl) = parsed {
        assert!(ttl <= Ttl::MAX && ttl.clamp(60).as_secs() <= 60);
        let again = doorbell_fuzz::fields(TTL, ttl.to_value().as_bytes());
        assert_eq!(Ttl::from_headers(&again), Ok(ttl));
    }
});
