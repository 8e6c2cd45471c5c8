//! A user agent behind each of the three doors, on the wire: it subscribes, and takes what waits for it.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbell_protocol::mcs::frame::{Decoder, Encoder, Frame, tag};
use doorbell_protocol::mcs::wire::{Fields, Writer};
use futures_util::{SinkExt, StreamExt};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::Peer;
use crate::support::peer::BoxError;

const CHANNEL: &str = "a0a0a0a0-0000-4000-8000-000000000001";

/// A user agent with one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    identity: Identity,
    pub(crate) push: String,
}

#[derive(Clone, Debug)]
enum Identity {
    Http { subscription: String },
    Firefox { uaid: String },
    Chromium { id: u64, secret: u64 },
}

/// The doors that agents come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Firefox,
    Chromium,
}

impl Door {
    pub(crate) const ALL: [Self; 3] = [Self::Http, Self::Firefox, Self::Chromium];
}

impl Agent {
    /// A new agent, with a subscription that takes messages of every sender.
    pub(crate) async fn subscribe(door: Door, authority: &str) -> Self {
        let peer = Peer::connect_plain(authority).await.expect("the service is up");
        match door {
            Door::Http => {
                let made = peer.subscribe().await;
                Self { identity: Identity::Http { subscription: made.subscription }, push: made.push }
            }
            Door::Firefox => {
                let mut socket = Socket::open(authority, None).await.expect("the service is up");
                let register = json!({"messageType": "register", "channelID": CHANNEL});
                socket.send(&register).await.expect("the service is up");
                let answer = socket.next().await.expect("the service is up");
                let push = answer["pushEndpoint"].as_str().expect("an endpoint").to_owned();
                Self { identity: Identity::Firefox { uaid: socket.uaid }, push }
            }
            Door::Chromium => {
                let (id, secret) = check_in(&peer).await;
                let form = format!(
                    "app=org.chromium.linux&X-subtype=wp%3Ahttps%3A%2F%2Fsite.example%2F%23{id:016x}&device={id}\
                     &sender={SENDER}&scope=GCM"
                );
                let credentials = format!("AidLogin {id}:{secret}");
                let headers = [("authorization", &*credentials), ("content-type", "application/x-www-form-urlencoded")];
                let answer = peer.request(Method::POST, "/c2dm/register3", &headers, form.as_bytes()).await.unwrap();
                let body = String::from_utf8(answer.body.to_vec()).unwrap();
                let token = body.strip_prefix("token=").unwrap_or_else(|| panic!("{body}"));
                let push = format!("http://{authority}/fcm/send/{token}");
                Self { identity: Identity::Chromium { id, secret }, push }
            }
        }
    }

    /// Connects, and passes the body of each message to `take` and acknowledges it, until `take` returns whether that is
    /// enough, or the service goes away.
    pub(crate) async fn receive(&self, authority: &str, take: impl FnMut(String) -> bool) -> Result<(), BoxError> {
        match &self.identity {
            Identity::Http { subscription } => receive_over_http(authority, subscription, take).await,
            Identity::Firefox { uaid } => receive_as_firefox(authority, uaid, take).await,
            Identity::Chromium { id, secret } => receive_as_chromium(authority, *id, *secret, take).await,
        }
    }

    /// Waits until every one of these messages has come.
    pub(crate) async fn receives(&self, authority: &str, mut missing: HashSet<String>) -> HashSet<String> {
        if missing.is_empty() {
            return missing;
        }
        // The deadline is the caller's.
        let ended = self.receive(authority, |body| {
            missing.remove(&body);
            missing.is_empty()
        });
        ended.await.expect("the service is up");
        missing
    }
}

/// The public key that Chromium's registration names: subscriptions with a key take only its messages, and `*` none has.
const SENDER: &str = "1234567890";

async fn receive_over_http(
    authority: &str,
    subscription: &str,
    mut take: impl FnMut(String) -> bool,
) -> Result<(), BoxError> {
    let peer = Peer::connect_plain(authority).await?;
    let mut pushes = peer.monitor(subscription, true).await?;
    while let Some(push) = pushes.recv().await {
        // It counts as received before the answer: the service may delete it and die before it answers.
        let enough = take(text(&push.reply.body));
        let deleted = peer.request(Method::DELETE, &push.path, &[], b"").await?;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "a message that was just pushed can be deleted");
        if enough {
            return Ok(());
        }
    }
    Err("the service went away".into())
}

struct Socket {
    stream: tokio_tungstenite::WebSocketStream<TcpStream>,
    uaid: String,
}

impl Socket {
    async fn open(authority: &str, uaid: Option<&str>) -> Result<Self, BoxError> {
        let stream = TcpStream::connect(authority).await?;
        let (stream, _) = tokio_tungstenite::client_async(format!("ws://{authority}/"), stream).await?;
        let mut socket = Self { stream, uaid: String::new() };
        let hello =
            json!({"messageType": "hello", "use_webpush": true, "broadcasts": {}, "uaid": uaid.unwrap_or_default()});
        socket.send(&hello).await?;
        let answer = socket.next().await?;
        socket.uaid = answer["uaid"].as_str().ok_or("its hello names no uaid")?.to_owned();
        assert!(uaid.is_none_or(|uaid| uaid == socket.uaid), "the service has forgotten an agent: {answer}");
        Ok(socket)
    }

