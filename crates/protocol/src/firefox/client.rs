//! What clients send.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::words::{AckCode, Broadcasts, ChannelId, Version};
use crate::headers::urgency::Urgency;

/// One message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// `hello`: the first message of a connection, and the only one of its kind.
    Hello {
        /// The id that an earlier connection was given.
        uaid: Option<String>,
        /// The broadcasts that the client follows, with the versions that it has. `None` if the hello has no such member:
        /// Firefox always sends it, and other programs do not.
        broadcasts: Option<Broadcasts>,
    },
    /// `register`: a new subscription.
    Register {
        /// What the client calls it.
        channel: ChannelId,
        /// The VAPID key that it is restricted to, as the client wrote it.
        key: Option<String>,
    },
    /// `unregister`: the end of a subscription. The code, the reason of the client, changes nothing.
    Unregister {
        /// The subscription.
        channel: ChannelId,
    },
    /// `broadcast_subscribe`: more broadcasts to follow.
    BroadcastSubscribe {
        /// The broadcasts, with the versions that the client has.
        broadcasts: Broadcasts,
    },
    /// `ack`: messages that the client has processed.
    Ack {
        /// Each of them. What is not a version of ours is left out.
        updates: Vec<Acknowledged>,
    },
    /// `nack`: the web app's own code failed on a message; the client acknowledges the message separately.
    Nack,
    /// `{}` or `ping`: the client checks the connection.
    Ping,
    /// `urgency`: the least urgency that the client wants now; `None` if the word is not known.
    Urgency {
        /// What it asks for.
        min: Option<Urgency>,
    },
    /// A message of a later dialect.
    Unknown,
}

/// One acknowledged message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Which one.
    pub version: Version,
    /// What the client did with it.
    pub code: AckCode,
}

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Not a JSON object whose members have the types that they should have.
    #[error("not a JSON object of this protocol")]
    Json,
    /// A member that the message needs is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// Every member of every message.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "messageType", borrow)]
    kind: Option<Cow<'a, str>>,
    uaid: Option<String>,
    broadcasts: Option<BTreeMap<String, Value>>,
    #[serde(rename = "channelID")]
    channel: Option<ChannelId>,
    key: Option<String>,
    #[serde(borrow)]
    updates: Option<Vec<Update<'a>>>,
    min: Option<String>,
}

/// A message of which nothing but the kind is looked at.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "messageType")]
    kind: String,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn is_unknown(&self) -> bool {
        let known = ["hello", "register", "unregister", "broadcast_subscribe", "ack", "nack", "ping", "urgency"];
        !known.contains(&self.kind.as_str())
    }
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    code: Option<i64>,
}

impl ClientMessage {
    /// Reads one frame.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let frame: Frame<'_> = match serde_json::from_str(text) {
            Ok(frame) => frame,
            // The members of a message of a later dialect may be anything.
            Err(_) => return Kind::parse(text).filter(Kind::is_unknown).map(|_| Self::Unknown).ok_or(Malformed::Json),
        };
        let broadcasts = frame.broadcasts.map(|all| {
            let text = |(id, version)| if let Value::String(version) = version { Some((id, version)) } else { None };
            all.into_iter().filter_map(text).collect::<Broadcasts>()
        });
        let channel = |channel: Option<ChannelId>| channel.ok_or(Malformed::Missing("channelID"));
        Ok(match frame.kind.as_deref() {
            None | Some("ping") => Self::Ping,
            Some("hello") => Self::Hello { uaid: frame.uaid.filter(|uaid| !uaid.is_empty()), broadcasts },
            Some("register") => {
                Self::Register { channel: channel(frame.channel)?, key: frame.key.filter(|key| !key.is_empty()) }
            }
            Some("unregister") => Self::Unregister { channel: channel(frame.channel)? },
            Some("broadcast_subscribe") => Self::BroadcastSubscribe { broadcasts: broadcasts.unwrap_or_default() },
            Some("ack") => {
                let updates = frame.updates.ok_or(Malformed::Missing("updates"))?;
                Self::Ack { updates: updates.iter().filter_map(Acknowledged::from_update).collect() }
            }
            Some("nack") => Self::Nack,
            Some("urgency") => Self::Urgency { min: frame.min.and_then(|word| word.parse().ok()) },
            Some(_) => Self::Unknown,
        })
    }
}

