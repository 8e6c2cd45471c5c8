//! The WebSocket on which Firefox receives: opened as Firefox opens it, used, and left idle to see whether a proxy cuts it.

use std::io;
use std::time::Duration;

use doorbell_protocol::problem::errno;
use futures_util::{SinkExt, StreamExt};
use http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::STEP_MAX;
use super::connector::{Connector, within};
use super::rejection;
use super::report::Finding;

/// The doctor's only channel; each run is a user agent of its own.
const CHANNEL: &str = "d0c70e00-0000-4000-8000-000000000000";

const UPGRADE_FIX: &str = "let the proxy pass the WebSocket upgrade at / on over HTTP/1.1 (nginx: proxy_http_version 1.1; \
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade), and see that the setting `firefox` is on";

/// A WebSocket after its hello.
pub(super) struct Socket {
    stream: WebSocketStream<TlsStream<TcpStream>>,
}

/// The step: hello, register, unregister. A socket that worked is returned, with nothing subscribed on it.
pub(super) async fn check(connector: &Connector) -> (Finding, Option<Socket>) {
    let mut socket = match Socket::open(connector).await {
        Ok(socket) => socket,
        Err(finding) => return (finding, None),
    };
    match socket.exchange(connector).await {
        Ok(()) => {
            let found = Finding::ok("upgraded, sent hello, registered a channel and removed it");
            (found, Some(socket))
        }
        Err(finding) => (finding, None),
    }
}

impl Socket {
    async fn open(connector: &Connector) -> Result<Self, Finding> {
        let failed = |why: String| Finding::failed(why, UPGRADE_FIX);
        let gone = |error| {
            let fix = "the service or a proxy has stopped since the first step: read the logs of the service and of the proxy";
            Finding::failed(format!("no connection any more: {error}"), fix)
        };
        let stream = connector.tls(&[b"http/1.1"]).await.map_err(gone)?;
        let authority = connector.target.authority();
        let request = format!("wss://{authority}/").into_client_request();
        let mut request = request.map_err(|error| failed(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(doorbell_protocol::firefox::SUBPROTOCOL));
        if let Ok(origin) = HeaderValue::try_from(format!("wss://{authority}/")) {
            headers.insert(ORIGIN, origin);
        }
        match timeout(STEP_MAX, tokio_tungstenite::client_async(request, stream)).await {
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(Error::Http(answer))) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                Err(Finding::failed("the upgrade is answered 503", "start the service, or let it finish its restart"))
            }
            Ok(Err(Error::Http(answer))) => Err(failed(format!("the upgrade is answered {}", answer.status()))),
            Ok(Err(error)) => Err(failed(format!("the upgrade fails: {error}"))),
            Err(_) => Err(failed(format!("the upgrade is not answered within {} s", STEP_MAX.as_secs()))),
        }
    }

    async fn exchange(&mut self, connector: &Connector) -> Result<(), Finding> {
        let uaid = self.hello(None).await.map_err(|error| broken(&error))?;
        let register = json!({"messageType": "register", "channelID": CHANNEL});
        let registered = match self.ask("register", register).await {
            Ok(answer) => answer,
            Err(error) => {
                remove_again(connector, &uaid).await;
                return Err(broken(&error));
            }
        };
        let Some(status) = registered["status"].as_u64().and_then(|status| u16::try_from(status).ok()) else {
            return Err(Finding::failed("registering is answered without a status", UPGRADE_FIX));
        };
        if status != 200 {
            // On a WebSocket only the service itself answers.
            let (lack, fix) = rejection::lacking(status, Some(errno::UNAVAILABLE));
            return Err(Finding::failed(format!("{lack} (registering is answered {status})"), fix));
        }
        if self.unregister().await.is_err() {
            remove_again(connector, &uaid).await;
        }
        if !registered["pushEndpoint"].as_str().is_some_and(|url| connector.target.serves(url)) {
            let fix = format!("start the service with --public-url {}", connector.target.origin());
            return Err(Finding::failed("the push endpoint that a page gets is not at this address", fix));
        }
        Ok(())
    }

    /// The uaid by which the service knows us from now on.
    async fn hello(&mut self, uaid: Option<&str>) -> io::Result<String> {
        let mut hello = json!({"messageType": "hello", "broadcasts": {}, "use_webpush": true});
        if let Some(uaid) = uaid {
            hello["uaid"] = uaid.into();
        }
        let answer = self.ask("hello", hello).await?;
        let uaid = answer["uaid"].as_str().filter(|uaid| (1..=128).contains(&uaid.len()));
        uaid.map(str::to_owned)
            .ok_or_else(|| io::Error::other("its hello names no uaid, without which Firefox gives up"))
    }

    async fn unregister(&mut self) -> io::Result<()> {
        let leaving = json!({"messageType": "unregister", "channelID": CHANNEL, "code": 200});
        self.ask("unregister", leaving).await.map(drop)
    }

    /// The answer of the same type. Others may come before it.
    async fn ask(&mut self, kind: &str, question: Value) -> io::Result<Value> {
        within(async {
            self.stream.send(Message::text(question.to_string())).await.map_err(io::Error::other)?;
            loop {
                let text = self.text().await?;
                let answer: Value = serde_json::from_str(&text).map_err(io::Error::other)?;
                if answer["messageType"] == kind || (kind.is_empty() && text == "{}") {
                    return Ok(answer);
                }
            }
        })
        .await
    }

    /// The next text. Pings before it are answered.
    async fn text(&mut self) -> io::Result<String> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(io::Error::other(format!("it was closed with code {}", u16::from(frame.code))));
                }
                Some(Ok(Message::Close(None))) | None => return Err(io::Error::other("it was closed without a code")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
    }
}

/// Removes a channel that may have been registered on a socket that broke.
async fn remove_again(connector: &Connector, uaid: &str) {
    if let Ok(mut socket) = Socket::open(connector).await
        && socket.hello(Some(uaid)).await.is_ok_and(|same| same == uaid)
    {
        let _ = socket.unregister().await;
    }
}

fn broken(error: &io::Error) -> Finding {
    Finding::failed(format!("the WebSocket opens, and then: {error}"), UPGRADE_FIX)
}

/// An idle socket.
pub(super) struct Idle {
    time: Duration,
    watch: JoinHandle<io::Result<()>>,
}

impl Idle {
    /// Begins at once, next to the other steps.
    pub(super) fn watch(mut socket: Socket, time: Duration) -> Self {
        let watch = tokio::spawn(async move {
            // The service sends nothing unasked: this returns only if the socket is closed.
            if let Ok(Err(error)) = timeout(time, socket.text()).await {
                return Err(error);
            }
            // Some proxies drop a connection without closing it.
            socket.ask("", json!({})).await.map(drop)
        });
        Self { time, watch }
    }

    /// The step, when the time is over.
    pub(super) async fn finding(self) -> Finding {
        let secs = self.time.as_secs();
        match self.watch.await.map_err(io::Error::other) {
            Ok(Ok(())) => Finding::ok(format!("the WebSocket is still open after {secs} s without traffic")),
            Ok(Err(error)) | Err(error) => Finding::failed(
                format!("the WebSocket does not survive {secs} s without traffic: {error}"),
                "a proxy cuts idle sockets: raise its time-out (nginx: proxy_read_timeout 1h), or set firefox_ping_secs \
                 below it",
            ),
        }
    }
}
