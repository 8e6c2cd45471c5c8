//! WebSocket (RFC 6455) behind a seam: the handshake, then text both ways. What a frame looks like is the protocol
//! crate's business; here are the socket, its time-outs and its buffers, none of which outlives its use.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use doorbell_protocol::websocket::{self, Decoder, FrameError, Opcode, write_frame};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::read::poll_read;
use super::unsent::Unsent;
use super::{Payload, Request, Response};

/// Messages that follow each other are written together up to about this much.
const WRITE: usize = 16 << 10;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    names(headers, &UPGRADE, "websocket")
}

/// The answer that makes the connection a WebSocket: 101, with the subprotocol if the client offers it. An error is the
/// status of the answer that does not.
pub(crate) fn accept(request: &Request, subprotocol: &'static str) -> Result<Response, StatusCode> {
    let headers = request.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    let is_handshake = request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && names(headers, &CONNECTION, "upgrade")
        && headers.contains_key(SEC_WEBSOCKET_VERSION);
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).filter(|_| is_handshake);
    let proof = key.and_then(websocket::accept).ok_or(StatusCode::BAD_REQUEST)?;
    let proof = HeaderValue::try_from(proof).expect("base64 is visible ASCII");
    let mut response = http::Response::new(Payload::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(SEC_WEBSOCKET_ACCEPT, proof);
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if names(headers, &SEC_WEBSOCKET_PROTOCOL, subprotocol) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    Ok(response)
}

/// Whether a list of tokens has this one in it.
fn names(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// What a client sent.
#[derive(Debug)]
pub(crate) enum Heard {
    Text(String),
    /// Its ping is answered with the next [`flush`](Socket::flush). The answer waits until the client reads: otherwise the
    /// answers to a client that sends pings and reads nothing would collect here.
    Ping,
    /// It has read everything up to the ping with this payload.
    Pong(Vec<u8>),
}

/// Why nothing more is received.
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

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong => Self::TooLarge,
            FrameError::NotText => Self::NotText,
            _ => Self::Protocol,
        }
    }
}

/// A connection that has become a WebSocket.
pub(crate) struct Socket<IO> {
    io: IO,
    decoder: Decoder,
    /// The answer to the client's last ping, which is the only one that it needs (RFC 6455 s5.5.3).
    pong: Option<Box<[u8]>>,
    /// What waits to be sent.
    unsent: Unsent,
    /// A Close frame is sent, or waits to be.
    is_closed: bool,
    /// The client's Close frame has arrived: the connection ends when ours is sent.
    is_left: bool,
    /// How long the client may leave what is sent to it unread, in milliseconds.
    write_timeout_ms: u32,
    /// Its place among the connections.
    _place: OwnedSemaphorePermit,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    /// Takes over `io` after the handshake; `read` are the bytes that arrived after it.
    pub(crate) fn new(
        io: IO,
        read: &[u8],
        message_max: usize,
        write_timeout: Duration,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let mut decoder = Decoder::new(message_max);
        decoder.feed(read);
        Self {
            io,
            decoder,
            pong: None,
            unsent: Unsent::default(),
            is_closed: false,
            is_left: false,
            // Longer than 49 days is as good as that.
            write_timeout_ms: u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX),
            _place: place,
        }
    }

    /// Waits for the next event. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Heard, Ended> {
        if let Some(event) = poll_fn(|cx| self.poll_next(cx)).await? {
            return Ok(event);
        }
        // On the heap: while it waits to receive, it needs no memory for this.
        Box::pin(self.flush()).await?;
        Err(Ended::Left)
    }

    /// The next event; `None` when the client has left.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Heard>, Ended>> {
        while !self.is_left {
            match self.decoder.next_event()? {
                Some(websocket::Event::Text(text)) => return Poll::Ready(Ok(Some(Heard::Text(text)))),
                Some(websocket::Event::Binary(_)) => return Poll::Ready(Err(Ended::Binary)),
                Some(websocket::Event::Pong(payload)) => return Poll::Ready(Ok(Some(Heard::Pong(payload)))),
                Some(websocket::Event::Ping(payload)) => {
                    self.pong = Some(payload.into());
                    return Poll::Ready(Ok(Some(Heard::Ping)));
                }
                Some(websocket::Event::Close(close)) => {
                    self.is_left = true;
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

    /// Queues a text, which goes out with the next [`flush`](Self::flush) at the latest.
    pub(crate) async fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Ended> {
        self.unsent.append(|out| write_frame(out, Opcode::Text, write));
        if self.unsent.len() < WRITE { Ok(()) } else { self.flush().await }
    }

    /// Queues a ping with a payload of 125 bytes at most, which a client answers when it has read everything before.
    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.unsent.append(|out| write_frame(out, Opcode::Ping, |out| out.extend_from_slice(payload)));
    }

    /// Sends what is queued.
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

    /// Sends a Close frame. What the client sent before it read that frame can still be received, until it answers; then, or
    /// after an error of the framing, [`next`](Self::next) returns [`Ended::Left`].
    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Ended> {
        self.queue_close(&[&code.to_be_bytes(), reason.as_bytes()].concat());
        self.flush().await
    }

    fn queue_close(&mut self, payload: &[u8]) {
        if !self.is_closed {
            self.is_closed = true;
            self.unsent.append(|out| write_frame(out, Opcode::Close, |out| out.extend_from_slice(payload)));
        }
    }
}
