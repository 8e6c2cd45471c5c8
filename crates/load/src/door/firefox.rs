//! Firefox's door: a WebSocket with JSON on it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use serde::Deserialize;

use crate::load::body::Stamp;
use crate::load::net::Alpn;
use crate::load::tickets::Tickets;
use crate::load::websocket::WebSocket;
use crate::load::world::{Ear, World};

/// A Firefox, as the service knows it. It has one subscription.
#[derive(Clone)]
pub(in crate::load) struct Identity {
    uaid: String,
    pub(in crate::load) endpoint: String,
}

/// A socket after its hello.
pub(in crate::load) struct Connection {
    socket: WebSocket,
}

/// What the service says in answer, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: u16,
    uaid: Option<String>,
    #[serde(rename = "pushEndpoint")]
    endpoint: Option<String>,
}

/// What it says of itself. Nothing is copied: there is one for every message, and none of its words needs an escape.
#[derive(Deserialize)]
struct News<'a> {
    #[serde(rename = "messageType")]
    kind: Option<&'a str>,
    #[serde(rename = "channelID", default)]
    channel: &'a str,
    #[serde(default)]
    version: &'a str,
    data: Option<&'a str>,
}

/// Upgrades, says hello, and registers if nobody is `known`.
pub(in crate::load) async fn connect(
    world: &World,
    key: &str,
    known: &mut Option<Identity>,
    tickets: &Arc<Tickets>,
) -> io::Result<Connection> {
    let stream = world.net.agent(Alpn::Http1, tickets).await?;
    let mut socket = WebSocket::open(stream, world.job.target.authority()).await?;
    let uaid = known.as_ref().map(|known| format!(r#","uaid":"{}""#, known.uaid)).unwrap_or_default();
    socket.send(&format!(r#"{{"messageType":"hello","broadcasts":{{}},"use_webpush":true{uaid}}}"#)).await?;
    let greeted: Answer = said(socket.next().await?)?;
    let uaid = greeted.uaid.ok_or_else(|| io::Error::other("its hello names no uaid"))?;
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
    let answer: Answer = said(socket.next().await?)?;
    let endpoint = answer.endpoint.filter(|_| answer.status == 200);
    endpoint.ok_or_else(|| io::Error::other(format!("registering is answered {}", answer.status)))
}

impl Connection {
    pub(in crate::load) async fn attend(mut self, ear: &Ear) -> io::Result<Infallible> {
        let mut acknowledgement = String::new();
        loop {
            let news: News<'_> = said(self.socket.next().await?)?;
            if news.kind != Some("notification") {
                continue;
            }
            ear.heard(news.data.and_then(Stamp::of_text));
            acknowledgement.clear();
            acknowledgement.extend([
                r#"{"messageType":"ack","updates":[{"channelID":""#,
                news.channel,
                r#"","version":""#,
                news.version,
                r#"","code":100}]}"#,
            ]);
            self.socket.send(&acknowledgement).await?;
        }
    }
}

fn said<'a, T: Deserialize<'a>>(text: &'a str) -> io::Result<T> {
    serde_json::from_str(text).map_err(io::Error::other)
}

/// A random UUID, as Firefox calls its subscriptions.
fn channel() -> String {
    let random = fastrand::u128(..);
    let (a, b, c) = (random >> 96, (random >> 80) & 0xffff, (random >> 64) & 0xfff);
    let (d, e) = (((random >> 48) & 0x3fff) | 0x8000, random & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}
