//! MCS frames in both directions, over a connection that begins with the version byte. The door knows the meaning of
//! the frames.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use doorbell_protocol::mcs::frame::{Decoder, Encoder, Frame, FrameError};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::place::Place;
use super::read::poll_read;

/// The first byte of an MCS connection. No HTTP request begins with it.
pub(crate) use doorbell_protocol::mcs::frame::VERSION;

/// Consecutive frames are written together up to about this size.
const WRITE_BUFFER: usize = 16 << 10;
/// How long a client may take to close the connection after our last frame. If we closed it immediately, the client
/// might not read that frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the socket receives nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Ended {
    /// The client or the network closed the connection, or the client read nothing for too long.
    #[error("the client has left")]
    Left,
    /// The client broke the framing rules.
    #[error(transparent)]
    Framing(#[from] FrameError),
}

/// An MCS connection.
pub(crate) struct Socket<IO> {
    io: IO,
    decoder: Decoder,
    encoder: Encoder,
    /// Bytes that wait to be sent.
    unsent: Vec<u8>,
    /// How long the client may leave our bytes unread.
    write_timeout: Duration,
    /// The place of the connection.
    pub(crate) place: Arc<Place>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    pub(crate) fn new(io: IO, write_timeout: Duration, place: Arc<Place>) -> Self {
        Self { io, decoder: Decoder::new(), encoder: Encoder::new(), unsent: Vec::new(), write_timeout, place }
    }

    /// Waits for the next frame. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Frame, Ended> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Ended>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Poll::Ready(Ok(frame));
            }
            let decoder = &mut self.decoder;
            ready!(poll_read(&mut self.io, cx, |bytes| decoder.feed(bytes))).map_err(|_| Ended::Left)?;
        }
    }

    /// Queues a frame; the next [`flush`](Self::flush) sends it at the latest.
    pub(crate) async fn send(&mut self, frame: &Frame) -> Result<(), Ended> {
        self.encoder.write(frame, &mut self.unsent);
        if self.unsent.len() < WRITE_BUFFER { Ok(()) } else { self.flush().await }
    }

    /// Sends the queued frames.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        // Taken out, so that an idle connection holds no memory for it.
        let bytes = std::mem::take(&mut self.unsent);
        let sending = async {
            self.io.write_all(&bytes).await?;
            self.io.flush().await
        };
        match timeout(self.write_timeout, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Left),
        }
    }

    /// Sends the queued frames, ends the connection, and gives the client a moment to read.
    pub(crate) async fn close(mut self) {
        let closing = async {
            self.flush().await?;
            self.io.shutdown().await.map_err(|_| Ended::Left)?;
            // Later bytes of the client are discarded.
            while poll_fn(|cx| poll_read(&mut self.io, cx, |_| {})).await.is_ok() {}
            Ok::<_, Ended>(())
        };
        // An error ends the connection too.
        drop(timeout(CLOSE_TIMEOUT, closing).await);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use doorbell_protocol::mcs::frame::tag;
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;

    fn socket(io: DuplexStream, write_timeout: Duration) -> Socket<DuplexStream> {
        Socket::new(io, write_timeout, Place::any())
    }

    fn ping(byte: u8) -> Frame {
        Frame { tag: tag::HEARTBEAT_PING, body: Bytes::copy_from_slice(&[0x10, byte]) }
    }

    #[tokio::test]
    async fn frames_arrive_however_they_are_cut_and_although_waits_are_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut socket = socket(ours, Duration::from_secs(30));
        for byte in [VERSION, 0, 2] {
            theirs.write_all(&[byte]).await.unwrap();
            assert!(timeout(Duration::from_millis(1), socket.next()).await.is_err());
        }
        theirs.write_all(&[0x10, 1, 0, 2, 0x10, 2]).await.unwrap();
        assert_eq!(socket.next().await, Ok(ping(1)));
        assert_eq!(socket.next().await, Ok(ping(2)));
        theirs.write_all(&[0, 0xff, 0xff, 0xff]).await.unwrap();
        assert_eq!(socket.next().await, Err(Ended::Framing(FrameError::Length)));
    }

    #[tokio::test]
    async fn what_is_queued_goes_out_together() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut socket = socket(ours, Duration::from_secs(30));
        socket.send(&ping(1)).await.unwrap();
        socket.send(&ping(2)).await.unwrap();
        let closing = tokio::spawn(socket.close());
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, [VERSION, 0, 2, 0x10, 1, 0, 2, 0x10, 2]);
        drop(theirs);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let mut socket = socket(ours, Duration::from_millis(1));
        socket.send(&ping(1)).await.unwrap();
        assert_eq!(socket.flush().await, Err(Ended::Left));
    }
}
