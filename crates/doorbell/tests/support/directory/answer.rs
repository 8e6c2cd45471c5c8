//! HTTP/1.1 over TLS, one request on each connection: also answers that no server should give.

use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Shared;

/// The longest request that it reads.
const REQUEST_MAX: usize = 64 << 10;

/// An answer.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

/// How its body ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    /// It goes on as long as the client reads.
    Endless,
    /// The rest never comes.
    Stalls,
}

impl Answer {
    pub fn json(status: u16, value: &Value) -> Self {
        let body = if value.is_null() { Vec::new() } else { value.to_string().into_bytes() };
        Self { status, headers: Vec::new(), body, end: End::Whole }.with("content-type", "application/json")
    }

    /// An error of ACME (RFC 8555 s6.7).
    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        Self::json(status, &document(kind, detail))
    }

    /// The same with the place where a person can solve it.
    pub fn problem_at(status: u16, kind: &str, instance: &str) -> Self {
        let mut problem = document(kind, "look there");
        problem["instance"] = json!(instance);
        Self::json(status, &problem)
    }

    pub fn pem(pem: &str) -> Self {
        Self { body: pem.as_bytes().to_vec(), ..Self::json(200, &Value::Null) }
    }

    /// Text that is not JSON.
    pub fn page(status: u16) -> Self {
        Self { body: b"<html>no</html>".to_vec(), ..Self::json(status, &Value::Null) }
    }

    /// Spaces, which JSON may begin with, without end.
    pub fn endless() -> Self {
        Self { body: vec![b' '; 4096], end: End::Endless, ..Self::json(200, &Value::Null) }
    }

    /// A byte, and no more.
    pub fn stalls() -> Self {
        Self { body: b"{".to_vec(), end: End::Stalls, ..Self::json(200, &Value::Null) }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = if self.end == End::Whole { self.body.len() } else { 1 << 40 };
        format!("HTTP/1.1 {} x\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n", self.status)
    }
}

/// A problem document.
pub fn document(kind: &str, detail: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail })
}

/// Accepts connections until it is aborted.
pub(super) async fn serve(socket: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move { connection(stream, tls, &shared).await.ok() });
    }
}

async fn connection(stream: TcpStream, tls: Arc<ServerConfig>, shared: &Shared) -> std::io::Result<()> {
    let mut stream = TlsAcceptor::from(tls).accept(stream).await?;
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    let (method, path, head_length, length) = loop {
        let read = stream.read(&mut part).await?;
        request.extend_from_slice(&part[..read]);
        if read == 0 || request.len() > REQUEST_MAX {
            return Ok(());
        }
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let line = String::from_utf8_lossy(&request[..end]).lines().next().unwrap_or_default().to_owned();
        let mut words = line.split(' ').map(str::to_owned);
        break (words.next().unwrap_or_default(), words.next().unwrap_or_default(), end + 4, length.unwrap_or(0_usize));
    };
    while request.len() < head_length + length.min(REQUEST_MAX) {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
    }
    let answer = shared.answer(&method, &path, &request[head_length..]).await;
    stream.write_all(answer.head().as_bytes()).await?;
    stream.write_all(&answer.body).await?;
    stream.flush().await?;
    match answer.end {
        End::Whole => stream.shutdown().await,
        End::Endless => loop {
            stream.write_all(&answer.body).await?;
        },
        // Until the client has enough of it.
        End::Stalls => stream.read(&mut part).await.map(drop),
    }
}
