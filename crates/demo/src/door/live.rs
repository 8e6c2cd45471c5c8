//! The page's WebSocket: events to the page, signals of WebRTC from it. It carries what is useful only while a page is
//! open; everything else goes by HTTP, and a person who is away receives a push.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::answer::Response;
use crate::calls::Party;
use crate::error::DemoError;
use crate::events::Event;
use crate::house::House;
use crate::limits::SIGNAL_BYTES_MAX;
use crate::listen::Peer;
use crate::session::Session;
use crate::token::Token;

/// A page that sends nothing for so long is pinged, and is gone if it then sends nothing again.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a page may leave an event unread in its socket.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalMessage {
    call: String,
    signal: Value,
}

/// Makes the connection a WebSocket of the page that the query names.
pub(super) fn upgrade(
    house: Arc<House>,
    session: Session,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response, DemoError> {
    let query = request.uri().query().and_then(|query| query.strip_prefix("page="));
    let page = Token::parse(query.unwrap_or_default())?;
    let response = create_response_with_body(&request, Full::default)
        .map_err(|_| DemoError::Malformed("this address is for WebSockets"))?;
    let party = Party { person: session.person, device: session.device, page };
    let events = house.pages.open(party.clone(), peer.address)?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut events = events;
        if let Ok(upgraded) = upgrade.await {
            let config = WebSocketConfig::default()
                .max_message_size(Some(SIGNAL_BYTES_MAX))
                .max_frame_size(Some(SIGNAL_BYTES_MAX));
            let io = TokioIo::new(upgraded);
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            house.pages.broadcast(&Event::People);
            // Whatever ended it, the page is gone now.
            serve(&house, &party, &mut socket, &mut events).await;
            drop(timeout(WRITE_TIMEOUT, socket.close(None)).await);
        }
        house.pages.close(&party.page, events);
        house.pages.broadcast(&Event::People);
        house.page_left(party.page);
        // Until here the connection counts.
        drop(peer);
    });
    Ok(response)
}

async fn serve(house: &House, party: &Party, socket: &mut Socket, events: &mut Receiver<String>) -> Option<()> {
    let mut pinged = false;
    loop {
        tokio::select! {
            // None when it was cut off, signed out, or replaced by a newer connection of the same page.
            event = events.recv() => write(socket, Message::text(event?)).await?,
            received = timeout(SILENCE_MAX, socket.next()) => match received {
                Ok(received) => {
                    pinged = false;
                    if let Message::Text(text) = received?.ok()? {
                        receive(house, party, &text);
                    }
                }
                Err(_) if pinged => return None,
                Err(_) => {
                    pinged = true;
                    write(socket, Message::Ping(bytes::Bytes::new())).await?;
                }
            },
        }
    }
}

fn receive(house: &House, party: &Party, text: &str) {
    let message = serde_json::from_str::<SignalMessage>(text).ok();
    let Some((id, signal)) = message.and_then(|message| Some((Token::parse(&message.call).ok()?, message.signal)))
    else {
        return house.pages.send_to_page(&party.page, &Event::Malformed);
    };
    if house.signal(&party.page, &id, signal).is_err() {
        // A signal may cross the end of its call, of which the page is notified.
        tracing::debug!("a signal without a call");
    }
}

async fn write(socket: &mut Socket, message: Message) -> Option<()> {
    timeout(WRITE_TIMEOUT, socket.send(message)).await.ok()?.ok()
}
