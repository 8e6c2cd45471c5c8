//! WebDriver BiDi, as far as it is needed: catch the navigation that a click causes, and close the browser.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

/// How long the browser may take to answer while the session is set up.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// An event contains the address of a request, and a `data:` address may be long.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Requests that are held back while the session is set up; more end the session.
const HELD_MAX: usize = 1024;
/// The command that ends the browser. Its number is no other command's.
const CLOSE: &str = r#"{"id":0,"method":"browser.close","params":{}}"#;

/// A session with one browser. Dropped, it asks the browser to end.
#[derive(Debug)]
pub(super) struct Driver {
    socket: WebSocketStream<TcpStream>,
    commands: u64,
    held: VecDeque<Blocked>,
}

/// A request that waits for a decision: [`Driver::let_pass`] or [`Driver::fail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    /// The browser's name for it.
    pub(super) request: String,
    /// Where it leads, if it opens a page over http(s).
    pub(super) page: Option<Url>,
}

#[derive(Deserialize)]
struct Incoming {
    id: Option<u64>,
    #[serde(default)]
    method: String,
    error: Option<String>,
    #[serde(default)]
    message: String,
    params: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BeforeRequestSent {
    is_blocked: bool,
    navigation: Option<String>,
    request: RequestData,
}

#[derive(Deserialize)]
struct RequestData {
    request: String,
    url: String,
    method: String,
    #[serde(default)]
    destination: String,
}

impl Driver {
    /// Begins a session with the browser at this port of the machine.
    pub(super) async fn connect(port: u16) -> Result<Self, String> {
        let begun = async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| error.to_string())?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(MESSAGE_BYTES_MAX))
                .max_frame_size(Some(MESSAGE_BYTES_MAX));
            let address = format!("ws://127.0.0.1:{port}/session");
            let opened = client_async_with_config(address, stream, Some(config)).await;
            let (socket, _) = opened.map_err(|error| error.to_string())?;
            let mut driver = Self { socket, commands: 0, held: VecDeque::new() };
            driver.ask("session.new", json!({ "capabilities": {} })).await?;
            driver.ask("session.subscribe", json!({ "events": ["network.beforeRequestSent"] })).await?;
            driver.ask("network.addIntercept", json!({ "phases": ["beforeRequestSent"] })).await?;
            Ok(driver)
        };
        timeout(ANSWER_MAX, begun).await.unwrap_or_else(|_| Err("the browser does not answer".to_owned()))
    }

    /// The next request that waits. May be dropped and called again without a loss.
    pub(super) async fn next(&mut self) -> Result<Blocked, String> {
        if let Some(blocked) = self.held.pop_front() {
            return Ok(blocked);
        }
        loop {
            let incoming = self.receive().await?;
            if let Some(error) = incoming.error {
                // E.g. the request has ended meanwhile.
                tracing::debug!(error, message = incoming.message, "a command of BiDi fails");
            } else if let Some(blocked) = blocked(incoming) {
                return Ok(blocked);
            }
        }
    }

    /// The request goes on.
    pub(super) async fn let_pass(&mut self, blocked: &Blocked) -> Result<(), String> {
        self.send("network.continueRequest", &json!({ "request": blocked.request })).await.map(drop)
    }

    /// The request fails.
    pub(super) async fn fail(&mut self, blocked: &Blocked) -> Result<(), String> {
        self.send("network.failRequest", &json!({ "request": blocked.request })).await.map(drop)
    }

    /// Asks the browser to end, without waiting. The browser ends while this value is there.
    pub(super) fn close(&mut self) {
        // The browser may have ended already.
        self.socket.get_ref().try_write(&close_frame()).ok();
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<(), String> {
        let id = self.send(method, &params).await?;
        loop {
            let incoming = self.receive().await?;
            if incoming.id == Some(id) {
                return match incoming.error {
                    Some(error) => Err(format!("{method}: {error} ({})", incoming.message)),
                    None => Ok(()),
                };
            }
            self.held.extend(blocked(incoming));
            if self.held.len() > HELD_MAX {
                return Err("too many requests are under way".to_owned());
            }
        }
    }

    async fn send(&mut self, method: &str, params: &Value) -> Result<u64, String> {
        self.commands += 1;
        let text = json!({ "id": self.commands, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(text)).await.map_err(|error| error.to_string())?;
        Ok(self.commands)
    }

    async fn receive(&mut self) -> Result<Incoming, String> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(incoming) => return Ok(incoming),
                    Err(error) => tracing::debug!(%error, "a message that is not one of BiDi"),
                },
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the browser closed the connection".to_owned()),
            }
        }
    }
}

impl Drop for Driver {
    /// When this process ends, its browser must not stay with an open port.
    fn drop(&mut self) {
        self.close();
    }
}

/// A text frame with [`CLOSE`].
fn close_frame() -> Vec<u8> {
    let length = u8::try_from(CLOSE.len()).ok().filter(|&length| length < 126).expect("a frame of one short text");
    // Firefox refuses a mask of zeros.
    let mask = fastrand::u32(1..).to_be_bytes();
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend(mask);
    frame.extend(CLOSE.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn blocked(incoming: Incoming) -> Option<Blocked> {
    if incoming.method != "network.beforeRequestSent" {
        return None;
    }
    let event: BeforeRequestSent = serde_json::from_value(incoming.params?)
        .inspect_err(|error| tracing::warn!(%error, "a request that cannot be read"))
        .ok()?;
    event.is_blocked.then(|| Blocked { page: page(&event), request: event.request.request })
}

/// The address, if the request opens a page and not a frame in one.
fn page(event: &BeforeRequestSent) -> Option<Url> {
    let opens = event.navigation.is_some()
        && event.request.method == "GET"
        && matches!(event.request.destination.as_str(), "" | "document");
    let url = Url::parse(&event.request.url).ok().filter(|_| opens)?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(changes: Value) -> Option<Blocked> {
        let mut event = json!({ "type": "event", "method": "network.beforeRequestSent", "params": {
            "context": "c", "isBlocked": true, "navigation": "n",
            "request": { "request": "7", "url": "https://example.org/a?b", "method": "GET", "destination": "document" },
        }});
        for (pointer, value) in changes.as_object().unwrap() {
            *event.pointer_mut(pointer).unwrap() = value.clone();
        }
        blocked(serde_json::from_value(event).unwrap())
    }

    #[test]
    fn the_page_that_a_click_opens_is_recognised() {
        let page = Url::parse("https://example.org/a?b").unwrap();
        assert_eq!(event(json!({})), Some(Blocked { request: "7".to_owned(), page: Some(page) }));
    }

    #[test]
    fn what_is_not_a_page_of_the_web_is_let_pass() {
        for changes in [
            json!({ "/params/navigation": null }),
            json!({ "/params/request/method": "POST" }),
            json!({ "/params/request/destination": "iframe" }),
            json!({ "/params/request/url": "file:///etc/passwd" }),
            json!({ "/params/request/url": "--profile" }),
        ] {
            assert_eq!(event(changes), Some(Blocked { request: "7".to_owned(), page: None }));
        }
        assert_eq!(event(json!({ "/params/isBlocked": false })), None);
        assert_eq!(event(json!({ "/method": "network.responseCompleted" })), None);
        assert_eq!(event(json!({ "/params/request": 5 })), None);
    }
}
