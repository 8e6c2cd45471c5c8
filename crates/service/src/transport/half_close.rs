//! An HTTP/2 client that ends its sending side after whole requests still reads the answers (RFC 9293 s3.6). The h2
//! crate drops every exchange when it reads the end, so it reads it only once no answer is due.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long after the client's end an answer may wait for room: what is queued before it may still be on its way to the
/// socket, but no WINDOW_UPDATE comes.
const STALLED: Duration = Duration::from_secs(2);

/// The answers of a connection that are due.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// The handshake is complete: requests may come.
    is_open: AtomicBool,
    /// The client has ended its sending side, and everything before the end was read.
    has_ended: AtomicBool,
    end: Notify,
    requests: AtomicUsize,
    done: AtomicUsize,
    /// The connection, while it waits for the last answer.
    connection: AtomicWaker,
}

impl Owed {
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// One more answer is due.
    pub(crate) fn add(self: &Arc<Self>) -> Due {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Due { owed: self.clone(), is_done: AtomicBool::new(false) }
    }

    /// Waits until the client has ended its sending side: what it has not sent does not come.
    pub(crate) async fn ended(&self) {
        let end = self.end.notified();
        if !self.has_ended() {
            end.await;
        }
    }

    /// Waits until there can be no more room for what is to be sent.
    pub(crate) async fn stalled(&self) {
        self.ended().await;
        sleep(STALLED).await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    /// How many requests came, if all of them are answered.
    fn all_answered(&self) -> Option<usize> {
        let done = self.done.load(Ordering::Acquire);
        Some(self.requests.load(Ordering::Acquire)).filter(|requests| *requests == done)
    }
}

/// An answer that is due, until this is dropped.
#[derive(Debug)]
pub(crate) struct Due {
    owed: Arc<Owed>,
    is_done: AtomicBool,
}

impl Due {
    pub(crate) fn owed(&self) -> &Arc<Owed> {
        &self.owed
    }

    /// The answer lasts as long as its client stays: it is not due after the client's end.
    pub(crate) fn hold(&self) {
        if !self.is_done.swap(true, Ordering::AcqRel) {
            self.owed.done.fetch_add(1, Ordering::AcqRel);
            self.owed.connection.wake();
        }
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        self.hold();
    }
}

/// A stream whose end is read after the last answer is written.
pub(crate) struct HalfClose<IO> {
    io: IO,
    owed: Arc<Owed>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The end has come, and answers are due.
    Due,
    /// After this many requests all answers are queued, and not all are written.
    Writing(usize),
    /// They are written.
    Written(usize),
}

impl<IO> HalfClose<IO> {
    pub(crate) fn new(io: IO, owed: Arc<Owed>) -> Self {
        Self { io, owed, phase: Phase::Open }
    }

    /// Whether the end may be read now.
    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.owed.is_open.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        // Registered before the look: an answer in between wakes.
        self.owed.connection.register(cx.waker());
        self.phase = match (self.owed.all_answered(), self.phase) {
            (None, _) => Phase::Due,
            (Some(requests), Phase::Written(before)) if requests == before => return Poll::Ready(()),
            // The h2 crate writes after it has read, and accepts the last requests after that.
            (Some(requests), _) => Phase::Writing(requests),
        };
        Poll::Pending
    }

    /// More is being written.
    fn unwritten(&mut self) {
        if let Phase::Written(requests) = self.phase {
            self.phase = Phase::Writing(requests);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for HalfClose<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Open {
            let before = buf.filled().len();
            match ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
                Ok(()) if buf.filled().len() == before && buf.remaining() > 0 => {}
                // TLS without a close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                read => return Poll::Ready(read),
            }
            self.phase = Phase::Due;
            self.owed.end();
        }
        self.poll_end(cx).map(Ok)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for HalfClose<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.unwritten();
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unwritten();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if let Phase::Writing(requests) = self.phase {
            self.phase = Phase::Written(requests);
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
