//! What the push service sends on the stream. Each field was tested with Chromium 156; its comment has what Chromium needs
//! and ignores.
//!
//! There are no other messages: Chromium closes the connection on a tag that it does not know.

use super::frame::{Frame, tag};
use super::wire::Writer;
use crate::time::UnixMs;

/// One stanza from us.
#[derive(Clone, PartialEq, Eq)]
pub enum ServerStanza<'a> {
    /// The first, if the login is right.
    LoginAccepted(LoginAccepted<'a>),
    /// The first, if it is not. Chromium closes the connection and tries again after about 23 s, then with growing
    /// pauses; its pages see their subscriptions as before.
    LoginRefused(LoginRefused<'a>),
    /// Wants a HeartbeatAck, which acknowledges all that came before.
    HeartbeatPing,
    /// Answers a HeartbeatPing.
    HeartbeatAck,
    /// A push message.
    DataMessage(DataMessage<'a>),
    /// The service sends nothing more. Chromium closes the connection and logs in again: after 0.1 s if the login is older
    /// than 10 s, else after about 30 s.
    Close,
}

/// Who is logged in from now on.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginAccepted<'a> {
    /// The client's name from its login, as the captured servers repeat it. Chromium 156 logs it and needs none.
    pub client: &'a str,
    /// How long the line may be quiet before Chromium sends a HeartbeatPing, in milliseconds. Without an answer it
    /// connects anew.
    pub heartbeat_ms: u32,
    /// The server's time; Chromium shows it in its log only.
    pub now: UnixMs,
}

/// Why the login was rejected.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRefused<'a> {
    /// The client's name from its login.
    pub client: &'a str,
    /// A number like those of HTTP, not 0 (which means success to Chromium).
    pub code: u32,
    /// For Chromium's log.
    pub message: &'a str,
}

/// A push message, addressed with the values of the registration. Chromium also acknowledges what it cannot deliver, so a
/// wrong address looks like success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataMessage<'a> {
    /// By this the device names the message when it logs in. It must be printable text of at most
    /// [`super::client::PERSISTENT_ID_MAX`] bytes.
    pub persistent_id: &'a str,
    /// The registration's `sender`. With another Chromium does not find the keys and drops the message silently.
    pub from: &'a str,
    /// The registration's `app`. With another Chromium drops the message silently.
    pub category: &'a str,
    /// The registration's `X-subtype`. With another, or without it, Chromium drops the message silently (unless it
    /// is the category and nothing else).
    pub subtype: &'a str,
    /// Names and values for the encryption of the body: `content-encoding`, and for the older coding `encryption`
    /// and `crypto-key`. Without `content-encoding` the page gets the event but no data.
    pub app_data: &'a [(&'a str, &'a str)],
    /// The body, as the application server sent it; `None` gives an event without data.
    pub body: Option<&'a [u8]>,
    /// The message's TTL in seconds. Chromium ignores it and delivers the message.
    pub ttl_s: u32,
    /// When we accepted it.
    pub sent: UnixMs,
    /// Whether Chromium shall acknowledge at once; else it waits for ten messages or its next heartbeat.
    pub immediate_ack: bool,
}

impl ServerStanza<'_> {
    /// The frame. `received` is how many stanzas of the client's have arrived: with that number it forgets what it
    /// keeps for its next login, including what it listed in the last one.
    pub fn to_frame(&self, received: u32) -> Frame {
        let received = u64::from(received);
        let (tag, body) = match self {
            Self::LoginAccepted(login) => (tag::LOGIN_RESPONSE, login.write(received)),
            Self::LoginRefused(refusal) => (tag::LOGIN_RESPONSE, refusal.write()),
            Self::HeartbeatPing => (tag::HEARTBEAT_PING, Writer::new().varint(2, received)),
            Self::HeartbeatAck => (tag::HEARTBEAT_ACK, Writer::new().varint(2, received)),
            Self::DataMessage(message) => (tag::DATA_MESSAGE_STANZA, message.write(received)),
            Self::Close => (tag::CLOSE, Writer::new()),
        };
        Frame { tag, body: body.finish().into() }
    }
}

impl LoginAccepted<'_> {
    /// Fields: 1 id, 5 our stream id, 6 the client's, 7 heartbeats {1 upload statistics, 3 interval}, 8 our time.
    fn write(&self, received: u64) -> Writer {
        let heartbeat = Writer::new().varint(1, 0).varint(3, u64::from(self.heartbeat_ms)).finish();
        let login = Writer::new().bytes(1, self.client).varint(5, 1).varint(6, received);
        login.bytes(7, heartbeat).varint(8, self.now.as_millis().max(0).unsigned_abs())
    }
}

impl LoginRefused<'_> {
    /// Fields: 1 id, 3 error {1 code, 2 message}. Nothing of the login is confirmed: the client keeps its list.
    fn write(&self) -> Writer {
        let error = Writer::new().varint(1, u64::from(self.code.max(1))).bytes(2, self.message).finish();
        Writer::new().bytes(1, self.client).bytes(3, error)
    }
}

