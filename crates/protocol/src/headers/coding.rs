//! What the outside of an encrypted message shows: the key that it was encrypted with, and whether it can be opened at all.
//!
//! RFC 8292 s3.2 forbids one key for encryption and VAPID. The key is not encrypted, so nothing is decrypted to read it.

use http::{HeaderName, header};
use thiserror::Error;

use super::params;
use crate::base64url;
use crate::key::PUBLIC_KEY_LENGTH;
use crate::message::ContentHeaders;

/// The content coding of RFC 8188 and RFC 8291.
pub const AES128GCM: &str = "aes128gcm";
/// The coding of the drafts before it, which old application servers still emit.
pub const AESGCM: &str = "aesgcm";

/// Salt and parameters of an `aesgcm` body (draft-ietf-webpush-encryption-04 s4).
pub const ENCRYPTION: HeaderName = HeaderName::from_static("encryption");
/// Keys of an `aesgcm` body, and of VAPID's drafts.
pub const CRYPTO_KEY: HeaderName = HeaderName::from_static("crypto-key");

/// The position of the record size in an `aes128gcm` body (RFC 8188 s2.1): after the salt.
const RECORD_SIZE_AT: usize = SALT_LENGTH;
/// The position of the length of the keyid: after 4 bytes of record size.
const KEYID_LENGTH_AT: usize = RECORD_SIZE_AT + 4;

const SALT_LENGTH: usize = 16;
/// The tag of AES-GCM.
const TAG_LENGTH: usize = 16;
/// The delimiter after the content, of one byte (RFC 8188 s2), and the length of the padding before it, of two (draft-04 s4).
const AES128GCM_REST: usize = 1 + TAG_LENGTH;
const AESGCM_REST: usize = 2 + TAG_LENGTH;
/// The first byte of a public key that is written with both of its coordinates (SEC 1 s2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why no browser can open a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unopenable {
    /// A body without Content-Encoding.
    #[error("the body has no Content-Encoding")]
    Uncoded,
    /// A coding that is neither `aes128gcm` nor `aesgcm`.
    #[error("the Content-Encoding is neither aes128gcm nor aesgcm")]
    Coding,
    /// A body that ends before its header, its padding and its tag do.
    #[error("the body is too short for its Content-Encoding")]
    Short,
    /// The keyid of `aes128gcm` is not an uncompressed point of P-256 (RFC 8291 s4).
    #[error("the header of the aes128gcm body has no public key of 65 bytes")]
    Key,
    /// A record size without room for content (RFC 8188 s2.1).
    #[error("the record size in the header of the aes128gcm body is less than 18")]
    RecordSize,
    /// `aesgcm` without the 16 bytes of `salt` in Encryption.
    #[error("aesgcm needs Encryption with a salt of 16 bytes")]
    Salt,
    /// `aesgcm` without the 65 bytes of `dh` in Crypto-Key.
    #[error("aesgcm needs Crypto-Key with dh, a public key of 65 bytes")]
    Dh,
}

/// Checks the outside of a message for a browser, which opens what RFC 8291 and draft-ietf-webpush-encryption-04 describe,
/// and drops anything else without a word. A push without a body is good.
///
/// # Errors
/// If no browser can open the body, whatever its keys are.
pub fn check_openable(headers: &ContentHeaders, body: &[u8]) -> Result<(), Unopenable> {
    if body.is_empty() {
        return Ok(());
    }
    match headers.get(&header::CONTENT_ENCODING).map(str::trim) {
        None | Some("") => Err(Unopenable::Uncoded),
        Some(coding) if coding.eq_ignore_ascii_case(AES128GCM) => check_aes128gcm(body),
        Some(coding) if coding.eq_ignore_ascii_case(AESGCM) => check_aesgcm(headers, body),
        Some(_) => Err(Unopenable::Coding),
    }
}

fn check_aes128gcm(body: &[u8]) -> Result<(), Unopenable> {
    let key = keyid(body).ok_or(Unopenable::Short)?;
    if key.len() != PUBLIC_KEY_LENGTH || key.first() != Some(&UNCOMPRESSED) {
        return Err(Unopenable::Key);
    }
    let record_size = body.get(RECORD_SIZE_AT..).and_then(<[u8]>::first_chunk).ok_or(Unopenable::Short)?;
    if (u32::from_be_bytes(*record_size) as usize) < AES128GCM_REST + 1 {
        return Err(Unopenable::RecordSize);
    }
    let header = KEYID_LENGTH_AT + 1 + PUBLIC_KEY_LENGTH;
    if body.len() < header + AES128GCM_REST { Err(Unopenable::Short) } else { Ok(()) }
}

fn check_aesgcm(headers: &ContentHeaders, body: &[u8]) -> Result<(), Unopenable> {
    let salt = parameter(headers, &ENCRYPTION, "salt").ok_or(Unopenable::Salt)?;
    base64url::decode_array::<SALT_LENGTH>(salt).map_err(|_| Unopenable::Salt)?;
    let dh = parameter(headers, &CRYPTO_KEY, "dh").ok_or(Unopenable::Dh)?;
    let key = base64url::decode_array::<PUBLIC_KEY_LENGTH>(dh).map_err(|_| Unopenable::Dh)?;
    if key[0] != UNCOMPRESSED {
        return Err(Unopenable::Dh);
    }
    if body.len() < AESGCM_REST { Err(Unopenable::Short) } else { Ok(()) }
}

/// The first parameter with this name among the entries of a header.
fn parameter<'a>(headers: &'a ContentHeaders, field: &HeaderName, name: &str) -> Option<&'a str> {
    params::split(headers.get(field)?, ',').find_map(|entry| params::get(entry, name))
}

