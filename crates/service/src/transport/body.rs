//! Request bodies of either HTTP version, read whole with a limit on bytes and time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::timeout;

use super::half_close::Owed;

/// A body that has not been read yet.
pub(crate) struct Body {
    pieces: Pieces,
    /// Its Content-Length, if it has one.
    announced: Option<u64>,
    /// The client sends it after an interim answer (`Expect: 100-continue`).
    waits: bool,
}

enum Pieces {
    Http1(hyper::body::Incoming),
    Http2(h2::RecvStream, Arc<Owed>),
}

/// Why a body was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BodyError {
    /// It is longer than the bound; answered with 413.
    #[error("the body is longer than {max} bytes")]
    TooLarge { max: usize },
    /// It did not arrive in time; answered with 408.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// The client reset the stream, or its framing is broken.
    #[error("the body ended too early")]
    Broken,
}

/// How many bytes of a body that is too long are read and discarded, so that the connection stays usable
/// (PS-8030-7.2-4).
const DISCARDED_MAX: usize = 2 << 20;

impl Body {
    pub(crate) fn http1(body: hyper::body::Incoming, request: &HeaderMap) -> Self {
        Self::new(Pieces::Http1(body), request)
    }

    /// `owed` reports the end of the connection's requests.
    pub(crate) fn http2(stream: h2::RecvStream, request: &HeaderMap, owed: Arc<Owed>) -> Self {
        Self::new(Pieces::Http2(stream, owed), request)
    }

    fn new(pieces: Pieces, request: &HeaderMap) -> Self {
        let length = request.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        Self { pieces, announced: length.and_then(|value| value.parse().ok()), waits: request.contains_key(EXPECT) }
    }

    /// Reads the whole body; more than `max` bytes are an error, immediately if Content-Length announces them.
    pub(crate) async fn read(self, max: usize, within: Duration) -> Result<Bytes, BodyError> {
        if self.announced.is_some_and(|length| length > max as u64) {
            // A client that waits for an interim answer has not sent it, and does not.
            if !self.waits {
                tokio::spawn(timeout(within, self.pieces.collect(0)));
            }
            return Err(BodyError::TooLarge { max });
        }
        timeout(within, self.pieces.collect(max)).await.map_err(|_| BodyError::TimedOut)?
    }
}

impl Pieces {
    async fn collect(mut self, max: usize) -> Result<Bytes, BodyError> {
        // Copied, because a slice would keep the whole read buffer in memory for the message's lifetime.
        let mut whole = Vec::new();
        let mut seen = 0;
        while let Some(data) = self.next().await? {
            seen += data.len();
            if seen <= max {
                whole.extend_from_slice(&data);
            } else if seen > DISCARDED_MAX {
                break;
            }
        }
        if seen > max { Err(BodyError::TooLarge { max }) } else { Ok(whole.into_boxed_slice().into()) }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        match self {
            Self::Http1(body) => loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(_)) => return Err(BodyError::Broken),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Ok(Some(data)),
                        Err(_trailers) => return Ok(None),
                    },
                }
            },
            Self::Http2(stream, owed) => {
                let data = tokio::select! {
                    // What came before the end counts.
                    biased;
                    data = stream.data() => data,
                    () = owed.ended() => return Err(BodyError::Broken),
                };
                let Some(data) = data.transpose().map_err(|_| BodyError::Broken)? else { return Ok(None) };
                // Bodies are bounded, so the window opens again immediately.
                stream.flow_control().release_capacity(data.len()).map_err(|_| BodyError::Broken)?;
                Ok(Some(data))
            }
        }
    }
}