    async fn send(&mut self, message: &Value) -> Result<(), BoxError> {
        Ok(self.stream.send(Message::text(message.to_string())).await?)
    }

    async fn next(&mut self) -> Result<Value, BoxError> {
        loop {
            match self.stream.next().await.ok_or("the socket ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(_) => return Err("the service closed the socket".into()),
                _ => {}
            }
        }
    }
}

async fn receive_as_firefox(authority: &str, uaid: &str, mut take: impl FnMut(String) -> bool) -> Result<(), BoxError> {
    let mut socket = Socket::open(authority, Some(uaid)).await?;
    loop {
        let notification = socket.next().await?;
        let Some(data) = notification["data"].as_str() else { continue };
        let enough = take(text(&URL_SAFE_NO_PAD.decode(data)?));
        let updates = json!([{"channelID": CHANNEL, "version": notification["version"], "code": 100}]);
        socket.send(&json!({"messageType": "ack", "updates": updates})).await?;
        if enough {
            return Ok(());
        }
    }
}

/// The first check-in: id and secret 0, version 3.
async fn check_in(peer: &Peer) -> (u64, u64) {
    let question = Writer::new().varint(2, 0).fixed64(13, 0).varint(14, 3).finish();
    let headers = [("content-type", "application/x-protobuf")];
    let answer = peer.request(Method::POST, "/checkin", &headers, &question).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let number = |wanted| {
        let mut fields = Fields::new(&answer.body).map(Result::unwrap);
        fields.find(|field| field.number == wanted).and_then(|field| field.fixed64().ok()).expect("a device")
    };
    (number(7), number(8))
}

async fn receive_as_chromium(
    authority: &str,
    id: u64,
    secret: u64,
    mut take: impl FnMut(String) -> bool,
) -> Result<(), BoxError> {
    let mut stream = TcpStream::connect(authority).await?;
    let (mut decoder, mut encoder, mut received) = (Decoder::new(), Encoder::new(), 0u64);
    let (id_text, secret_text) = (id.to_string(), secret.to_string());
    let login = Writer::new().bytes(1, "chrome-156.0.0.0").bytes(2, "mcs.android.com").bytes(3, &id_text);
    let login = login.bytes(4, &id_text).bytes(5, secret_text).bytes(6, format!("android-{id:x}"));
    let login = login.varint(12, 0).varint(14, 1).varint(16, 2).varint(17, 1);
    let mut out = Vec::new();
    encoder.write(&Frame { tag: tag::LOGIN_REQUEST, body: login.finish().into() }, &mut out);
    loop {
        stream.write_all(&std::mem::take(&mut out)).await?;
        let frame = loop {
            if let Some(frame) = decoder.next_frame()? {
                break frame;
            }
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await?;
            if read == 0 {
                return Err("the service went away".into());
            }
            decoder.feed(&bytes[..read]);
        };
        received += 1;
        match frame.tag {
            tag::LOGIN_RESPONSE => assert!(field(&frame, 3).is_none(), "the service has forgotten a device"),
            tag::DATA_MESSAGE_STANZA => {
                let enough = take(text(&field(&frame, 21).ok_or("a message without a body")?));
                // An IqStanza with extension 13 acknowledges everything that has come so far.
                let extension = Writer::new().varint(1, 13).bytes(2, "").finish();
                let ack = Writer::new().varint(2, 1).bytes(3, "").bytes(7, extension).varint(10, received);
                encoder.write(&Frame { tag: tag::IQ_STANZA, body: ack.finish().into() }, &mut out);
                if enough {
                    stream.write_all(&out).await?;
                    return Ok(());
                }
            }
            tag::CLOSE => return Err("the service closed the stream".into()),
            _ => {}
        }
    }
}

fn field(frame: &Frame, wanted: u32) -> Option<Vec<u8>> {
    let mut fields = Fields::new(&frame.body).map(Result::unwrap);
    fields.find(|field| field.number == wanted).map(|field| field.bytes().unwrap().to_vec())
}

/// What is before the content of an `aes128gcm` body (RFC 8188 s2.1), with a key that begins as keys do; and after it.
const HEAD: [u8; 22] = [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 16, 0, 65, 4];
const KEY_REST: usize = 64;
const TAIL: usize = 17;

/// `text` in the form of an encrypted message: to a browser nothing else may be sent.
pub(crate) fn wrapped(text: &str) -> Vec<u8> {
    [&HEAD[..], &[7; KEY_REST], text.as_bytes(), &[7; TAIL]].concat()
}

fn text(body: &[u8]) -> String {
    let content = &body[HEAD.len() + KEY_REST..body.len() - TAIL];
    String::from_utf8(content.to_vec()).expect("the bodies of these tests are text")
}
