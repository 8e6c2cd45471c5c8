//! PROXY protocol headers: bounded, read in parts as in one piece, and never longer than what was there.
#![no_main]

use doorbell_protocol::proxy_header::{Parsed, begins, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = parse(data);
    match parsed {
        Ok(Parsed::Whole { length, .. }) => {
            assert!(length <= data.len() && length <= 16 + 4096 && begins(data));
            // What follows changes nothing, and nothing less is enough.
            assert_eq!(parse(&data[..length]), parsed);
            for end in [0, 5, 11, 12, 15, length - 1] {
                assert!(end >= length || parse(&data[..end]) == Ok(Parsed::Partial));
            }
        }
        Ok(Parsed::Partial) => assert!(data.len() < 16 + 4096),
        // More bytes do not help.
        Err(error) => assert_eq!(parse(&[data, b"\r\n"].concat()), Err(error)),
    }
});
