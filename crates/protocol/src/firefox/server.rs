//! What the service sends.

use http::header::CONTENT_ENCODING;
use serde::Serialize;

use super::words::{BroadcastNews, ChannelId, Version};
use crate::base64url;
use crate::headers::coding::{CRYPTO_KEY, ENCRYPTION};
use crate::headers::params;
use crate::message::ContentHeaders;

/// One message to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "messageType", rename_all = "lowercase")]
pub enum ServerMessage<'a> {
    /// The answer to `hello`.
    Hello {
        /// The client's id from now on; another one than it sent means that it begins anew. 128 characters at most.
        uaid: &'a str,
        /// 200; Firefox does not look at it.
        status: u16,
        /// Without `true` a subscription in Firefox has no keys.
        use_webpush: bool,
        /// The broadcasts that have another version than the client has.
        broadcasts: &'a BroadcastNews,
    },
    /// The answer to `register`.
    Register {
        /// The subscription, as the client called it.
        #[serde(rename = "channelID")]
        channel: &'a ChannelId,
        /// 200, or that of the problem.
        status: u16,
        /// The URL of the push resource, or what went wrong.
        #[serde(rename = "pushEndpoint")]
        endpoint: &'a str,
    },
    /// The answer to `unregister`.
    Unregister {
        /// The subscription, as the client called it.
        #[serde(rename = "channelID")]
        channel: &'a ChannelId,
        /// 200, also if there was none.
        status: u16,
    },
    /// Broadcasts that have another version than the client has.
    Broadcast {
        /// Their versions.
        broadcasts: &'a BroadcastNews,
    },
    /// The answer to `urgency`.
    Urgency {
        /// 200, or 400 for a word that is not known.
        status: u16,
    },
}

/// A push message on its way to a client. Its urgency, topic and TTL stay behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The subscription, as the client calls it.
    channel: &'a str,
    version: Version,
    headers: Headers<'a>,
    body: &'a [u8],
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Headers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crypto_key: Option<String>,
}

impl<'a> Notification<'a> {
    /// The message with this body and these headers. Without a body it has no headers either.
    pub fn new(channel: &'a str, version: Version, headers: &'a ContentHeaders, body: &'a [u8]) -> Self {
        let headers = Headers {
            encoding: headers.get(&CONTENT_ENCODING),
            encryption: headers.get(&ENCRYPTION).map(bare),
            crypto_key: headers.get(&CRYPTO_KEY).map(bare),
        };
        Self { channel, version, headers, body }
    }

