//! WebSocket (RFC 6455) behind a seam: the handshake, then text both ways. Frames, masks, pongs and the closing handshake
//! are tungstenite's.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::{Payload, Request, Response};

/// Allocated for each connection for as long as it lasts; a longer message makes it grow.
const READ_BUFFER: usize = 4 << 10;
/// Messages that follow each other are written together up to about this much.
const WRITE_BUFFER: usize = 16 << 10;
/// What the library may hold back of what the client does not read, beside one message: its bound if ours failed.
const UNWRITTEN_MAX: usize = 4 << 20;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The answer that makes the connection a WebSocket: 101, with the subprotocol if the client offers it. An error is the
/// status of the answer that does not.
pub(crate) fn accept(request: &Request, subprotocol: &'static str) -> Result<Response, StatusCode> {
    let headers = request.headers();
    let mut response = create_response_with_body(request, Payload::default).map_err(|_| {
        let other_version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13");
        if other_version { StatusCode::UPGRADE_REQUIRED } else { StatusCode::BAD_REQUEST }
    })?;
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if offered.flat_map(|value| value.split(',')).any(|offer| offer.trim() == subprotocol) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    Ok(response)
}

/// What a client said.
#[derive(Debug)]
pub(crate) enum Heard {
    Text(Utf8Bytes),
    /// Its ping is answered with the next [`flush`](Socket::flush): each answer has to wait until the client reads, or
    /// one that sends pings and reads nothing would have them pile up here.
    Ping,
    /// It has read everything up to the ping with this payload.
    Pong(Bytes),
}

/// Why nothing more is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed, or the network did; or the client read nothing for too long.
    Left,
    /// It sent a binary message.
    Binary,
    /// It sent a text that is not UTF-8.
    NotText,
    /// It sent a message over the bound.
    TooLarge,
    /// It broke the framing's rules.
    Protocol,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::TooLarge,
            Error::Utf8(_) => Self::NotText,
            Error::Protocol(_) => Self::Protocol,
            _ => Self::Left,
        }
    }
}

/// A connection that has become a WebSocket.
pub(crate) struct Socket<IO> {
    stream: WebSocketStream<IO>,
    /// How long the client may leave what is sent to it unread.
    write_timeout: Duration,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    /// Takes over `io` after the handshake; `read` came behind it.
    pub(super) async fn new(io: IO, read: Bytes, frame_max: usize, write_timeout: Duration) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(UNWRITTEN_MAX)
            .max_message_size(Some(frame_max))
            .max_frame_size(Some(frame_max));
        let stream = WebSocketStream::from_partially_read(io, read.to_vec(), Role::Server, Some(config)).await;
        Self { stream, write_timeout }
    }

    /// Waits for the next thing that the client says. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Result<Heard, Ended> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Heard::Text(text)),
                Some(Ok(Message::Pong(payload))) => return Ok(Heard::Pong(payload)),
                Some(Ok(Message::Binary(_))) => return Err(Ended::Binary),
                Some(Ok(Message::Ping(_))) => return Ok(Heard::Ping),
                // A Close is answered when the stream is looked at again, and then it ends.
                Some(Ok(Message::Close(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Ended::Left),
            }
        }
    }

    /// Hands over a text, which goes out with the next [`flush`](Self::flush) at the latest.
    pub(crate) async fn say(&mut self, text: String) -> Result<(), Ended> {
        self.within(async |stream| stream.feed(Message::text(text)).await).await
    }

    /// Sends a ping, which a client answers when it has read everything before.
    pub(crate) async fn ping(&mut self, payload: Bytes) -> Result<(), Ended> {
        self.within(async |stream| stream.feed(Message::Ping(payload)).await).await
    }

    /// Sends what was handed over.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        self.within(async |stream| stream.flush().await).await
    }

    /// Says goodbye. What the client said before it read that can still be heard, until it answers; then, or when the
    /// framing was wrong, [`next`](Self::next) says that it has left.
    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Ended> {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.within(async |stream| stream.send(Message::Close(Some(frame))).await).await
    }

    async fn within(
        &mut self,
        work: impl AsyncFnOnce(&mut WebSocketStream<IO>) -> Result<(), Error>,
    ) -> Result<(), Ended> {
        match timeout(self.write_timeout, work(&mut self.stream)).await {
            Ok(done) => done.map_err(Ended::from),
            Err(_) => Err(Ended::Left),
        }
    }
}
