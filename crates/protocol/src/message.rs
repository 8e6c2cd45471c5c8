//! The content headers of a push message, which go to the user agent with its body.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

use crate::headers::coding::{CRYPTO_KEY, ENCRYPTION};
use crate::headers::params;

/// The longest value of one content header, in bytes. An `aesgcm` Crypto-Key with a VAPID key needs about 200.
pub const CONTENT_HEADER_MAX: usize = 1024;

/// The headers that describe the body and belong to it end to end; everything else of the request stays behind
/// (RFC 8030 s5.3, s5.4 and RFC 8292 s4.2 forbid forwarding Urgency, Topic and Authorization).
const CARRIED: [HeaderName; 4] = [header::CONTENT_TYPE, header::CONTENT_ENCODING, ENCRYPTION, CRYPTO_KEY];

/// Content-Type, Content-Encoding, Encryption and Crypto-Key of one message, packed for the store.
///
/// Layout: for each header that is present, its place in that list (1 byte), the length of its value
/// (2 bytes, big endian) and the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentHeaders(Vec<u8>);

/// Why content headers were refused; the answer is 400.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentHeadersError {
    /// A value longer than [`CONTENT_HEADER_MAX`].
    #[error("{0} is longer than {CONTENT_HEADER_MAX} bytes")]
    TooLong(HeaderName),
    /// One of them was sent more than once, so the reader cannot know which describes the body.
    #[error("{0} was given more than once")]
    Repeated(HeaderName),
    /// A Crypto-Key that is not text, so the VAPID key in it cannot be found and removed.
    #[error("{0} is not text")]
    NotText(HeaderName),
    /// Bytes from the store that [`ContentHeaders::from_packed`] does not recognise.
    #[error("packed content headers are damaged")]
    Damaged,
}

impl ContentHeaders {
    /// Reads the carried headers of a request. The VAPID key that older senders put into Crypto-Key is left out:
    /// it must not reach the user agent (RFC 8292 s4.2).
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, ContentHeadersError> {
        let mut packed = Vec::new();
        for (place, name) in (0u8..).zip(&CARRIED) {
            let mut values = headers.get_all(name).iter();
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(ContentHeadersError::Repeated(name.clone()));
            }
            let value = carried_value(name, value)?;
            if value.is_empty() && *name == CRYPTO_KEY {
                continue;
            }
            let length = u16::try_from(value.len()).ok().filter(|&n| usize::from(n) <= CONTENT_HEADER_MAX);
            let Some(length) = length else { return Err(ContentHeadersError::TooLong(name.clone())) };
            packed.push(place);
            packed.extend_from_slice(&length.to_be_bytes());
            packed.extend_from_slice(&value);
        }
        Ok(Self(packed))
    }

    /// Reads what [`ContentHeaders::as_packed`] returned.
    pub fn from_packed(packed: &[u8]) -> Result<Self, ContentHeadersError> {
        let whole = Self(packed.to_vec());
        let read: usize = whole.raw().map(|(_, value)| 3 + value.len()).sum();
        if read != packed.len() || whole.iter().count() != whole.raw().count() {
            return Err(ContentHeadersError::Damaged);
        }
        Ok(whole)
    }

    /// The packed form, for the store.
    pub fn as_packed(&self) -> &[u8] {
        &self.0
    }

    /// The headers, as they were sent; a coding in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
        self.raw().filter_map(|(place, value)| {
            Some((CARRIED.get(usize::from(place))?.clone(), HeaderValue::from_bytes(value).ok()?))
        })
    }

    /// One of them, if it was sent and is text.
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        let place = u8::try_from(CARRIED.iter().position(|n| n == name)?).ok()?;
        let (_, value) = self.raw().find(|(p, _)| *p == place)?;
        std::str::from_utf8(value).ok()
    }

    fn raw(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (&[place, high, low], after) = rest.split_first_chunk::<3>()?;
            let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            rest = after;
            Some((place, value))
        })
    }
}

/// The bytes of `value` that go to the user agent.
fn carried_value<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<Cow<'a, [u8]>, ContentHeadersError> {
    if *name == header::CONTENT_ENCODING && value.as_bytes().iter().any(u8::is_ascii_uppercase) {
        // Codings have no case (RFC 9110 s8.4.1), but browsers compare them exactly.
        return Ok(Cow::Owned(value.as_bytes().to_ascii_lowercase()));
    }
    if *name != CRYPTO_KEY {
        return Ok(Cow::Borrowed(value.as_bytes()));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| ContentHeadersError::NotText(name.clone()))?;
    Ok(match without_vapid_key(text) {
        Some(rest) => Cow::Owned(rest.into_bytes()),
        None => Cow::Borrowed(text.as_bytes()),
    })
}

