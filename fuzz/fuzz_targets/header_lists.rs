//! Lists of parameters: pieces are disjoint parts of the text, in order, and never longer than it.
#![no_main]

use doorbell_protocol::headers::params;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for separator in [',', ';'] {
        let mut rest = text;
        for piece in params::split(text, separator) {
            let at = rest.find(piece).expect("a piece is a part of what is left");
            rest = &rest[at + piece.len()..];
            let (name, value) = params::pair(piece);
            assert!(name.len() + value.map_or(0, str::len) <= piece.len());
            value.map(params::unquote);
            params::get(piece, name);
        }
        assert!(text.starts_with(params::split_first(text, separator)));
    }
});