impl Acknowledged {
    fn from_update(update: &Update<'_>) -> Option<Self> {
        let version = Version::from_text(&update.version)?;
        Some(Self { version, code: AckCode::from_number(update.code) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::MessageId;

    const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

    fn channel() -> ChannelId {
        ChannelId::try_from(CHANNEL.to_owned()).unwrap()
    }

    fn parse(text: &str) -> Result<ClientMessage, Malformed> {
        ClientMessage::parse(text)
    }

    #[test]
    fn hello_is_read_as_firefox_and_as_kde_send_it_fx_1() {
        let firefox = r#"{"messageType":"hello","broadcasts":{"remote-settings/monitor_changes":"\"168\"","odd":5},"use_webpush":true,"uaid":"c53"}"#;
        let broadcasts = [("remote-settings/monitor_changes".to_owned(), "\"168\"".to_owned())].into();
        assert_eq!(parse(firefox), Ok(ClientMessage::Hello { uaid: Some("c53".into()), broadcasts: Some(broadcasts) }));
        let none = parse(r#"{"messageType":"hello","broadcasts":{}}"#);
        assert_eq!(none, Ok(ClientMessage::Hello { uaid: None, broadcasts: Some(Broadcasts::new()) }));
        let unknown = Ok(ClientMessage::Hello { uaid: None, broadcasts: None });
        assert_eq!(parse(r#"{"messageType":"hello"}"#), unknown);
        assert_eq!(parse(r#"{"messageType":"hello","uaid":"","broadcasts":null,"channelIDs":[]}"#), unknown);
    }

    #[test]
    fn register_and_unregister_are_read_with_and_without_what_is_optional_fx_3_and_4() {
        let with_key =
            r#"{"channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd","messageType":"register","key":"BDw9=="}"#;
        let key = Some("BDw9==".to_owned());
        assert_eq!(parse(with_key), Ok(ClientMessage::Register { channel: channel(), key }));
        let without = format!(r#"{{"messageType":"register","channelID":"{CHANNEL}","key":null}}"#);
        assert_eq!(parse(&without), Ok(ClientMessage::Register { channel: channel(), key: None }));
        let unregister = format!(r#"{{"messageType":"unregister","channelID":"{CHANNEL}","code":201}}"#);
        assert_eq!(parse(&unregister), Ok(ClientMessage::Unregister { channel: channel() }));
        assert_eq!(parse(r#"{"messageType":"unregister"}"#), Err(Malformed::Missing("channelID")));
        let long = format!(r#"{{"messageType":"register","channelID":"{}"}}"#, "c".repeat(257));
        assert_eq!(parse(&long), Err(Malformed::Json));
    }

    #[test]
    fn acknowledgements_are_read_with_and_without_a_code_and_strangers_are_left_out_fx_6() {
        let version = Version::first(MessageId::from_raw(7));
        let text = format!(
            r#"{{"messageType":"ack","updates":[{{"channelID":"{CHANNEL}","version":"{v}","code":101}},
            {{"version":"{v}"}},{{"channelID":"x","version":"not ours","code":100}}]}}"#,
            v = version.to_text()
        );
        let updates = vec![
            Acknowledged { version, code: AckCode::Undecryptable },
            Acknowledged { version, code: AckCode::Delivered },
        ];
        assert_eq!(parse(&text), Ok(ClientMessage::Ack { updates }));
        assert_eq!(parse(r#"{"messageType":"ack"}"#), Err(Malformed::Missing("updates")));
        assert_eq!(parse(r#"{"messageType":"nack","version":"x","code":301}"#), Ok(ClientMessage::Nack));
    }

    #[test]
    fn pings_urgencies_broadcasts_and_what_comes_later_are_read_fx_7_and_9_and_11() {
        assert_eq!(parse("{}"), Ok(ClientMessage::Ping));
        assert_eq!(parse(r#"{"messageType":"ping"}"#), Ok(ClientMessage::Ping));
        let urgency = |word: &str| parse(&format!(r#"{{"messageType":"urgency","min":"{word}"}}"#));
        assert_eq!(urgency("very-low"), Ok(ClientMessage::Urgency { min: Some(Urgency::VeryLow) }));
        assert_eq!(urgency("urgent"), Ok(ClientMessage::Urgency { min: None }));
        let broadcasts = [("a".to_owned(), "1".to_owned())].into();
        let subscribe = r#"{"messageType":"broadcast_subscribe","broadcasts":{"a":"1"}}"#;
        assert_eq!(parse(subscribe), Ok(ClientMessage::BroadcastSubscribe { broadcasts }));
        for later in [r#"{"messageType":"goodbye","why":[1]}"#, r#"{"messageType":"goodbye","updates":7,"key":{}}"#] {
            assert_eq!(parse(later), Ok(ClientMessage::Unknown));
        }
    }

    #[test]
    fn what_is_no_object_of_this_protocol_is_malformed() {
        for text in ["", "[]", "null", "7", "{", r#"{"messageType":5}"#, r#"{"messageType":"hello","uaid":5}"#] {
            assert_eq!(parse(text), Err(Malformed::Json), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"(\{|\}|\[|\]|"|:|,|messageType|hello|ack|updates|version|channelID|\PC){0,40}"#) {
            let _ = parse(&text);
        }
    }
}