    /// Appends the frame's text, without the detour over a text of the body: nothing in base64url needs to be escaped.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"messageType":"notification","channelID":"#);
        write_json(&self.channel, out);
        out.extend_from_slice(br#","version":""#);
        out.extend_from_slice(self.version.to_text().as_bytes());
        if self.body.is_empty() {
            out.extend_from_slice(br#""}"#);
            return;
        }
        out.extend_from_slice(br#"","data":""#);
        base64url::append(self.body, out);
        out.extend_from_slice(br#"","headers":"#);
        write_json(&self.headers, out);
        out.push(b'}');
    }
}

/// Appends a value.
fn write_json(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text and numbers with names that are text have a JSON form");
}

impl ServerMessage<'_> {
    /// The answer to `{}`.
    pub const PONG: &'static str = "{}";

    /// Appends the frame's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_json(self, out);
    }
}

/// The parameters of a header without quotes and padding, which Firefox's decoder does not accept, and with their names in
/// the lower case that it looks for.
fn bare(field: &str) -> String {
    let parameter = |piece: &str| match params::pair(piece) {
        (name, Some(value)) => {
            format!("{}={}", name.to_ascii_lowercase(), params::unquote(value).trim_end_matches('='))
        }
        (name, None) => name.to_ascii_lowercase(),
    };
    let entry = |entry: &str| params::split(entry, ';').map(parameter).collect::<Vec<_>>().join(";");
    params::split(field, ',').map(entry).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::id::MessageId;

    const VERSION: Version = Version::first(MessageId::from_raw(7));

    fn channel() -> ChannelId {
        ChannelId::try_from("d9b74644-4f97-46aa-b8fa-9393985cd6cd".to_owned()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> ContentHeaders {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        ContentHeaders::from_headers(&pairs.iter().map(pair).collect::<HeaderMap>()).unwrap()
    }

    fn text(message: &ServerMessage<'_>) -> String {
        let mut out = Vec::new();
        message.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn notified(notification: &Notification<'_>) -> String {
        let mut out = Vec::new();
        notification.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_have_every_member_that_firefox_reads_fx_1_and_3_and_4() {
        let (channel, broadcasts) = (channel(), BroadcastNews::default());
        let hello = ServerMessage::Hello { uaid: "abc", status: 200, use_webpush: true, broadcasts: &broadcasts };
        let expected = r#"{"messageType":"hello","uaid":"abc","status":200,"use_webpush":true,"broadcasts":{}}"#;
        assert_eq!(text(&hello), expected);
        let register = ServerMessage::Register { channel: &channel, status: 200, endpoint: "https://a/p/b" };
        let expected = r#"{"messageType":"register","channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd","status":200,"pushEndpoint":"https://a/p/b"}"#;
        assert_eq!(text(&register), expected);
        let unregister = ServerMessage::Unregister { channel: &channel, status: 200 };
        let expected =
            r#"{"messageType":"unregister","channelID":"d9b74644-4f97-46aa-b8fa-9393985cd6cd","status":200}"#;
        assert_eq!(text(&unregister), expected);
        assert_eq!(text(&ServerMessage::Urgency { status: 200 }), r#"{"messageType":"urgency","status":200}"#);
        let mut news = BroadcastNews { changed: [("a".to_owned(), "\"2\"".to_owned())].into(), ..broadcasts };
        let broadcast = ServerMessage::Broadcast { broadcasts: &news };
        assert_eq!(text(&broadcast), r#"{"messageType":"broadcast","broadcasts":{"a":"\"2\""}}"#);
        news.errors.insert("x".to_owned(), "why");
        let broadcast = ServerMessage::Broadcast { broadcasts: &news };
        let expected = r#"{"messageType":"broadcast","broadcasts":{"a":"\"2\"","errors":{"x":"why"}}}"#;
        assert_eq!(text(&broadcast), expected);
    }

    #[test]
    fn a_notification_carries_body_and_coding_and_neither_if_it_is_empty_fx_5() {
        let coded = headers(&[("content-encoding", "aes128gcm"), ("content-type", "text/plain")]);
        let full = Notification::new("c", VERSION, &coded, b"\xff\xfe~");
        let expected = r#"{"messageType":"notification","channelID":"c","version":"AAAAAAAAAAc","data":"__5-","headers":{"encoding":"aes128gcm"}}"#;
        assert_eq!(notified(&full), expected);
        let empty = Notification::new("c", VERSION, &coded, b"");
        assert_eq!(notified(&empty), r#"{"messageType":"notification","channelID":"c","version":"AAAAAAAAAAc"}"#);
    }

    #[test]
    fn the_older_coding_keeps_its_parameters_without_quotes_and_padding_fx_5_cr_aesgcm_5() {
        let older = headers(&[
            ("content-encoding", "aesgcm"),
            ("encryption", "keyid=\"p256dh\"; Salt=\"lngarbyKfMoi9Z75xYXmkg==\""),
            ("crypto-key", "keyid=p256dh;DH=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7=,p256ecdsa=BA1H"),
        ]);
        let text = notified(&Notification::new("c", VERSION, &older, b"x"));
        assert!(text.contains(r#""encryption":"keyid=p256dh;salt=lngarbyKfMoi9Z75xYXmkg""#), "{text}");
        let key = r#""crypto_key":"keyid=p256dh;dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7""#;
        assert!(text.contains(key), "{text}");
    }
}
