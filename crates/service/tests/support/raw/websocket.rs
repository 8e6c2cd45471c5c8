//! A WebSocket in bytes (RFC 6455 s5.2), for a client that does not do what every library does automatically.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::within;

/// More than any kernel holds for one connection.
const PINGS_MAX: usize = 64 << 20;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client that answers no ping automatically.
pub struct RawSocket {
    stream: TcpStream,
    /// The payloads of the pings that came.
    pub pings: Vec<Vec<u8>>,
}

impl RawSocket {
    pub async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        // The example of RFC 6455 s1.3.
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
        Self { stream, pings: Vec::new() }
    }

    pub async fn send(&mut self, text: &str) {
        self.frame(TEXT, text.as_bytes()).await;
    }

    pub async fn pong(&mut self, payload: &[u8]) {
        self.frame(PONG, payload).await;
    }

    /// Sends pings and reads nothing, until the service takes no more: how many bytes it took.
    pub async fn sends_pings_until_nothing_is_taken(&mut self) -> usize {
        let mut ping = vec![0x80 | PING, 0x80 | 125];
        ping.extend([0; 4 + 125]);
        let many = ping.repeat(100);
        let mut taken = 0;
        // The kernel buffers a few MiB.
        while taken < PINGS_MAX {
            // Goes on inside the frame at which the last write stopped.
            let rest = &many[taken % ping.len()..];
            match tokio::time::timeout(Duration::from_millis(500), self.stream.write(rest)).await {
                Ok(written) => taken += written.unwrap(),
                Err(_) => return taken,
            }
        }
        panic!("{taken} bytes of pings were taken and nothing was read");
    }

    /// The next text; pings are kept.
    pub async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                (TEXT, payload) => return String::from_utf8(payload).unwrap(),
                (PING, payload) => self.pings.push(payload),
                (other, _) => panic!("a frame of kind {other}"),
            }
        }
    }

    /// The payload of the next frame, which has to be a ping.
    pub async fn pinged(&mut self) -> Vec<u8> {
        let (kind, payload) = self.next().await;
        assert_eq!(kind, PING);
        payload
    }

    /// The code of the next frame, which has to be a Close.
    pub async fn closed(&mut self) -> u16 {
        let (kind, payload) = self.next().await;
        assert_eq!(kind, CLOSE);
        u16::from_be_bytes([payload[0], payload[1]])
    }

    async fn next(&mut self) -> (u8, Vec<u8>) {
        let kind = within(self.stream.read_u8()).await.unwrap() & 0xf;
        let length = match within(self.stream.read_u8()).await.unwrap() {
            126 => usize::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap() as usize,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        within(self.stream.read_exact(&mut payload)).await.unwrap();
        (kind, payload)
    }

    /// Masked with zeros, which is a valid mask.
    async fn frame(&mut self, kind: u8, payload: &[u8]) {
        let mut bytes = vec![0x80 | kind, 0x80 | 126];
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        self.stream.write_all(&bytes).await.unwrap();
    }
}
