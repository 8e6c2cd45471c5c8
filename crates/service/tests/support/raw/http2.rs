//! An HTTP/2 connection in frames: what is sent is written byte by byte, what comes is decoded here (RFC 9113,
//! and RFC 7541 by a decoder that the service does not use).

use std::collections::HashMap;

use loona_hpack::Decoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{frame, header_block, http2_preface};
use crate::support::within;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 0x20;

/// Header fields as they stood in the block, pseudo-header fields first.
pub type Fields = Vec<(String, String)>;

/// One client connection.
pub struct Connection<IO> {
    io: IO,
    seen: Vec<u8>,
    decoder: Decoder<'static>,
    /// Whether PINGs are answered.
    pub answers_pings: bool,
}

/// What the service sent, as far as the tests check it.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Headers { stream: u32, fields: Fields, end: bool },
    Promise { stream: u32, promised: u32, fields: Fields },
    Data { stream: u32, bytes: Vec<u8>, end: bool },
}

/// An answer, pushed or asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub fields: Fields,
    pub body: Vec<u8>,
}

/// A push: the request that the service promised to answer, and the answer.
#[derive(Debug)]
pub struct Pushed {
    pub request: Fields,
    pub response: Received,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Sends the client's half of the start, with empty SETTINGS: pushes are allowed by default (RFC 9113 s6.5.2).
    pub async fn open(mut io: IO) -> Self {
        io.write_all(&http2_preface()).await.unwrap();
        Self { io, seen: Vec::new(), decoder: Decoder::new(), answers_pings: true }
    }

    /// A request without a body: one HEADERS frame.
    pub async fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) {
        let bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, &header_block(fields));
        self.io.write_all(&bytes).await.unwrap();
    }

    /// A request with a body: HEADERS and DATA.
    pub async fn ask_with(&mut self, stream: u32, fields: &[(&str, &str)], body: &[u8]) {
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &header_block(fields));
        bytes.extend(frame(DATA, END_STREAM, stream, body));
        self.io.write_all(&bytes).await.unwrap();
    }

    /// The answer on a stream, when nothing else is to come before its end.
    pub async fn answer(&mut self, on: u32) -> Received {
        let (pushes, answer) = self.until_answered(on).await;
        assert!(pushes.is_empty(), "{pushes:?}");
        answer
    }

    /// The pushes that were promised before a request's own answer ended, and that answer. The promised streams may end
    /// after it.
    pub async fn until_answered(&mut self, on: u32) -> (Vec<Pushed>, Received) {
        let mut streams = Streams::default();
        while !streams.all_ended(on) {
            streams.take(self.next().await, on);
        }
        let answer = streams.received.remove(&on).unwrap();
        (streams.pushes(), answer)
    }

    /// The next push on a request that stays open.
    pub async fn push(&mut self, on: u32) -> Pushed {
        let mut streams = Streams::default();
        while streams.ended.is_empty() {
            streams.take(self.next().await, on);
        }
        assert_ne!(streams.ended, [on], "the request ended");
        streams.pushes().remove(0)
    }

    /// The next frame that belongs to a request. SETTINGS and PING are answered on the way.
    pub async fn next(&mut self) -> Event {
        loop {
            let (kind, flags, stream, payload) = self.frame().await;
            let end = flags & END_STREAM != 0;
            match kind {
                DATA => return Event::Data { stream, bytes: unpad(flags, payload), end },
                HEADERS => {
                    let block = unpad(flags, payload);
                    let block = if flags & PRIORITY == 0 { &block[..] } else { &block[5..] };
                    return Event::Headers { stream, fields: self.decode(flags, block), end };
                }
                PUSH_PROMISE => {
                    let payload = unpad(flags, payload);
                    let (promised, block) = payload.split_first_chunk().unwrap();
                    let promised = u32::from_be_bytes(*promised);
                    return Event::Promise { stream, promised, fields: self.decode(flags, block) };
                }
                SETTINGS | PING if flags & ACK == 0 && (kind == SETTINGS || self.answers_pings) => {
                    let payload = if kind == PING { &payload[..] } else { &[] };
                    self.io.write_all(&frame(kind, ACK, 0, payload)).await.unwrap();
                }
                _ => {}
            }
        }
    }

    fn decode(&mut self, flags: u8, block: &[u8]) -> Fields {
        assert_ne!(flags & END_HEADERS, 0, "no header list here is long enough for a CONTINUATION");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let fields = self.decoder.decode(block).unwrap();
        fields.into_iter().map(|(name, value)| (text(name.to_vec()), text(value.to_vec()))).collect()
    }

    /// One frame (RFC 9113 s4.1): kind, flags, stream, payload.
    async fn frame(&mut self) -> (u8, u8, u32, Vec<u8>) {
        loop {
            if let Some(found) = super::frames(&self.seen).into_iter().next() {
                self.seen.drain(..9 + found.3.len());
                return found;
            }
            let mut chunk = [0; 4096];
            let read = within(self.io.read(&mut chunk)).await.unwrap();
            assert_ne!(read, 0, "the service closed the connection");
            self.seen.extend_from_slice(&chunk[..read]);
        }
    }
}

/// The streams of a connection, as their frames come in.
#[derive(Debug, Default)]
struct Streams {
    /// In the order in which they were promised.
    promises: Vec<(u32, Fields)>,
    received: HashMap<u32, Received>,
    ended: Vec<u32>,
}

impl Streams {
    fn take(&mut self, event: Event, on: u32) {
        let (stream, end) = match event {
            Event::Promise { stream, promised, fields } => {
                assert_eq!(stream, on, "the push belongs to the request (RFC 9113 s8.4.1)");
                assert_eq!(promised % 2, 0, "a server's streams are even (RFC 9113 s5.1.1)");
                return self.promises.push((promised, fields));
            }
            Event::Headers { stream, fields, end } => {
                self.received.insert(stream, Received { fields, body: Vec::new() });
                (stream, end)
            }
            Event::Data { stream, bytes, end } => {
                self.received.get_mut(&stream).expect("HEADERS before DATA").body.extend(bytes);
                (stream, end)
            }
        };
        if end {
            self.ended.push(stream);
        }
    }

    fn all_ended(&self, on: u32) -> bool {
        let mut streams = self.promises.iter().map(|(stream, _)| stream).chain([&on]);
        streams.all(|stream| self.ended.contains(stream))
    }

    fn pushes(mut self) -> Vec<Pushed> {
        let pushed = |(stream, request)| {
            assert!(self.ended.contains(&stream), "the push on {stream} is whole");
            Pushed { request, response: self.received.remove(&stream).unwrap() }
        };
        self.promises.into_iter().map(pushed).collect()
    }
}

impl Received {
    pub fn status(&self) -> &str {
        field(&self.fields, ":status")
    }
}

/// One field that must be there.
pub fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    let found = fields.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("no {name} in {fields:?}")).1
}

fn unpad(flags: u8, mut payload: Vec<u8>) -> Vec<u8> {
    if flags & PADDED != 0 {
        let padding = usize::from(payload.remove(0));
        payload.truncate(payload.len() - padding);
    }
    payload
}
