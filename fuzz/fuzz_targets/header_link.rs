//! Link: bounded in number, and a link that can be written reads back as itself.
#![no_main]

use doorbell_protocol::headers::link::{LINKS_MAX, Link, links};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let found: Vec<Link> = links(&doorbell_fuzz::fields("link", data)).collect();
    assert!(found.len() <= LINKS_MAX);
    for link in found {
        assert!(link.is(&link.rel));
        if let Some(value) = link.to_value() {
            let again: Vec<Link> = links(&doorbell_fuzz::fields("link", value.as_bytes())).collect();
            assert_eq!(again, [link]);
        }
    }
});
