//! HTTP/1.1 as a client that keeps its connection: for senders of the usual kind, and for Chromium's check-in.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;

/// The head of an answer that is longer than this does not come from a push service.
const HEAD_MAX: usize = 16 << 10;

/// Neither does a body that is longer than this.
const BODY_MAX: usize = 64 << 10;

/// A connection on which one request goes after the other.
pub(super) struct Http1 {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
}

/// The answer to a request.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: BytesMut,
}

impl Http1 {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, incoming: BytesMut::with_capacity(1024) }
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let head = read_head(&mut self.stream, &mut self.incoming).await?;
        while self.incoming.len() < head.content_length {
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Answer { status: head.status, body: self.incoming.split_to(head.content_length) })
    }
}

/// The part of an answer's head that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    content_length: usize,
}

/// Reads up to the end of the head; the bytes after it stay in `incoming`.
pub(super) async fn read_head(stream: &mut Box<dyn Stream>, incoming: &mut BytesMut) -> io::Result<Head> {
    loop {
        if let Some(end) = incoming.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = Head::parse(&incoming[..end])?;
            incoming.advance(end + 4);
            return Ok(head);
        }
        if incoming.len() > HEAD_MAX {
            return Err(io::Error::other("the head of the answer has no end"));
        }
        if stream.read_buf(incoming).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP/1.1"))?;
        let mut content_length = 0;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                content_length = value.trim().parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(io::Error::other("the answer comes in chunks, which are not read here"));
            }
        }
        if content_length > BODY_MAX {
            return Err(io::Error::other("the answer is longer than a push service's"));
        }
        Ok(Self { status, content_length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_status_and_length_whatever_the_case_of_its_names() {
        let head = Head::parse(b"HTTP/1.1 201 Created\r\nLocation: /m/x\r\nContent-LENGTH: 17").unwrap();
        assert_eq!(head, Head { status: 201, content_length: 17 });
        assert_eq!(Head::parse(b"HTTP/1.1 101 Switching Protocols").unwrap(), Head { status: 101, content_length: 0 });
        for wrong in [
            "SSH-2.0",
            "HTTP/1.1 2",
            "HTTP/1.1 200 OK\r\ncontent-length: 65537",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked",
        ] {
            assert!(Head::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
