//! `Topic` (RFC 8030 s5.4): a newer message with the same topic replaces the older one.

use http::HeaderMap;
use thiserror::Error;

/// The field's name.
pub const TOPIC: &str = "topic";

/// The longest topic, in characters.
pub const TOPIC_MAX: usize = 32;

/// One to 32 characters of the base64url alphabet. The value means nothing to the service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Box<str>);

/// Why a `Topic` field was refused; the answer is 400 (RFC 8030 s5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    /// More than one field.
    #[error("Topic was given more than once")]
    Repeated,
    /// A field without a value.
    #[error("Topic is empty")]
    Empty,
    /// More than 32 characters.
    #[error("Topic is longer than {TOPIC_MAX} characters")]
    TooLong,
    /// A character that is not of the base64url alphabet.
    #[error("Topic has a character that is not a letter, a digit, '-' or '_'")]
    Alphabet,
}

impl Topic {
    /// What the headers ask for: `None` when the field is absent.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, TopicError> {
        let mut values = headers.get_all(TOPIC).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(TopicError::Repeated);
        }
        value.to_str().map_err(|_| TopicError::Alphabet)?.trim_matches([' ', '\t']).parse().map(Some)
    }

    /// The topic's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match text.len() {
            0 => Err(TopicError::Empty),
            _ if !text.bytes().all(allowed) => Err(TopicError::Alphabet),
            1..=TOPIC_MAX => Ok(Self(text.into())),
            _ => Err(TopicError::TooLong),
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn parse(values: &[&[u8]]) -> Result<Option<Topic>, TopicError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TOPIC, HeaderValue::from_bytes(value).unwrap());
        }
        Topic::from_headers(&headers)
    }

    #[test]
    fn the_base64url_alphabet_up_to_32_characters_is_a_topic_ps_8030_5_4_1() {
        assert_eq!(parse(&[]), Ok(None));
        for text in ["a", "-_Az09", &"_".repeat(32)] {
            assert_eq!(parse(&[text.as_bytes()]).unwrap().unwrap().as_str(), text);
        }
    }

    #[test]
    fn everything_else_is_refused_ps_8030_5_4_1() {
        assert_eq!(parse(&[b"a", b"a"]), Err(TopicError::Repeated));
        assert_eq!(parse(&[b""]), Err(TopicError::Empty));
        assert_eq!(parse(&["_".repeat(33).as_bytes()]), Err(TopicError::TooLong));
        for bad in ["a.b", "a+b", "a/b", "a=", "a b", "a,b", "\"a\"", "ä"] {
            assert_eq!(parse(&[bad.as_bytes()]), Err(TopicError::Alphabet), "{bad}");
        }
        assert_eq!(parse(&[b"\xff"]), Err(TopicError::Alphabet));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_parses_is_unchanged(text: String) {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.as_str(), text);
            }
        }
    }
}
