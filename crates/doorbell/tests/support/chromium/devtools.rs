//! Chromium's DevTools protocol, as far as a test needs it: JSON over a WebSocket, to the browser and to its pages.

use std::net::{Ipv4Addr, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::client_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::Deadline;

/// A picture of a page is the largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection to a Chromium.
pub(super) struct Devtools {
    socket: WebSocket<TcpStream>,
    last_id: u64,
}

/// A page of it.
pub(super) struct Page {
    target: String,
    session: String,
}

/// What a page takes an expression for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum By {
    Script,
    /// As if its user had just clicked.
    User,
}

impl Devtools {
    /// From the address that Chromium prints: `ws://127.0.0.1:PORT/…`.
    pub(super) fn connect(address: &str) -> Self {
        let port = address.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok());
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.expect("a port"))).expect("Chromium takes a driver");
        stream.set_read_timeout(Some(Deadline::soon().left())).expect("a socket with a time-out");
        let limits = WebSocketConfig::default();
        let limits = limits.max_message_size(Some(ANSWER_BYTES_MAX)).max_frame_size(Some(ANSWER_BYTES_MAX));
        let (socket, _) = client_with_config(address, stream, Some(limits)).expect("a WebSocket");
        Self { socket, last_id: 0 }
    }

    /// Opens a page.
    pub(super) fn open(&mut self, url: &str) -> Page {
        let target = self.command(None, "Target.createTarget", &json!({ "url": url }));
        self.attach(&target)
    }

    /// A page whose URL begins with `start`, also if the test did not open it.
    pub(super) fn page_of(&mut self, start: &str) -> Option<Page> {
        let targets = self.command(None, "Target.getTargets", &json!({}));
        let is_one = |it: &&Value| it["type"] == "page" && it["url"].as_str().is_some_and(|url| url.starts_with(start));
        let target = targets["targetInfos"].as_array()?.iter().find(is_one)?;
        Some(self.attach(target))
    }

    fn attach(&mut self, target: &Value) -> Page {
        let target = target["targetId"].as_str().expect("a target").to_owned();
        let session = self.command(None, "Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        Page { target, session: session["sessionId"].as_str().expect("a session").to_owned() }
    }

    /// Runs an expression in a page and waits for what it promises.
    pub(super) fn run(&mut self, page: &Page, expression: &str, by: By) -> Value {
        let mut parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        parameters["userGesture"] = json!(by == By::User);
        let answer = self.command(Some(page), "Runtime.evaluate", &parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Why a page cannot be installed as an app: nothing is what one wants.
    pub(super) fn obstacles_to_installing(&mut self, page: &Page) -> Value {
        self.command(Some(page), "Page.getInstallabilityErrors", &json!({}))["installabilityErrors"].take()
    }

    /// A picture of a page, as PNG.
    pub(super) fn picture(&mut self, page: &Page) -> Vec<u8> {
        let size = json!({ "width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.command(Some(page), "Emulation.setDeviceMetricsOverride", &size);
        let picture = self.command(Some(page), "Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// Closes a page; the browser stays.
    pub(super) fn close(&mut self, page: &Page) {
        self.command(None, "Target.closeTarget", &json!({ "targetId": page.target }));
    }

    /// Asks Chromium to end in order.
    pub(super) fn quit(mut self) {
        self.command(None, "Browser.close", &json!({}));
    }

    fn command(&mut self, page: Option<&Page>, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(page) = page {
            message["sessionId"] = json!(page.session);
        }
        self.socket.send(Message::text(message.to_string())).expect("Chromium listens");
        loop {
            let answer =
                self.socket.read().unwrap_or_else(|error| panic!("Chromium does not answer {method}: {error}"));
            let Message::Text(text) = answer else { continue };
            let mut answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
            // Everything else is an event that was not requested.
            if answer["id"] == self.last_id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }
}
