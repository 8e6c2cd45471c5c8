//! A client of Firefox's WebSocket protocol that works on frames and JSON only. Each dialect has its own messages.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::within;

/// A connection, before or after its hello.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// A push message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    pub channel: String,
    pub version: String,
    pub text: String,
}

impl Socket {
    /// Opens a socket as KDE does: no subprotocol, no Origin.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_at(address, "/").await
    }

    pub async fn open_at(address: SocketAddr, path: &str) -> Self {
        let request = format!("ws://{address}{path}").into_client_request().unwrap();
        Self::with(address, request).await.0
    }

    /// Opens one as Firefox does, and returns the subprotocol that the service chose.
    pub async fn open_like_firefox(address: SocketAddr) -> (Self, Option<HeaderValue>) {
        let mut request = format!("ws://{address}/").into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("push-notification"));
        headers.insert("sec-websocket-extensions", HeaderValue::from_static("permessage-deflate"));
        headers.insert("origin", HeaderValue::try_from(format!("wss://{address}/")).unwrap());
        let (socket, response) = Self::with(address, request).await;
        assert!(!response.headers().contains_key("sec-websocket-extensions"), "{response:?}");
        (socket, response.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned())
    }

    async fn with(address: SocketAddr, request: http::Request<()>) -> (Self, http::Response<Option<Vec<u8>>>) {
        let stream = TcpStream::connect(address).await.unwrap();
        let (stream, response) = within(tokio_tungstenite::client_async(request, stream)).await.unwrap();
        (Self { stream }, response)
    }

    /// Opens a socket and sends a hello with this uaid as KDE's client does, to which anything may be sent: the socket, and
    /// the uaid that it has from now on.
    pub async fn hello(address: SocketAddr, uaid: Option<&str>) -> (Self, String) {
        let socket = Self::open(address).await;
        socket.greet(json!({"messageType": "hello"}), uaid).await
    }

    /// The same as Firefox does, to which only encrypted messages may be sent.
    pub async fn hello_like_firefox(address: SocketAddr, uaid: Option<&str>) -> (Self, String) {
        let (socket, _) = Self::open_like_firefox(address).await;
        socket.greet(json!({"messageType": "hello", "use_webpush": true, "broadcasts": {}}), uaid).await
    }

    /// Sends this hello with this uaid.
    pub async fn greet(self, mut hello: Value, uaid: Option<&str>) -> (Self, String) {
        let mut socket = self;
        if let Some(uaid) = uaid {
            hello["uaid"] = uaid.into();
        }
        let answer = socket.ask(hello).await;
        assert_eq!(answer["status"], 200, "{answer}");
        let uaid = answer["uaid"].as_str().unwrap().to_owned();
        (socket, uaid)
    }

    /// Subscribes: the URL of the push resource.
    pub async fn register(&mut self, channel: &str) -> String {
        let answer = self.ask(json!({"messageType": "register", "channelID": channel})).await;
        assert_eq!((&answer["status"], &answer["channelID"]), (&200.into(), &channel.into()), "{answer}");
        answer["pushEndpoint"].as_str().unwrap().to_owned()
    }

    pub async fn unregister(&mut self, channel: &str) {
        let answer = self.ask(json!({"messageType": "unregister", "channelID": channel, "code": 200})).await;
        assert_eq!(answer, json!({"messageType": "unregister", "channelID": channel, "status": 200}));
    }

    /// The next message, which has to be a notification.
    pub async fn notified(&mut self) -> Notified {
        let message = self.next().await;
        assert_eq!(message["messageType"], "notification", "{message}");
        let member = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let body = doorbell_protocol::base64url::decode(&member("data")).unwrap();
        let text = String::from_utf8(body).unwrap();
        Notified { channel: member("channelID"), version: member("version"), text }
    }

    /// Acknowledges as Firefox does.
    pub async fn ack(&mut self, message: &Notified, code: u64) {
        let update = json!({"channelID": message.channel, "version": message.version, "code": code});
        self.send(json!({"messageType": "ack", "updates": [update]})).await;
    }

    /// The service has handled everything that was sent before: it answers `{}` in its turn.
    pub async fn is_answered(&mut self) {
        assert_eq!(self.ask(json!({})).await, json!({}));
    }

    /// Sends a message and returns the next one that comes.
    pub async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    pub async fn send(&mut self, message: Value) {
        self.frame(Message::text(message.to_string())).await;
    }

    pub async fn frame(&mut self, frame: Message) {
        within(self.stream.send(frame)).await.unwrap();
    }

    /// The next text, which has to be JSON. Pings are answered meanwhile.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    pub async fn text(&mut self) -> Utf8Bytes {
        loop {
            match within(self.stream.next()).await.expect("the socket is open").expect("the socket works") {
                Message::Text(text) => return text,
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a text"),
            }
        }
    }

    /// The next frame, whatever it is.
    pub async fn any_frame(&mut self) -> Message {
        within(self.stream.next()).await.expect("the socket is open").expect("the socket works")
    }

    /// The payload of the next ping, which is answered.
    pub async fn pinged(&mut self) -> Bytes {
        match within(self.stream.next()).await.expect("the socket is open").expect("the socket works") {
            Message::Ping(payload) => payload,
            other => panic!("{other:?} instead of a ping"),
        }
    }

    /// The payload of the next pong.
    pub async fn ponged(&mut self) -> Bytes {
        match within(self.stream.next()).await.expect("the socket is open").expect("the socket works") {
            Message::Pong(payload) => payload,
            other => panic!("{other:?} instead of a pong"),
        }
    }

    /// The code with which the service closes. Texts that come before it are passed over.
    pub async fn closed(mut self) -> u16 {
        loop {
            match within(self.stream.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?} instead of a close"),
            }
        }
    }

    /// Closes the connection without a close frame.
    pub fn cut(self) {
        drop(self);
    }
}
