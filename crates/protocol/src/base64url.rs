//! base64url (RFC 4648 s5) as Web Push writes it: without padding; reading accepts the padding that some senders add.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use thiserror::Error;

const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, FORGIVING);

/// A text that is not base64url, or not of the length that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Base64Error {
    /// A character outside the alphabet, a dangling character, or stray bits at the end.
    #[error("not base64url")]
    Malformed,
    /// Well formed, but of another length than the value has.
    #[error("{0} bytes instead of {1}")]
    Length(usize, usize),
}

/// `bytes` as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends `bytes` as base64url without padding.
pub fn append(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), false).expect("what is in memory has a length in base64");
    out.resize(start + length, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[start..]).expect("there is room for all of it");
    debug_assert_eq!(written, length, "the length was computed for these bytes");
}

/// The bytes of `text`; `=` at the end is allowed.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64Error> {
    URL_SAFE.decode(text).map_err(|_| Base64Error::Malformed)
}

/// Like [`decode`], and accepts the standard alphabet (`+`, `/`) too: other tools write subscriptions and keys in either.
pub fn decode_lenient(text: &str) -> Result<Vec<u8>, Base64Error> {
    let engine = if text.contains(['+', '/']) { STANDARD } else { URL_SAFE };
    engine.decode(text).map_err(|_| Base64Error::Malformed)
}

/// Exactly `N` bytes, read as [`decode_lenient`] reads.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], Base64Error> {
    // A text that is far too long is not worth decoding.
    if text.len() > N.div_ceil(3) * 4 {
        return Err(Base64Error::Length(text.len() / 4 * 3, N));
    }
    let bytes = decode_lenient(text)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| Base64Error::Length(length, N))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writing_has_no_padding_and_reading_forgives_it() {
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        for text in ["-_8", "-_8="] {
            assert_eq!(decode(text), Ok(vec![0xfb, 0xff]));
        }
    }

    #[test]
    fn the_standard_alphabet_is_read_only_where_leniency_is_asked_for() {
        assert_eq!(decode("+/8="), Err(Base64Error::Malformed));
        for text in ["+/8=", "+/8", "-_8", "-_8="] {
            assert_eq!(decode_lenient(text), Ok(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(decode_lenient("+_8"), Err(Base64Error::Malformed), "no encoding mixes the two");
    }

    #[test]
    fn arrays_have_one_length() {
        assert_eq!(decode_array::<2>("-_8"), Ok([0xfb, 0xff]));
        assert_eq!(decode_array::<2>("-w"), Err(Base64Error::Length(1, 2)));
        assert!(decode_array::<2>(&"A".repeat(1 << 20)).is_err());
        for text in ["A", "-_9", "-_ 8", "ä"] {
            assert_eq!(decode_array::<2>(text), Err(Base64Error::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes.clone()));
            prop_assert_eq!(decode_lenient(&STANDARD.encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_reading_panic(text: String) {
            let _ = (decode(&text), decode_lenient(&text), decode_array::<65>(&text));
        }
    }
}