/// What is left of a Crypto-Key without its `p256ecdsa` parameters; `None` if it has none and stays as it is.
fn without_vapid_key(value: &str) -> Option<String> {
    let is_vapid = |piece: &str| params::pair(piece).0.eq_ignore_ascii_case("p256ecdsa");
    let entries: Vec<Vec<&str>> = params::split(value, ',').map(|entry| params::split(entry, ';').collect()).collect();
    if !entries.iter().flatten().any(|piece| is_vapid(piece)) {
        return None;
    }
    let rest = |entry: Vec<&str>| entry.into_iter().filter(|piece| !is_vapid(piece)).collect::<Vec<_>>().join(";");
    Some(entries.into_iter().map(rest).filter(|entry| !entry.is_empty()).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vapid::header::{Credentials, CredentialsError};
    use proptest::prelude::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let value = |v: &str| HeaderValue::from_str(v).unwrap();
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), value(v))).collect()
    }

    #[test]
    fn what_describes_the_body_survives_the_store_and_nothing_else_does_ps_8030_6_4() {
        let sent = headers(&[
            ("content-encoding", "aes128gcm"),
            ("content-type", "text/x"),
            ("urgency", "low"),
            ("topic", "t"),
        ]);
        let kept = ContentHeaders::from_headers(&sent).unwrap();
        let back = ContentHeaders::from_packed(kept.as_packed()).unwrap();
        assert_eq!(back.get(&header::CONTENT_ENCODING), Some("aes128gcm"));
        assert_eq!(back.get(&header::CONTENT_TYPE), Some("text/x"));
        assert_eq!(back.iter().count(), 2);
    }

    #[test]
    fn a_coding_goes_on_in_the_case_that_browsers_know() {
        let kept = ContentHeaders::from_headers(&headers(&[("content-encoding", "AES128gcm")])).unwrap();
        assert_eq!(kept.get(&header::CONTENT_ENCODING), Some("aes128gcm"));
    }

    #[test]
    fn a_repeated_or_overlong_header_is_refused() {
        let mut twice = headers(&[("encryption", "salt=a")]);
        twice.append("encryption", HeaderValue::from_static("salt=b"));
        assert!(matches!(ContentHeaders::from_headers(&twice), Err(ContentHeadersError::Repeated(_))));
        let long = headers(&[("crypto-key", &"k".repeat(CONTENT_HEADER_MAX + 1))]);
        assert!(matches!(ContentHeaders::from_headers(&long), Err(ContentHeadersError::TooLong(_))));
    }

    #[test]
    fn damaged_bytes_are_an_error_and_not_a_panic() {
        for bytes in [&[0u8][..], &[0, 0, 9, 1], &[9, 0, 0], &[1, 255, 255]] {
            assert_eq!(ContentHeaders::from_packed(bytes), Err(ContentHeadersError::Damaged));
        }
    }

    #[test]
    fn the_vapid_key_never_travels_on_ps_8292_4_2_4() {
        for (sent, kept) in [
            ("dh=BNoR;p256ecdsa=BA1H", Some("dh=BNoR")),
            ("p256ecdsa=BA1H", None),
            ("p256ecdsa=\"BA1H=\" , keyid=p256dh; dh=\"BNoR==\"", Some("keyid=p256dh;dh=\"BNoR==\"")),
            ("P256ECDSA = BA1H;dh=BNoR, p256ecdsa=BA1H", Some("dh=BNoR")),
            ("x=\"y;p256ecdsa=BA1H", Some("x=\"y")),
        ] {
            let kept_headers = ContentHeaders::from_headers(&headers(&[("crypto-key", sent)])).unwrap();
            assert_eq!(kept_headers.get(&CRYPTO_KEY), kept, "{sent}");
            assert_eq!(kept_headers.iter().count(), usize::from(kept.is_some()), "{sent}");
        }
    }

    #[test]
    fn a_crypto_key_without_a_vapid_key_is_not_touched() {
        for sent in ["dh=BNoR", " keyid = \"a;p256ecdsa=b\" ; dh=BNoR ,, x", "", "dh=p256ecdsa"] {
            let kept = ContentHeaders::from_headers(&headers(&[("crypto-key", sent)])).unwrap();
            assert_eq!(kept.get(&CRYPTO_KEY), Some(sent).filter(|s| !s.is_empty()), "{sent}");
        }
        let mut odd = HeaderMap::new();
        odd.append(CRYPTO_KEY, HeaderValue::from_bytes(b"\xff;p256ecdsa=BA1H").unwrap());
        assert_eq!(ContentHeaders::from_headers(&odd), Err(ContentHeadersError::NotText(CRYPTO_KEY)));
    }

    proptest! {
        #[test]
        fn no_crypto_key_lets_a_vapid_key_through_ps_8292_4_2_4(text in r#"(p256ecdsa=K|dh=D|[a=;, "\\\\]){0,12}"#) {
            let kept = ContentHeaders::from_headers(&headers(&[("crypto-key", &text)])).unwrap();
            let left: HeaderMap = kept.iter().chain([(header::AUTHORIZATION, "WebPush t".parse().unwrap())]).collect();
            prop_assert_eq!(Credentials::parse(&left), Err(CredentialsError::NoKey));
        }

        #[test]
        fn no_packed_bytes_make_it_panic(bytes: Vec<u8>) {
            if let Ok(kept) = ContentHeaders::from_packed(&bytes) {
                prop_assert_eq!(kept.as_packed(), bytes);
            }
        }
    }
}
