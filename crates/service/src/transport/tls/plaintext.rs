//! Plaintext that has arrived and is not read yet; an idle connection has none.

use tokio::io::ReadBuf;

/// At most the plaintext of one read.
#[derive(Default)]
pub(super) struct Plaintext {
    bytes: Vec<u8>,
    taken: usize,
}

impl Plaintext {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn first(&self) -> Option<u8> {
        self.bytes.get(self.taken).copied()
    }

    /// Adds `payload`: directly into `buf` while it has room and no older plaintext waits.
    pub(super) fn put(&mut self, payload: &[u8], buf: &mut ReadBuf<'_>) {
        let room = if self.is_empty() { buf.remaining().min(payload.len()) } else { 0 };
        let (now, later) = payload.split_at(room);
        buf.put_slice(now);
        self.bytes.extend_from_slice(later);
    }

    /// Moves plaintext into `buf` until that is full.
    pub(super) fn take_into(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let now = &rest[..rest.len().min(buf.remaining())];
        buf.put_slice(now);
        self.taken += now.len();
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}
