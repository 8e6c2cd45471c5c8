//! WebSocket (RFC 6455): the handshake, then text in both directions. The protocol crate defines the frames; this file
//! has the socket, its time-outs and its buffers, which are freed after use.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use doorbell_protocol::websocket::{self, Decoder, FrameError, Opcode, write_frame};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::place::Place;
use super::read::poll_read;
use super::unsent::Unsent;
use super::{Payload, Request, Response};

/// Consecutive messages are written together up to about this size.
const WRITE: usize = 16 << 10;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_requested(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// The answer that makes the connection a WebSocket: 101, with the subprotocol if the client offers it. An error is the
/// status of a rejection.
pub(crate) fn accept(request: &Request, subprotocol: &'static str) -> Result<Response, StatusCode> {
    let headers = request.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    let is_handshake = request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && headers.contains_key(SEC_WEBSOCKET_VERSION);
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).filter(|_| is_handshake);
    let accept_value = key.and_then(websocket::accept).ok_or(StatusCode::BAD_REQUEST)?;
    let accept_value = HeaderValue::try_from(accept_value).expect("base64 is visible ASCII");
    request.body().place.belongs_to_client_of(headers);
    let mut response = http::Response::new(Payload::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(SEC_WEBSOCKET_ACCEPT, accept_value);
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if has_token(headers, &SEC_WEBSOCKET_PROTOCOL, subprotocol) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        request.body().place.agree_on_subprotocol();
    }
    Ok(response)
}

/// Whether a header field's list of tokens contains this one.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// An event from the client.
#[derive(Debug)]
pub(crate) enum Event {
    Text(String),
    /// The next [`flush`](Socket::flush) answers the ping. The answer waits until the client reads: otherwise the
    /// answers to a client that sends pings and reads nothing collect here.
    Ping,
    /// The client has read everything up to the ping with this payload.
    Pong(Vec<u8>),
}

/// Why the socket receives nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client or the network closed the connection, or the client read nothing for too long.
    Left,
    /// It sent a binary message.
    Binary,
    /// It sent a text that is not UTF-8.
    NotText,
    /// It sent a message that is longer than the limit.
    TooLarge,
    /// It broke the framing rules.
    Protocol,
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong => Self::TooLarge,
            FrameError::NotText => Self::NotText,
            _ => Self::Protocol,
        }
    }
}

/// A connection that became a WebSocket.
pub(crate) struct Socket<IO> {
    io: IO,
    decoder: Decoder,
    /// The answer to the client's last ping; older pings need none (RFC 6455 s5.5.3).
    pong: Option<Box<[u8]>>,
    /// Bytes that wait to be sent.
    unsent: Unsent,
    /// Our Close frame is queued or sent.
    close_sent: bool,
    /// The client's Close frame has arrived: the connection ends after ours is sent.
    client_closed: bool,
    /// How long the client may leave our bytes unread, in milliseconds.
    write_timeout_ms: u32,
    /// The place of the connection.
    pub(crate) place: Arc<Place>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    /// Takes over `io` after the handshake; `read` has the bytes that arrived after it.
    pub(crate) fn new(io: IO, read: &[u8], message_max: usize, write_timeout: Duration, place: Arc<Place>) -> Self {
        let mut decoder = Decoder::new(message_max);
        decoder.feed(read);
        Self {
            io,
            decoder,
            pong: None,
            unsent: Unsent::default(),
            close_sent: false,
            client_closed: false,
            // A longer time-out is 49 days: no client waits that long.
            write_timeout_ms: u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX),
            place,
        }
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Event, Ended> {
        if let Some(event) = poll_fn(|cx| self.poll_next(cx)).await? {
            return Ok(event);
        }
        // On the heap: a socket that waits to receive needs no memory for this.
        Box::pin(self.flush()).await?;
        Err(Ended::Left)
    }

    /// The next event; `None` when the client has left.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Ended>> {
        while !self.client_closed {
            match self.decoder.next_event()? {
                Some(websocket::Event::Text(text)) => return Poll::Ready(Ok(Some(Event::Text(text)))),
                Some(websocket::Event::Binary(_)) => return Poll::Ready(Err(Ended::Binary)),
                Some(websocket::Event::Pong(payload)) => return Poll::Ready(Ok(Some(Event::Pong(payload)))),
                Some(websocket::Event::Ping(payload)) => {
                    self.pong = Some(payload.into());
                    return Poll::Ready(Ok(Some(Event::Ping)));
                }
                Some(websocket::Event::Close(close)) => {
                    self.client_closed = true;
                    let code = close.code.map(u16::to_be_bytes);
                    self.queue_close(code.as_ref().map_or(&[], |code| &code[..]));
                }
                None => {
                    let decoder = &mut self.decoder;
                    let read = ready!(poll_read(&mut self.io, cx, |bytes| decoder.feed(bytes)));
                    read.map_err(|_| Ended::Left)?;
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Queues a text; the next [`flush`](Self::flush) sends it at the latest.
    pub(crate) async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Ended> {
        self.unsent.append(|out| write_frame(out, Opcode::Text, write));
        if self.unsent.len() < WRITE { Ok(()) } else { self.flush().await }
    }

    /// Queues a ping with a payload of 125 bytes at most. A client answers it after reading everything before it.
    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.unsent.append(|out| write_frame(out, Opcode::Ping, |out| out.extend_from_slice(payload)));
    }

    /// Sends the queued frames.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        if let Some(pong) = self.pong.take() {
            self.unsent.append(|out| write_frame(out, Opcode::Pong, |out| out.extend(&pong)));
        }
        if self.unsent.len() == 0 {
            return Ok(());
        }
        let sending = poll_fn(|cx| {
            ready!(self.unsent.poll_send(cx, &mut self.io))?;
            Pin::new(&mut self.io).poll_flush(cx)
        });
        match timeout(Duration::from_millis(self.write_timeout_ms.into()), sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Left),
        }
    }

    /// Sends a Close frame. Messages that the client sent before it read that frame still arrive, until it answers.
    /// After the answer or a framing error, [`next`](Self::next) returns [`Ended::Left`].
    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Ended> {
        self.queue_close(&[&code.to_be_bytes(), reason.as_bytes()].concat());
        self.flush().await
    }

    fn queue_close(&mut self, payload: &[u8]) {
        if !self.close_sent {
            self.close_sent = true;
            self.unsent.append(|out| write_frame(out, Opcode::Close, |out| out.extend_from_slice(payload)));
        }
    }
}
