//! What a push message carries beside its body: the content headers that travel with it to the user agent.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

/// The longest value of one content header, in octets. An `aesgcm` Crypto-Key with a VAPID key needs about 200.
pub const CONTENT_HEADER_MAX: usize = 1024;

/// The headers that describe the body and belong to it end to end; everything else of the request stays behind
/// (RFC 8030 s5.3, s5.4 and RFC 8292 s4.2 forbid forwarding Urgency, Topic and Authorization).
const CARRIED: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("encryption"),
    HeaderName::from_static("crypto-key"),
];

/// Content-Type, Content-Encoding, Encryption and Crypto-Key of one message, packed for the store.
///
/// Layout: for each header that is present, its place in [`CARRIED`] (1 octet), the length of its value
/// (2 octets, big endian) and the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentHeaders(Vec<u8>);

/// Why content headers were refused; the answer is 400.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentHeadersError {
    /// A value longer than [`CONTENT_HEADER_MAX`].
    #[error("{0} is longer than {CONTENT_HEADER_MAX} octets")]
    TooLong(HeaderName),
    /// One of them was sent more than once, so that the reader could not know which describes the body.
    #[error("{0} was given more than once")]
    Repeated(HeaderName),
    /// Bytes from the store that [`ContentHeaders::from_packed`] does not recognise.
    #[error("packed content headers are damaged")]
    Damaged,
}

impl ContentHeaders {
    /// Takes the carried headers out of a request.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, ContentHeadersError> {
        let mut packed = Vec::new();
        for (place, name) in (0u8..).zip(&CARRIED) {
            let mut values = headers.get_all(name).iter();
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(ContentHeadersError::Repeated(name.clone()));
            }
            let length = u16::try_from(value.len()).ok().filter(|&n| usize::from(n) <= CONTENT_HEADER_MAX);
            let Some(length) = length else { return Err(ContentHeadersError::TooLong(name.clone())) };
            packed.push(place);
            packed.extend_from_slice(&length.to_be_bytes());
            packed.extend_from_slice(value.as_bytes());
        }
        Ok(Self(packed))
    }

    /// Reads back what [`ContentHeaders::as_packed`] gave.
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

    /// The headers, as they were sent.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
