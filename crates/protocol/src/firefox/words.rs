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

/// Which broadcasts a client gets, and which it asked for in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BroadcastNews {
    /// Those that have another version than the client has.
    #[serde(flatten)]
    pub changed: Broadcasts,
    /// Ids that the service does not have, each with a reason; Mozilla's service sends them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, &'static str>,
}

impl BroadcastNews {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.errors.is_empty()
    }
}

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

/// Ids have 63 bits: this one distinguishes the second version of a message from the first.
const SECOND: i64 = i64::MIN;

/// The name of a message for a client: its id in 11 characters, in one of two ways. A client that did not pass a message
/// to its web app remembers the first one, so a second attempt needs another.
///
/// Only the agent of the message gets it, and it is useless to others, so unlike a URL it needs no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The message.
    pub id: MessageId,
    /// Whether it is the second version.
    pub is_second: bool,
}

impl Version {
    /// The first version of a message.
    pub const fn first(id: MessageId) -> Self {
        Self { id, is_second: false }
    }

    /// The text on the wire.
    pub fn to_text(self) -> String {
        debug_assert!(self.id.raw() >= 0, "ids are positive numbers");
        let mark = if self.is_second { SECOND } else { 0 };
        base64url::encode(&(self.id.raw() | mark).to_be_bytes())
    }

    /// The version that `text` is, if it is one.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = base64url::decode(text).ok()?.try_into().ok()?;
        let number = i64::from_be_bytes(bytes);
        Some(Self { id: MessageId::from_raw(number & !SECOND), is_second: number & SECOND != 0 })
    }
}

/// What a client reports about a message that it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCode {
    /// 100, or no code: it went to the web app.
    Delivered,
    /// 101: it could not be decrypted.
    Undecryptable,
    /// 102 and all others: it did not go to the web app, because the client had it before, or because it failed.
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
        fn both_versions_lead_back_to_their_message(raw in 0..=i64::MAX) {
            let first = Version::first(MessageId::from_raw(raw));
            let second = Version { is_second: true, ..first };
            prop_assert_ne!(first.to_text(), second.to_text());
            for version in [first, second] {
                prop_assert_eq!(version.to_text().len(), 11);
                prop_assert_eq!(Version::from_text(&version.to_text()), Some(version));
            }
        }

        #[test]
        fn no_text_makes_a_version_panic(text in ".{0,20}") {
            if let Some(version) = Version::from_text(&text) {
                prop_assert_eq!(version.to_text(), text.trim_end_matches('='));
            }
        }
    }
}