impl DataMessage<'_> {
    /// Fields: 2 id, 3 from, 5 category, 7 app data {1 name, 2 value} (repeated), 9 persistent id, 11 what has arrived
    /// here, 17 TTL, 18 when it was sent in seconds, 21 the body, 24 whether to acknowledge at once.
    fn write(&self, received: u64) -> Writer {
        let pair = |name: &str, value: &str| Writer::new().bytes(1, name).bytes(2, value).finish();
        let mut message = Writer::new().bytes(2, self.persistent_id).bytes(3, self.from).bytes(5, self.category);
        message = message.bytes(7, pair("subtype", self.subtype));
        for (name, value) in self.app_data {
            message = message.bytes(7, pair(name, value));
        }
        message = message.bytes(9, self.persistent_id).varint(11, received).varint(17, u64::from(self.ttl_s));
        message = message.varint(18, self.sent.as_secs().max(0).unsigned_abs());
        if let Some(body) = self.body {
            message = message.bytes(21, body);
        }
        if self.immediate_ack { message.varint(24, 1) } else { message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcs::frame::{Encoder, VERSION};
    use crate::mcs::hex;

    fn bytes(stanza: &ServerStanza<'_>, received: u32) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        encoder.write(&stanza.to_frame(received), &mut out);
        assert_eq!(out.remove(0), VERSION);
        out
    }

    /// Chromium 156.0.8078.108 went to its connected state on these bytes.
    #[test]
    fn a_login_is_answered_with_the_bytes_that_chromium_took() {
        let now = UnixMs::from_millis(1_795_744_909_843);
        let login = LoginAccepted { client: "chrome-156.0.8078.108", heartbeat_ms: 60_000, now };
        assert_eq!(
            bytes(&ServerStanza::LoginAccepted(login), 1),
            hex("032a0a156368726f6d652d3135362e302e383037382e313038280130013a06080018e0d403409394f3d5a134")
        );
    }

    /// Chromium 156.0.8078.108 took these bytes, decrypted the body and handed "one" to its service worker.
    #[test]
    fn a_message_has_the_bytes_that_chromium_decrypted() {
        let body = hex(BODY);
        let message = DataMessage {
            persistent_id: "id-1",
            from: "BC_9XIqDuRxKCTzTzCVjw1hZ83Udxi2DNNDThTjm95aiTkmT41xBly7WlQ5kv3GBJ_vqiz56kbC9ckdAsgn9DXs",
            category: "org.chromium.linux",
            subtype: "wp:http://localhost:18201/#B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2",
            app_data: &[("content-encoding", "aes128gcm")],
            body: Some(&body),
            ttl_s: 3600,
            sent: UnixMs::from_secs(1_795_744_912),
            immediate_ack: true,
        };
        assert_eq!(bytes(&ServerStanza::DataMessage(message), 1), hex(&MESSAGE.replace("BODY", BODY)));
    }

    const BODY: &str = "\
        0eda1dd63bad5dd5f6ed5076c87fbd9d0000100041042f4f344df14b1dd81e701fa9923afd453e48964f1250f6106b5739\
        24e9eb4fd2877af90b80dc81507f6a599496abc14a19c3c59c77e17551bb71f3af6076bd38812ca48186770dbd4b1bab45\
        1934a0401abaf88d";
    const MESSAGE: &str = "\
        08e102120469642d311a5742435f39584971447552784b43547a547a43566a7731685a38335564786932444e4e44546854\
        6a6d39356169546b6d54343178426c7937576c51356b763347424a5f7671697a35366b624339636b644173676e39445873\
        2a126f72672e6368726f6d69756d2e6c696e75783a4a0a0773756274797065123f77703a687474703a2f2f6c6f63616c68\
        6f73743a31383230312f2342313444304145352d393230312d344639342d414443412d4544434130353343442d56323a1d\
        0a10636f6e74656e742d656e636f64696e67120961657331323867636d4a0469642d3158018801901c900190c9a3d806aa\
        016aBODYc00101";

    #[test]
    fn the_small_ones_have_the_bytes_that_chromium_took() {
        assert_eq!(bytes(&ServerStanza::HeartbeatAck, 2), hex("01021002"));
        assert_eq!(bytes(&ServerStanza::HeartbeatPing, 12), hex("0002100c"));
        assert_eq!(bytes(&ServerStanza::Close, 17), hex("0400"));
    }

    #[test]
    fn a_refusal_has_a_code_that_chromium_does_not_take_for_success() {
        let refused = |code| bytes(&ServerStanza::LoginRefused(LoginRefused { client: "x", code, message: "no" }), 1);
        assert_eq!(refused(401), hex("030c0a01781a07089103 12026e6f"));
        assert_eq!(refused(0), refused(1));
    }

    #[test]
    fn without_a_body_or_an_order_to_acknowledge_the_fields_are_left_out() {
        let message = DataMessage {
            persistent_id: "1",
            from: "s",
            category: "a",
            subtype: "w",
            app_data: &[],
            body: None,
            ttl_s: 0,
            sent: UnixMs::from_millis(-1),
            immediate_ack: false,
        };
        let expected = "0822120131 1a0173 2a0161 3a0c0a0773756274797065120177 4a0131 5802 880100 900100";
        assert_eq!(bytes(&ServerStanza::DataMessage(message), 2), hex(expected));
    }
}
