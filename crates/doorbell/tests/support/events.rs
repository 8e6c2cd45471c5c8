//! A reader of `text/event-stream` that knows no more than the format.

use h2::RecvStream;
use http::{Method, StatusCode};
use serde_json::Value;

use super::peer::{BoxError, Peer};

/// A stream of events in progress.
pub struct Events {
    stream: RecvStream,
    unread: Vec<u8>,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub data: Value,
}

impl Events {
    /// Asks for the events of `url` after the one with the id `after`: for those that there are (`Prefer: wait=0`), or,
    /// when `held`, for those to come too.
    pub async fn open(peer: &Peer, url: &str, after: Option<&str>, held: bool) -> Result<Self, BoxError> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(after.map(|id| ("last-event-id", id)));
        headers.extend((!held).then_some(("prefer", "wait=0")));
        let answer = peer.send(Method::GET, url, &headers, b"").await?.await?;
        assert_eq!(answer.status(), StatusCode::OK, "{url} gives events");
        Ok(Self { stream: answer.into_body(), unread: Vec::new() })
    }

    /// The next whole event; `None` when the stream has ended in order.
    pub async fn next(&mut self) -> Result<Option<Event>, BoxError> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let block = String::from_utf8(self.unread.drain(..end + 2).collect())?;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                    return Ok(Some(Event { id: id.to_owned(), data: serde_json::from_str(data)? }));
                }
            }
            let Some(piece) = self.stream.data().await else { return Ok(None) };
            let piece = piece?;
            self.stream.flow_control().release_capacity(piece.len())?;
            self.unread.extend_from_slice(&piece);
        }
    }
}
