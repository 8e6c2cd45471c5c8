//! Between hyper and the socket: what hyper does not do for a server.
//!
//! Hyper answers a request that it cannot parse by itself, without a body: here the answer gets one. And it either ends
//! a connection whose client has shut down its sending side, or does not notice. Such a client still reads (RFC 9112
//! s9.6), so its request is answered. But while an answer waits for events without end, the client has left.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::Head;
use crate::transport::{Unsent, poll_read};

/// What the requests of a connection and its socket know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The handler has answered 101.
    pub(super) is_upgraded: AtomicBool,
    /// The answer in progress ends with the client.
    pub(super) is_held: AtomicBool,
    /// Bytes came after the head of an HTTP/1.0 request.
    pub(super) is_followed: AtomicBool,
    /// A request was rejected, and the client may still be sending it.
    pub(super) is_rejected: AtomicBool,
}

/// A socket for hyper; `F` writes the whole answer to a request that hyper rejects with a status.
pub(super) struct Edge<IO, F> {
    io: IO,
    shared: Arc<Shared>,
    reject: F,
    /// Of the request that is read.
    head: Head,
    /// Our answer in place of hyper's.
    unsent: Unsent,
    /// Bytes that the client sent while its answer was held, for hyper.
    early: Vec<u8>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, F: Fn(StatusCode) -> Vec<u8>> Edge<IO, F> {
    pub(super) fn new(io: IO, shared: Arc<Shared>, reject: F) -> Self {
        Self { io, shared, reject, head: Head::default(), unsent: Unsent::default(), early: Vec::new() }
    }

    /// The socket. Bytes that were read early belong to no request that is served any more.
    pub(super) fn into_inner(self) -> IO {
        self.io
    }

    /// Replaces hyper's own answer, if `bytes` are one; the number of bytes that are replaced.
    fn replace(&mut self, bytes: &[u8]) -> Option<usize> {
        // What is read after an answer is another request.
        self.head = Head::default();
        let status = own_answer(bytes)?;
        self.shared.is_rejected.store(true, Ordering::Relaxed);
        let answer = (self.reject)(status);
        self.unsent.append(|out| out.extend(answer));
        Some(bytes.len())
    }

    /// Ends the connection if the client of a held answer has left.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // Bytes of another request hide the end; then the next write shows it.
        if self.shared.is_held.load(Ordering::Relaxed) && self.early.is_empty() {
            let Self { io, early, .. } = self;
            if let Poll::Ready(read) = poll_read(io, cx, |bytes| early.extend_from_slice(bytes)) {
                read?;
                // Hyper may wait for these bytes, if the answer has just ended.
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }
}

/// The status of an answer that hyper makes by itself: an error, without fields of ours and without a body. Each error
/// of ours has a body.
fn own_answer(bytes: &[u8]) -> Option<StatusCode> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let status = rest.get(..3).filter(|status| status[0] == b'4')?;
    let is_empty = bytes.windows(EMPTY.len()).any(|part| part == EMPTY);
    // An answer of ours may stand before it: with its body, or of another request.
    let head_end = bytes.windows(END.len()).position(|part| part == END)?;
    (is_empty && head_end + END.len() == bytes.len()).then(|| StatusCode::from_bytes(status).ok()).flatten()
}

const EMPTY: &[u8] = b"\r\ncontent-length: 0\r\n";
const END: &[u8] = b"\r\n\r\n";

impl<IO: AsyncRead + AsyncWrite + Unpin, F: Unpin> AsyncRead for Edge<IO, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        } else {
            let now = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..now]);
            self.early.drain(..now);
        }
        let is_followed = self.head.is_followed(&buf.filled()[before..]);
        self.shared.is_followed.store(is_followed, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, F: Fn(StatusCode) -> Vec<u8> + Unpin> AsyncWrite for Edge<IO, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.replace(buf) {
            Some(replaced) => Poll::Ready(Ok(replaced)),
            None => Pin::new(&mut self.io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.first().and_then(|first| self.replace(first)) {
            Some(replaced) => Poll::Ready(Ok(replaced)),
            None => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Hyper flushes whenever it has nothing more to write, and each time the connection wakes.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, unsent, .. } = &mut *self;
        ready!(unsent.poll_send(cx, io))?;
        ready!(Pin::new(io).poll_flush(cx))?;
        Poll::Ready(self.poll_left(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, unsent, .. } = &mut *self;
        ready!(unsent.poll_send(cx, io))?;
        Pin::new(io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_without_a_body_is_an_answer_of_hyper() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(own_answer(own), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for ours in [
            &b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"body: HTTP/1.1 400 \r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 4",
            b"",
        ] {
            assert_eq!(own_answer(ours), None, "{}", ours.escape_ascii());
        }
    }
}
