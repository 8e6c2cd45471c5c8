//! The part of a registration that each delivery repeats word for word: otherwise Chromium silently drops the message.
//! It is stored as the subscription's channel.

use doorbell_protocol::key::{KeyError, PublicKey};

/// Separates the three parts of a channel. The parser of the form rejects control characters in them.
const SEPARATOR: char = '\n';

/// The destination of a message inside a browser. The subtype contains the page's origin, so this has no `Debug`
/// (invariant 8).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// The browser's own name.
    pub(super) app: &'a str,
    /// The subscription's name, which contains the page's origin.
    pub(super) subtype: &'a str,
    /// The page's application server key, or what it sent instead.
    pub(super) sender: &'a str,
}

impl<'a> Address<'a> {
    /// The channel, in the format of docs/store-format.md.
    pub(super) fn to_channel(self) -> String {
        [self.app, self.subtype, self.sender].join(&SEPARATOR.to_string())
    }

    /// The address in a channel; `None` for a channel from another door.
    pub(super) fn from_channel(channel: &'a str) -> Option<Self> {
        let mut parts = channel.split(SEPARATOR);
        let address = Self { app: parts.next()?, subtype: parts.next()?, sender: parts.next()? };
        parts.next().is_none().then_some(address)
    }

    /// The only key that may send here. Pages may also send a number, as before VAPID; then any client may send.
    pub(super) fn restriction(self) -> Result<Option<PublicKey>, KeyError> {
        match PublicKey::from_base64url(self.sender) {
            Ok(key) => Ok(Some(key)),
            Err(KeyError::Encoding | KeyError::Length(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

    #[test]
    fn an_address_comes_back_out_of_its_channel_and_other_doors_channels_are_none() {
        let address = Address { app: "org.chromium.linux", subtype: "wp:https://example.org/#1-V2", sender: KEY };
        assert!(Address::from_channel(&address.to_channel()) == Some(address));
        for other in ["", "d9b74644-4f97-46aa-b8fa-9393985cd6cd", "a\nb", "a\nb\nc\nd"] {
            assert!(Address::from_channel(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_key_restricts_a_number_does_not_and_a_point_off_the_curve_is_neither() {
        let of = |sender| Address { app: "a", subtype: "s", sender }.restriction();
        assert_eq!(of(KEY).unwrap().map(|key| key.to_base64url()).as_deref(), Some(KEY));
        assert!(of("745476177629").unwrap().is_none());
        assert!(of("not base64url!").unwrap().is_none());
        assert!(of(&KEY.replace("BA1H", "BA1I")).is_err());
    }
}
