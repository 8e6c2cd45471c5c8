//! Which key a message was encrypted with, read from outside: the service compares it with the VAPID key.
//!
//! RFC 8292 s3.2 forbids one key for both. The key is not encrypted, so nothing is decrypted to read it.

use http::{HeaderName, header};

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

/// The position of the length of the keyid in an `aes128gcm` body (RFC 8188 s2.1): after 16 of salt and 4 of record size.
const KEYID_LENGTH_AT: usize = 20;

/// The key agreement key of the application server: the keyid of an `aes128gcm` body, or the `dh` of an `aesgcm` one.
///
/// `None` if there is no such key. It is not checked to be a point: what is not one cannot equal a VAPID key.
pub fn sender_key(headers: &ContentHeaders, body: &[u8]) -> Option<[u8; PUBLIC_KEY_LENGTH]> {
    match headers.get(&header::CONTENT_ENCODING)?.trim() {
        coding if coding.eq_ignore_ascii_case(AES128GCM) => keyid(body)?.try_into().ok(),
        coding if coding.eq_ignore_ascii_case(AESGCM) => {
            let entries = params::split(headers.get(&CRYPTO_KEY)?, ',');
            let dh = entries.filter_map(|entry| params::get(entry, "dh")).next()?;
            base64url::decode_array(dh).ok()
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

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes: Vec<u8>) {
            let _ = sender_key(&content(&[("content-encoding", "aes128gcm")]), &bytes);
        }
    }
}
