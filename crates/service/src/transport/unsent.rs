//! What was handed over and is not sent yet: no memory while there is nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Octets in line for a socket.
#[derive(Default)]
pub(super) struct Unsent {
    octets: Vec<u8>,
    sent: usize,
}

impl Unsent {
    /// How many octets there are, sent ones among them.
    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.octets.capacity()
    }

    /// Adds what `write` appends.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.octets);
    }

    /// Adds what `write` puts into the room that it is given: `room` octets, or as many more as it asks for by its error.
    /// An error without a number ends the connection.
    pub(super) fn grow(
        &mut self,
        mut room: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
    ) -> io::Result<()> {
        let start = self.octets.len();
        loop {
            self.octets.resize(start + room, 0);
            match write(self.octets.get_mut(start..).unwrap_or_default()) {
                Ok(written) => {
                    self.octets.truncate(start + written);
                    return Ok(());
                }
                Err(Some(needed)) if needed > room => room = needed,
                Err(_) => {
                    self.octets.truncate(start);
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
    }

    /// Sends all of it. What is sent when the wait is given up is not sent again.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.octets.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        if !self.octets.is_empty() {
            *self = Self::default();
        }
        Poll::Ready(Ok(()))
    }
}
