//! Plaintext that has arrived and has not been read yet: none while a connection is idle.

use tokio::io::ReadBuf;

/// As much as is read at a time, at most.
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

    /// Adds `payload`; straight into `buf` where nothing is before it and there is room.
    pub(super) fn put(&mut self, payload: &[u8], buf: &mut ReadBuf<'_>) {
        let room = if self.is_empty() { buf.remaining().min(payload.len()) } else { 0 };
        let (now, later) = payload.split_at(room);
        buf.put_slice(now);
        self.bytes.extend_from_slice(later);
    }

    /// Moves as much as `buf` has room for.
    pub(super) fn take_into(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let now = rest.get(..buf.remaining()).unwrap_or(rest);
        buf.put_slice(now);
        self.taken += now.len();
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}
