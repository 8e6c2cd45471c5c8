//! The client's half of a WebSocket (RFC 6455), as far as Firefox's protocol needs it: whole text frames, pings, close.

use std::io;

use bytes::{Buf, BytesMut};
use doorbell_protocol::firefox::SUBPROTOCOL;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http1;
use crate::net::Stream;

/// More than a message with the longest body in base64url.
const FRAME_MAX: usize = 64 << 10;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The only frame of its message.
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// An open WebSocket.
pub(super) struct WebSocket {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
    /// How many bytes of `incoming` are the frame that was returned last.
    used: usize,
    outgoing: Vec<u8>,
}

impl WebSocket {
    /// Upgrades the connection as Firefox does.
    pub(super) async fn open(mut stream: Box<dyn Stream>, authority: &str) -> io::Result<Self> {
        let mut key = String::new();
        for _ in 0..22 {
            key.push(fastrand::alphanumeric());
        }
        // 16 bytes end with four bits and two characters of padding; `A` has the two unused bits clear.
        key.replace_range(21.., "A==");
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut incoming = BytesMut::with_capacity(1024);
        let head = http1::read_head(&mut stream, &mut incoming).await?;
        if head.status != 101 {
            return Err(io::Error::other(format!("the WebSocket's upgrade is answered {}", head.status)));
        }
        Ok(Self { stream, incoming, used: 0, outgoing: Vec::new() })
    }

    /// Sends a text.
    pub(super) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.write(TEXT, text.as_bytes()).await
    }

    /// The next text. Pings before it are answered. Safe to cancel: no byte is lost.
    pub(super) async fn next(&mut self) -> io::Result<&str> {
        loop {
            self.incoming.advance(std::mem::take(&mut self.used));
            let frame = loop {
                match Frame::parse(&self.incoming)? {
                    Some(frame) => break frame,
                    None if self.stream.read_buf(&mut self.incoming).await? == 0 => {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    None => {}
                }
            };
            self.used = frame.end;
            match frame.opcode {
                TEXT => {
                    return std::str::from_utf8(&self.incoming[frame.start..frame.end]).map_err(io::Error::other);
                }
                PING => {
                    let payload = self.incoming[frame.start..frame.end].to_vec();
                    self.write(PONG, &payload).await?;
                }
                CLOSE => {
                    // 1005 stands for a close without a code (RFC 6455 s7.1.5).
                    let code =
                        self.incoming[frame.start..frame.end].first_chunk().copied().map_or(1005, u16::from_be_bytes);
                    return Err(io::Error::other(format!("the WebSocket was closed with code {code}")));
                }
                _ => {}
            }
        }
    }

    async fn write(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.outgoing.clear();
        self.outgoing.push(FINAL | opcode);
        match payload.len() {
            short @ 0..=125 => self.outgoing.push(MASKED | short as u8),
            long => {
                let length = u16::try_from(long).map_err(|_| io::Error::other("a frame of more than 64 KiB"))?;
                self.outgoing.push(MASKED | 126);
                self.outgoing.extend(length.to_be_bytes());
            }
        }
        // A browser's mask must be unpredictable (RFC 6455 s5.3), against pages that attack proxies; we have no page.
        let mask = fastrand::u32(..).to_ne_bytes();
        self.outgoing.extend(mask);
        self.outgoing.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&self.outgoing).await?;
        self.stream.flush().await
    }
}

/// Where a frame's payload is in the bytes received.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    opcode: u8,
    start: usize,
    end: usize,
}

impl Frame {
    /// The first frame; `None` if it is not complete.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0xf0 != FINAL || second & MASKED != 0 {
            return Err(io::Error::other("the service sent a fragment, a masked frame, or one with an extension"));
        }
        let (length, start) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 2),
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= FRAME_MAX);
        let end = start + length.ok_or_else(|| io::Error::other("a frame is longer than any message"))?;
        Ok((bytes.len() >= end).then_some(Self { opcode: first & 0x0f, start, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_with_each_form_of_length_and_not_before_they_are_whole() {
        let lengths: [(usize, &[u8]); 3] =
            [(125, &[125]), (126, &[126, 0, 126]), (65_536, &[127, 0, 0, 0, 0, 0, 1, 0, 0])];
        for (length, written) in lengths {
            let bytes = [&[0x81], written, &vec![b'x'; length]].concat();
            let start = 1 + written.len();
            let whole = Frame { opcode: TEXT, start, end: start + length };
            assert_eq!(Frame::parse(&bytes).unwrap(), Some(whole), "{length}");
            for cut in [0, 1, start - 1, bytes.len() - 1] {
                assert_eq!(Frame::parse(&bytes[..cut]).unwrap(), None, "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        let starts: [&[u8]; 4] = [&[0x01, 0], &[0x81, 0x80], &[0xc1, 0], &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 1]];
        for start in starts {
            assert!(Frame::parse(start).is_err(), "{start:02x?}");
        }
    }
}
