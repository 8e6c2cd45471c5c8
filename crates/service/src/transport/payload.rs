//! The body of an answer: known in full, or a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

/// The body of an answer.
pub(crate) enum Payload {
    /// The whole body.
    Whole(Bytes),
    /// Pieces that end by themselves, such as those of a poll.
    Stream(Pieces),
    /// Pieces for as long as the client stays. The stream is dropped when the client leaves.
    Held(Pieces),
}

/// The pieces of a body. After an error the client sees a body that was cut, and not one that has ended.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, Cut>>;

/// The service cannot send the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the rest of the body is not available")]
pub(crate) struct Cut;

impl Payload {
    /// Whether the body is certainly empty.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(whole: T) -> Self {
        Self::Whole(whole.into())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()).map(Ok),
            Self::Stream(stream) | Self::Held(stream) => ready!(Pin::new(stream).poll_next(cx)),
        };
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) | Self::Held(_) => SizeHint::default(),
        }
    }
}
