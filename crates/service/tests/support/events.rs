//! A reader of text/event-stream over HTTP/1.1 that implements the format only.

use std::net::SocketAddr;
use std::time::Duration;

use doorbell_service::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{path, within};

/// A stream of events in progress.
pub struct EventStream {
    socket: TcpStream,
    /// Unread bytes of the body, with the chunks' sizes taken out.
    text: String,
    /// Bytes that are not a whole chunk yet.
    raw: Vec<u8>,
    ended: bool,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// Empty if it has none.
    pub id: String,
    pub name: String,
    pub data: serde_json::Value,
}

impl EventStream {
    /// Asks for events and waits for the head of the answer.
    pub async fn open(address: SocketAddr, uri: &str, headers: &[(&str, &str)]) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{more}\r\n", path(uri));
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { socket, text: String::new(), raw: Vec::new(), ended: false };
        let head_end = within(async {
            loop {
                if let Some(at) = stream.raw.windows(4).position(|w| w == b"\r\n\r\n") {
                    return at;
                }
                assert!(stream.read().await, "no answer");
            }
        })
        .await;
        let head = String::from_utf8(stream.raw.drain(..head_end + 4).collect()).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        stream
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name).map(str::to_owned));
            if let Some(data) = field("data: ") {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { id: field("id: ").unwrap_or_default(), name: field("event: ").unwrap(), data });
            }
        }
    }

    /// The connection, after the stream has ended.
    pub async fn into_socket(mut self) -> TcpStream {
        assert!(self.next().await.is_none() && self.ended, "the stream has ended, and not its connection");
        self.socket
    }

    /// Waits for a comment.
    pub async fn comment(&mut self) {
        let block = self.block().await.expect("a comment, before the stream ends");
        assert_eq!(block, ":");
    }

    /// Moves the clock until a comment comes. The service may read the clock only after a step, so
    /// one step of the right length is not enough.
    pub async fn comment_in_time(&mut self, clock: &Clock) {
        within(async {
            loop {
                clock.advance(Duration::from_secs(10));
                if let Ok(block) = tokio::time::timeout(Duration::from_millis(20), self.block()).await {
                    return assert_eq!(block.as_deref(), Some(":"));
                }
            }
        })
        .await;
    }

    /// The next event; moves the clock by `step` until it comes.
    pub async fn next_in_time(&mut self, clock: &Clock, step: Duration) -> Option<Event> {
        within(async {
            loop {
                clock.advance(step);
                if let Ok(event) = tokio::time::timeout(Duration::from_millis(20), self.next()).await {
                    return event;
                }
            }
        })
        .await
    }

    async fn block(&mut self) -> Option<String> {
        within(async {
            loop {
                if let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (block, rest) = (block.to_owned(), rest.to_owned());
                    self.text = rest;
                    return Some(block);
                }
                self.take_chunks();
                if self.text.contains("\n\n") {
                    continue;
                }
                if self.ended || !self.read().await {
                    return None;
                }
            }
        })
        .await
    }

    /// `<length in hex>\r\n<bytes>\r\n`, the last of length zero (RFC 9112 s7.1).
    fn take_chunks(&mut self) {
        while let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).unwrap(), 16).unwrap();
            if self.raw.len() < line + 2 + length + 2 {
                return;
            }
            self.text += std::str::from_utf8(&self.raw[line + 2..line + 2 + length]).unwrap();
            self.raw.drain(..line + 2 + length + 2);
            self.ended |= length == 0;
        }
    }

    async fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.raw.extend_from_slice(&chunk[..read]);
                true
            }
        }
    }
}
