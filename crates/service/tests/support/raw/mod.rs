//! Bytes on a socket, for requests that no client library would send.

pub mod http2;
pub mod websocket;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, within};

/// One HTTP/1.1 exchange on a connection of its own.
pub async fn http1(address: SocketAddr, mut request: Request<Bytes>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let host = request.uri().authority().unwrap().as_str().parse().unwrap();
    request.headers_mut().insert("host", host);
    *request.uri_mut() = request.uri().path().parse().unwrap();
    let response = sender.send_request(request.map(Full::new)).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Sends bytes and reads one answer: the head, and a body of Content-Length bytes.
pub async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    read_answer(stream).await
}

/// Reads one HTTP/1.1 answer.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    within(async {
        let mut seen = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&chunk[..read]);
            let text = String::from_utf8_lossy(&seen);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let lines = head.lines().map(str::to_ascii_lowercase);
                let length = lines.filter_map(|l| l.strip_prefix("content-length: ").map(str::to_owned)).next();
                if body.len() >= length.map_or(0, |l| l.parse().unwrap()) {
                    return text.into_owned();
                }
            }
        }
    })
    .await
}

/// Sends a whole HTTP/1.1 request on a connection of its own.
pub async fn once(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    exchange(&mut stream, bytes.as_ref()).await
}

/// Reads until the service closes; what it sent before.
pub async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    within(async {
        let mut seen = Vec::new();
        // A reset closes too.
        let _ = stream.read_to_end(&mut seen).await;
        seen
    })
    .await
}

/// The client's half of an HTTP/2 connection start, with empty SETTINGS (RFC 9113 s3.4).
pub fn http2_preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

/// An HTTP/2 frame (RFC 9113 s4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block without compression (RFC 7541 s6.2.2): name and value as they are.
pub fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A length with a 7-bit prefix (RFC 7541 s5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return block.push(value as u8);
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Frames as they arrived: kind, flags, stream, payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        found.push((head[3], head[4], stream, payload.to_vec()));
        bytes = rest;
    }
    found
}
