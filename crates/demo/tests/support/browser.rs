//! A browser without a screen: a cookie, requests, and a page that receives events.

use std::net::SocketAddr;

use doorbell_demo::Demo;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::PATIENCE;
use super::push_service::{Device, PushService};

/// A device of a person.
pub struct Browser {
    address: SocketAddr,
    pub cookie: Option<String>,
    page: Option<Page>,
}

struct Page {
    name: String,
    socket: WebSocketStream<TcpStream>,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// That it was done.
    pub fn done(self) -> Value {
        assert!(self.status < 300, "{self:?}");
        self.json()
    }

    /// That it was refused with this status, with words for people.
    pub fn refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let (message, hint) = (self.json()["message"].clone(), self.json()["hint"].clone());
        assert!(self.json()["code"].is_string(), "the page decides by a code: {self:?}");
        assert!(hint.as_str().is_some_and(|hint| !hint.is_empty()), "the answer has a hint: {self:?}");
        message.as_str().expect("a message").to_owned()
    }
}

impl Browser {
    pub fn of(demo: &Demo) -> Self {
        Self { address: demo.address(), cookie: None, page: None }
    }

    /// Signs in by name.
    pub async fn signed_in(demo: &Demo, name: &str) -> Self {
        let mut browser = Self::of(demo);
        browser.signs_in(json!({ "name": name })).await.done();
        browser
    }

    /// Another device of the same person, let in by an invitation.
    pub async fn invites(&self, demo: &Demo) -> Self {
        let link = self.post("invitation", json!({ "for": "device" })).await.done();
        let link = link["link"].as_str().expect("a link").to_owned();
        let (_, invitation) = link.split_once("#in=").expect("an invitation");
        let mut other = Self::of(demo);
        other.signs_in(json!({ "invitation": invitation })).await.done();
        other
    }

    /// Tries to sign in; keeps the cookie.
    pub async fn signs_in(&mut self, how: Value) -> Answer {
        let answer = self.post("sign-in", how).await;
        let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
        self.cookie = cookie.map(str::to_owned);
        answer
    }

    /// Subscribes for pushes.
    pub async fn subscribes(&self, push: &PushService) -> Device {
        let device = push.subscribe();
        self.put("device", json!({ "subscription": device.subscription })).await.done();
        device
    }

    /// Opens a page, which receives events.
    pub async fn opens_a_page(&mut self) {
        // 22 characters, all different between browsers by the port of their connection.
        let stream = TcpStream::connect(self.address).await.expect("the demo listens");
        let name = format!("{:0>22}", stream.local_addr().expect("an address").port());
        let url = format!("ws://{}/api/live?page={name}", self.address);
        let mut request = url.into_client_request().expect("a request");
        let cookie = self.cookie.clone().expect("a session");
        request.headers_mut().insert("cookie", cookie.parse().expect("a header"));
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket");
        self.page = Some(Page { name, socket });
    }

    /// Closes the page.
    pub fn closes_the_page(&mut self) {
        self.page = None;
    }

    /// The name of the page.
    pub fn page(&self) -> &str {
        &self.page.as_ref().expect("a page").name
    }

    /// Waits for an event of a type on the page.
    pub async fn receives(&mut self, kind: &str) -> Value {
        let page = self.page.as_mut().expect("a page");
        let wait = async {
            loop {
                let message = page.socket.next().await.expect("an open socket").expect("a message");
                let event: Value = serde_json::from_str(message.to_text().expect("text")).unwrap_or_default();
                if event["type"] == kind {
                    return event;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {kind}"))
    }

    /// Sends a signal of WebRTC.
    pub async fn signals(&mut self, call: &str, signal: Value) {
        let text = json!({ "call": call, "signal": signal }).to_string();
        self.page.as_mut().expect("a page").socket.send(Message::text(text)).await.expect("it is sent");
    }

    /// Calls a person from the page.
    pub async fn calls(&self, to: &str) -> Answer {
        self.post("calls", json!({ "to": to, "media": "audio", "page": self.page() })).await
    }

    /// Answers on the page.
    pub async fn answers(&self, call: &str) -> Answer {
        self.post(&format!("calls/{call}/answer"), json!({ "page": self.page() })).await
    }

    /// Hangs up, withdraws or declines.
    pub async fn ends(&self, call: &str) -> Answer {
        self.post(&format!("calls/{call}/end"), Value::Null).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.asks("GET", path, "application/json", &[], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.asks("POST", path, "application/json", body.to_string().as_bytes(), "").await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.asks("PUT", path, "application/json", body.to_string().as_bytes(), "").await
    }

    /// One request on a connection of its own, with further header lines.
    pub async fn asks(&self, method: &str, path: &str, kind: &str, body: &[u8], further: &str) -> Answer {
        self.asks_as(&self.address.to_string(), method, &format!("/api/{path}"), kind, body, further).await
    }

    /// The same under another name of the server, and for any path.
    pub async fn asks_as(
        &self,
        host: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
        further: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("the demo listens");
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{cookie}{further}Content-Type: {kind}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let exchange = async {
            stream.write_all(head.as_bytes()).await.expect("a request");
            // A server that refuses a body early may close before it has all of it.
            stream.write_all(body).await.ok();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok();
            answer
        };
        let answer = timeout(PATIENCE, exchange).await.expect("an answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }
}
