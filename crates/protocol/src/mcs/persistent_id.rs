//! The name of a message on the stream, by which the device lists it at its next login. Only the message's own agent
//! sees it.

use crate::id::MessageId;

/// How many hexadecimal digits an id has. One text names one message: a profile from another push
/// service may list ids of that service, which must not look like ours.
const DIGITS: usize = 16;

/// The text of a message's id.
pub fn to_text(id: MessageId) -> String {
    format!("{:016x}", id.raw())
}

/// The id that `text` is, if it is one of ours.
pub fn from_text(text: &str) -> Option<MessageId> {
    let canonical = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number = canonical.then(|| u64::from_str_radix(text, 16).ok())??;
    i64::try_from(number).ok().map(MessageId::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcs::client::PERSISTENT_ID_MAX;
    use proptest::prelude::*;

    #[test]
    fn what_another_service_called_its_messages_is_none_of_ours() {
        for text in ["", "0:1700000000000000%e609af1cf9fd7ecd", "id-14", "+000000000000001", "000000000000000A"] {
            assert_eq!(from_text(text), None, "{text}");
        }
        assert_eq!(from_text("8000000000000000"), None, "ids have 63 bits");
    }

    proptest! {
        #[test]
        fn an_id_comes_back_and_is_short(raw in 0..=i64::MAX) {
            let text = to_text(MessageId::from_raw(raw));
            prop_assert!(text.len() <= PERSISTENT_ID_MAX);
            prop_assert_eq!(from_text(&text), Some(MessageId::from_raw(raw)));
        }

        #[test]
        fn a_text_that_is_an_id_is_its_only_text(text in "[0-9a-f]{15,17}") {
            if let Some(id) = from_text(&text) {
                prop_assert_eq!(to_text(id), text);
            }
        }
    }
}
