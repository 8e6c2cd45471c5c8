//! The words inside the messages: channels, versions, codes, broadcasts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base64url;
use crate::id::MessageId;
use crate::receipt::Outcome;

/// The longest channelID, in bytes. Every client that is known sends a UUID of 36.
pub const CHANNEL_ID_MAX: usize = 256;

/// Broadcast ids and their versions.
pub type Broadcasts = BTreeMap<String, String>;

/// What the client calls one of its subscriptions: a UUID as a rule, and echoed exactly as it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ChannelId(String);

impl ChannelId {
    /// The text, as the client sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ChannelId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if (1..=CHANNEL_ID_MAX).contains(&text.len()) { Ok(Self(text)) } else { Err("a channelID has 1 to 256 bytes") }
    }
}

/// The name of a message for a client: its id in 11 characters.
///
/// Only the agent of the message gets it, and it is useless to others, so unlike a URL it needs no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub MessageId);

impl Version {
    /// The text on the wire.
    pub fn to_text(self) -> String {
        base64url::encode(&self.0.raw().to_be_bytes())
    }

    /// The version that `text` is, if it is one.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = base64url::decode(text).ok()?.try_into().ok()?;
        Some(Self(MessageId::from_raw(i64::from_be_bytes(bytes))))
    }
}

/// What a client reports about a message that it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCode {
    /// 100, or no code: it went to the web app.
    Delivered,
    /// 101: it could not be decrypted.
    Undecryptable,
    /// 102 and all others: it did not go to the web app, for instance because the client had it before.
    NotDelivered,
}

impl AckCode {
    /// The code on the wire.
    pub fn from_number(code: Option<i64>) -> Self {
        match code {
            None | Some(100) => Self::Delivered,
            Some(101) => Self::Undecryptable,
            Some(_) => Self::NotDelivered,
        }
    }

    /// The outcome in the receipt, if the application server asked for one.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Undecryptable => Outcome::Undecryptable,
            Self::NotDelivered => Outcome::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_code_has_its_receipt_fx_6() {
        let outcome = |code| AckCode::from_number(code).outcome();
        assert_eq!(outcome(None), Outcome::Delivered);
        assert_eq!(outcome(Some(100)), Outcome::Delivered);
        assert_eq!(outcome(Some(101)), Outcome::Undecryptable);
        for odd in [102, 0, -1, 999] {
            assert_eq!(outcome(Some(odd)), Outcome::Refused, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_version_leads_back_to_its_message(raw: i64) {
            let version = Version(MessageId::from_raw(raw));
            prop_assert_eq!(version.to_text().len(), 11);
            prop_assert_eq!(Version::from_text(&version.to_text()), Some(version));
        }

        #[test]
        fn no_text_makes_a_version_panic(text in ".{0,20}") {
            if let Some(version) = Version::from_text(&text) {
                prop_assert_eq!(version.to_text(), text.trim_end_matches('='));
            }
        }
    }
}
