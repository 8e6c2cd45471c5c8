//! Firefox's door: a WebSocket with JSON on it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use serde::Deserialize;

use crate::body::Stamp;
use crate::context::{Context, Receiver};
use crate::net::Alpn;
use crate::tickets::Tickets;
use crate::websocket::WebSocket;

/// A Firefox, as the service knows it. It has one subscription.
#[derive(Clone)]
pub(crate) struct Identity {
    uaid: String,
    pub(crate) endpoint: String,
}

/// A socket after its hello.
pub(crate) struct Connection {
    socket: WebSocket,
}

/// The members of an answer that matter here.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: u16,
    uaid: Option<String>,
    #[serde(rename = "pushEndpoint")]
    endpoint: Option<String>,
}

/// What the service sends unasked. Nothing is copied: there is one for every message, and no string in it needs an
/// escape.
#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(rename = "messageType")]
    kind: Option<&'a str>,
    #[serde(rename = "channelID", default)]
    channel: &'a str,
    #[serde(default)]
    version: &'a str,
    data: Option<&'a str>,
}

/// Upgrades, sends hello, and registers unless it is `known`.
pub(crate) async fn connect(
    context: &Context,
    key: &str,
    known: &mut Option<Identity>,
    tickets: &Arc<Tickets>,
) -> io::Result<Connection> {
    let stream = context.net.agent(Alpn::Http1, tickets).await?;
    let mut socket = WebSocket::open(stream, context.job.target.authority()).await?;
    let uaid = known.as_ref().map(|known| format!(r#","uaid":"{}""#, known.uaid)).unwrap_or_default();
    socket.send(&format!(r#"{{"messageType":"hello","broadcasts":{{}},"use_webpush":true{uaid}}}"#)).await?;
    let hello: Answer = parse(socket.next().await?)?;
    let uaid = hello.uaid.ok_or_else(|| io::Error::other("its hello names no uaid"))?;
    match known {
        Some(known) if known.uaid != uaid => return Err(io::Error::other("the service has forgotten an agent")),
        Some(_) => {}
        None => {
            let endpoint = register(&mut socket, key).await?;
            *known = Some(Identity { uaid, endpoint });
        }
    }
    Ok(Connection { socket })
}

/// Subscribes: the push resource.
async fn register(socket: &mut WebSocket, key: &str) -> io::Result<String> {
    let channel = channel();
    socket.send(&format!(r#"{{"messageType":"register","channelID":"{channel}","key":"{key}"}}"#)).await?;
    let answer: Answer = parse(socket.next().await?)?;
    let endpoint = answer.endpoint.filter(|_| answer.status == 200);
    endpoint.ok_or_else(|| io::Error::other(format!("registering is answered {}", answer.status)))
}

impl Connection {
    pub(crate) async fn receive(mut self, receiver: &Receiver) -> io::Result<Infallible> {
        let mut acknowledgement = String::new();
        loop {
            let notification: Notification<'_> = parse(self.socket.next().await?)?;
            if notification.kind != Some("notification") {
                continue;
            }
            receiver.received(notification.data.and_then(Stamp::of_text));
            acknowledgement.clear();
            acknowledgement.extend([
                r#"{"messageType":"ack","updates":[{"channelID":""#,
                notification.channel,
                r#"","version":""#,
                notification.version,
                r#"","code":100}]}"#,
            ]);
            self.socket.send(&acknowledgement).await?;
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> io::Result<T> {
    serde_json::from_str(text).map_err(io::Error::other)
}

/// A random UUID, as Firefox calls its subscriptions.
fn channel() -> String {
    let random = fastrand::u128(..);
    let (a, b, c) = (random >> 96, (random >> 80) & 0xffff, (random >> 64) & 0xfff);
    let (d, e) = (((random >> 48) & 0x3fff) | 0x8000, random & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}
