//! A client as small as an attacker's: HTTP/1.1 and WebSocket frames by hand, from an address of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use doorbell_protocol::firefox::SUBPROTOCOL;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long an honest client waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// More than the longest answer that a client here reads.
const ANSWER_MAX: usize = 64 << 10;

/// A connection over HTTP/1.1 or, after an upgrade, with WebSocket frames.
pub(crate) struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
}

/// An answer over HTTP/1.1.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The path of the Link with this relation.
    pub(crate) fn link(&self, relation: &str) -> Option<String> {
        let link = self.headers("link").find(|link| link.contains(relation))?;
        Some(path(link.split(['<', '>']).nth(1)?))
    }

    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// The path of an absolute URI.
pub(crate) fn path(uri: &str) -> String {
    let after_scheme = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    after_scheme.find('/').map_or_else(String::new, |start| after_scheme[start..].to_owned())
}

/// A TCP connection from this address of loopback. It closes without a port that stays in use for a minute.
pub(crate) async fn tcp(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = patiently(socket.connect(to)).await?;
    stream.set_nodelay(true)?;
    stream.set_zero_linger()?;
    Ok(stream)
}

/// An HTTP/2 connection. Its driver ends with the handle.
pub(crate) async fn http2(
    to: SocketAddr,
    from: Ipv4Addr,
    builder: &h2::client::Builder,
) -> io::Result<(SendRequest<Bytes>, JoinHandle<()>)> {
    let stream = tcp(to, from).await?;
    let (requests, connection) = patiently(async { builder.handshake(stream).await.map_err(io::Error::other) }).await?;
    let driver = tokio::spawn(async move {
        // The end of the connection is seen by its requests.
        let _ = connection.await;
    });
    Ok((requests, driver))
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr, from: Ipv4Addr) -> io::Result<Self> {
        Ok(Self { stream: tcp(to, from).await?, incoming: BytesMut::new() })
    }

    /// One request and its answer, without the answer's body.
    pub(crate) async fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n");
        patiently(async {
            self.stream.write_all(&[head.as_bytes(), body].concat()).await?;
            let answer = self.read_head().await?;
            let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while self.incoming.len() < length {
                self.read().await?;
            }
            self.incoming.advance(length);
            Ok(answer)
        })
        .await
    }

    /// Becomes a WebSocket and says hello: the uaid.
    pub(crate) async fn hello(&mut self) -> io::Result<String> {
        let upgrade = format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n"
        );
        patiently(async {
            self.stream.write_all(upgrade.as_bytes()).await?;
            let answer = self.read_head().await?;
            if answer.status != 101 {
                return Err(io::Error::other(format!("the upgrade is answered {}", answer.status)));
            }
            Ok(())
        })
        .await?;
        self.send(r#"{"messageType":"hello","use_webpush":true}"#).await?;
        let hello = self.next().await?;
        hello["uaid"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(format!("no uaid in {hello}")))
    }

    /// Subscribes over the WebSocket: the path of the push resource.
    pub(crate) async fn register(&mut self) -> io::Result<String> {
        let channel = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
        self.send(&format!(r#"{{"messageType":"register","channelID":"{channel}"}}"#)).await?;
        let answer = self.next().await?;
        let endpoint = answer["pushEndpoint"].as_str().filter(|_| answer["status"] == 200);
        endpoint.map(path).ok_or_else(|| io::Error::other(format!("not registered: {answer}")))
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        let mut frame = vec![0x81];
        match u8::try_from(text.len()) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                let length = u16::try_from(text.len()).map_err(io::Error::other)?;
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        // A mask of zeros.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        patiently(self.stream.write_all(&frame)).await
    }

    /// The next text, which is JSON.
    pub(crate) async fn next(&mut self) -> io::Result<serde_json::Value> {
        patiently(self.next_whenever()).await
    }

    /// The next text, however long it takes. Giving up loses nothing.
    pub(crate) async fn next_whenever(&mut self) -> io::Result<serde_json::Value> {
        loop {
            if let Some((opcode, payload)) = self.frame() {
                match opcode {
                    1 => return serde_json::from_slice(&payload).map_err(io::Error::other),
                    8 => return Err(io::ErrorKind::ConnectionAborted.into()),
                    _ => continue,
                }
            }
            self.read().await?;
        }
    }

    fn frame(&mut self) -> Option<(u8, Bytes)> {
        let [first, second, rest @ ..] = &self.incoming[..] else { return None };
        let (length, start) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            (126.., _) => return None,
            (short, _) => (usize::from(short), 2),
        };
        let opcode = first & 0x0f;
        if self.incoming.len() < start + length {
            return None;
        }
        self.incoming.advance(start);
        Some((opcode, self.incoming.split_to(length).freeze()))
    }

    async fn read_head(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(end) = self.incoming.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.incoming.split_to(end + 4);
                let head = String::from_utf8_lossy(&head).into_owned();
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                let status = status.ok_or_else(|| io::Error::other("an answer without a status"))?;
                return Ok(Answer { status, head });
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.incoming.len() > ANSWER_MAX {
            return Err(io::Error::other("a long answer"));
        }
        self.incoming.reserve(4096);
        match self.stream.read_buf(&mut self.incoming).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
