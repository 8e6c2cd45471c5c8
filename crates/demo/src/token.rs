//! Random names that cannot be guessed: of devices, pages and calls.

use doorbell_protocol::base64url;

use crate::error::DemoError;

/// 128 bits, which makes 22 characters: a topic has room for 32 (RFC 8030 s5.4).
const BYTES: usize = 16;
const CHARACTERS: usize = 22;

/// A random name in base64url. A call's name alone lets no one in: its requests must come from one of the two people in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(String);

impl Token {
    /// A new one.
    pub(crate) fn random() -> Result<Self, DemoError> {
        let mut bytes = [0; BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DemoError::Random)?;
        Ok(Self(base64url::encode(&bytes)))
    }

    /// Reads one that came from outside.
    pub(crate) fn parse(text: &str) -> Result<Self, DemoError> {
        let is_known = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if text.len() != CHARACTERS || !text.bytes().all(is_known) {
            return Err(DemoError::Malformed("this is not an identifier of this server"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
