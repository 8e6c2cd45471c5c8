//! Content headers: what is packed reads back as itself; what unpacks is what was packed.
#![no_main]

use doorbell_protocol::message::{CONTENT_HEADER_MAX, ContentHeaders};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(headers) = ContentHeaders::from_headers(&doorbell_fuzz::head(data)) {
        assert_eq!(ContentHeaders::from_packed(headers.as_packed()).as_ref(), Ok(&headers));
        assert!(headers.iter().all(|(_, value)| value.len() <= CONTENT_HEADER_MAX));
    }
    if let Ok(headers) = ContentHeaders::from_packed(data) {
        assert_eq!(headers.as_packed(), data);
        headers.iter().for_each(|(name, _)| _ = headers.get(&name));
    }
});