/// The key agreement key of the application server: the keyid of an `aes128gcm` body, or the `dh` of an `aesgcm` one.
///
/// `None` if there is no such key. It is not checked to be a point: what is not one cannot equal a VAPID key.
pub fn sender_key(headers: &ContentHeaders, body: &[u8]) -> Option<[u8; PUBLIC_KEY_LENGTH]> {
    match headers.get(&header::CONTENT_ENCODING)?.trim() {
        coding if coding.eq_ignore_ascii_case(AES128GCM) => keyid(body)?.try_into().ok(),
        coding if coding.eq_ignore_ascii_case(AESGCM) => {
            base64url::decode_array(parameter(headers, &CRYPTO_KEY, "dh")?).ok()
        }
        _ => None,
    }
}

fn keyid(body: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*body.get(KEYID_LENGTH_AT)?);
    body.get(KEYID_LENGTH_AT + 1..)?.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn content(pairs: &[(&'static str, &str)]) -> ContentHeaders {
        let headers: HeaderMap = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect();
        ContentHeaders::from_headers(&headers).unwrap()
    }

    fn body(keyid: &[u8]) -> Vec<u8> {
        [&[1; 16][..], &4096u32.to_be_bytes(), &[u8::try_from(keyid.len()).unwrap()], keyid, b"sealed"].concat()
    }

    #[test]
    fn the_key_is_the_keyid_or_the_dh_ps_8292_3_2_2() {
        let key = [4; 65];
        assert_eq!(sender_key(&content(&[("content-encoding", "aes128gcm")]), &body(&key)), Some(key));
        let dh = format!("keyid=p256dh;dh=\"{}\"", base64url::encode(&key));
        assert_eq!(sender_key(&content(&[("content-encoding", "aesgcm"), ("crypto-key", &dh)]), b""), Some(key));
    }

    #[test]
    fn no_coding_no_key_or_another_length_is_none() {
        assert_eq!(sender_key(&content(&[]), &body(&[4; 65])), None);
        assert_eq!(sender_key(&content(&[("content-encoding", "gzip")]), &body(&[4; 65])), None);
        assert_eq!(sender_key(&content(&[("content-encoding", "aesgcm")]), b""), None);
        let coded = content(&[("content-encoding", "aes128gcm")]);
        for bytes in [&b""[..], &[0; 20], &body(&[4; 64]), &body(&[4; 65])[..80]] {
            assert_eq!(sender_key(&coded, bytes), None);
        }
    }

    /// The key, salt and content of draft-ietf-webpush-encryption-04 s5.
    const DH: &str =
        "keyid=p256dh;dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
    const SALT: &str = "keyid=p256dh; SALT=\"lngarbyKfMoi9Z75xYXmkg==\"";

    #[test]
    fn what_every_browser_may_open_passes_and_a_push_without_a_body_too() {
        let whole = [&body(&[4; 65])[..], &[0; 11]].concat();
        assert_eq!(check_openable(&content(&[("content-encoding", "aes128gcm")]), &whole), Ok(()));
        for pairs in [&[][..], &[("content-encoding", "gzip")], &[("content-encoding", "aesgcm")]] {
            assert_eq!(check_openable(&content(pairs), b""), Ok(()));
        }
        let older = content(&[("content-encoding", "aesgcm"), ("encryption", SALT), ("crypto-key", DH)]);
        assert_eq!(check_openable(&older, &[0; 18]), Ok(()));
    }

    #[test]
    fn a_body_that_no_browser_can_open_is_an_error_that_names_what_is_missing() {
        assert_eq!(check_openable(&content(&[]), b"x"), Err(Unopenable::Uncoded));
        for other in ["gzip", "aes128gcm, gzip", "aesgcm128", "identity"] {
            assert_eq!(check_openable(&content(&[("content-encoding", other)]), &[4; 200]), Err(Unopenable::Coding));
        }
        let coded = content(&[("content-encoding", "aes128gcm")]);
        let whole = [&body(&[4; 65])[..], &[0; 11]].concat();
        for length in 1..whole.len() {
            assert_eq!(check_openable(&coded, &whole[..length]), Err(Unopenable::Short), "{length}");
        }
        for keyid in [&[4; 64][..], &[2; 33], &[], &[0; 65]] {
            assert_eq!(check_openable(&coded, &[&body(keyid)[..], &[0; 100]].concat()), Err(Unopenable::Key));
        }
        let mut tiny = whole.clone();
        tiny[16..20].copy_from_slice(&17u32.to_be_bytes());
        assert_eq!(check_openable(&coded, &tiny), Err(Unopenable::RecordSize));
        for (pairs, missing) in [
            (&[("crypto-key", DH)][..], Unopenable::Salt),
            (&[("encryption", "salt=abc"), ("crypto-key", DH)], Unopenable::Salt),
            (&[("encryption", SALT)], Unopenable::Dh),
            (&[("encryption", SALT), ("crypto-key", "dh=BNoR")], Unopenable::Dh),
            (&[("encryption", SALT), ("crypto-key", DH)], Unopenable::Short),
        ] {
            let older = content(&[&[("content-encoding", "aesgcm")], pairs].concat());
            assert_eq!(check_openable(&older, &[0; 17]), Err(missing), "{pairs:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes: Vec<u8>) {
            let coded = content(&[("content-encoding", "aes128gcm")]);
            let openable = check_openable(&coded, &bytes).is_ok();
            prop_assert!(bytes.is_empty() || !openable || sender_key(&coded, &bytes).is_some());
        }
    }
}
