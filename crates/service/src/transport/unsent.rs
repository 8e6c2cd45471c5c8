//! Bytes that wait to be sent; without any, it holds no memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Bytes that wait for a socket.
#[derive(Default)]
pub(crate) struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    /// How many bytes it holds, including those already sent.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds the bytes that `write` appends.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
    }

    /// Adds the bytes that `write` puts into a buffer of `room` bytes. If `write` fails with a larger size, it gets a
    /// buffer of that size. An error without a size ends the connection.
    pub(super) fn grow(
        &mut self,
        mut room: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
    ) -> io::Result<()> {
        let start = self.bytes.len();
        loop {
            self.bytes.resize(start + room, 0);
            match write(&mut self.bytes[start..]) {
                Ok(written) => {
                    debug_assert!(written <= room, "a writer returns no more than its room");
                    self.bytes.truncate(start + written);
                    return Ok(());
                }
                Err(Some(needed)) if needed > room => room = needed,
                Err(_) => {
                    self.bytes.truncate(start);
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
    }

    /// Sends everything. Bytes that were sent before the future is dropped are not sent again.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        if !self.bytes.is_empty() {
            *self = Self::default();
        }
        Poll::Ready(Ok(()))
    }
}
