//! One request over HTTP/1.1, by hand, so that no library hides the answer.

use std::io;

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connector::{Connector, within};

/// An answer of the service has a head and a few hundred bytes.
const ANSWER_MAX: u64 = 16 * 1024;

/// Sends it on a connection of its own: the whole answer, head and body.
pub(super) async fn ask(
    connector: &Connector,
    method: &str,
    path: &str,
    fields: &HeaderMap,
    body: &[u8],
) -> io::Result<String> {
    let mut stream = connector.tls(&[b"http/1.1"]).await?;
    let host = connector.target.authority();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: doorbell-doctor\r\nconnection: close\r\n")
            .into_bytes();
    for (name, value) in fields {
        request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if method != "GET" {
        request.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
    }
    within(async {
        stream.write_all(&[&request[..], b"\r\n", body].concat()).await?;
        let mut answer = Vec::new();
        // Some servers close the connection without TLS's close_notify: the bytes before it count.
        match stream.take(ANSWER_MAX).read_to_end(&mut answer).await {
            Err(error) if answer.is_empty() => Err(error),
            _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
        }
    })
    .await
}

/// The status of an answer, or `None` if it is not one of HTTP.
pub(super) fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}
