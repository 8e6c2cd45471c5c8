//! The first settings of an HTTP/2 client. The h2 crate reports SETTINGS_ENABLE_PUSH only when a push fails. A client
//! that cannot receive pushes must get an error to its request instead of waiting (PS-8030-6-10).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, then a frame header.
const PREFACE_LEN: usize = 24;
const FRAME_HEADER_LEN: usize = 9;
const SETTINGS: u8 = 4;
const SETTING_LEN: usize = 6;
const ENABLE_PUSH: u16 = 2;
/// RFC 9113 defines six settings; a first frame with more than forty is not parsed.
const WATCHED_MAX: usize = PREFACE_LEN + FRAME_HEADER_LEN + 40 * SETTING_LEN;

/// The settings of a connection's client.
#[derive(Debug)]
pub(crate) struct Peer {
    refuses_pushes: AtomicBool,
    pushes_max: AtomicUsize,
}

impl Default for Peer {
    fn default() -> Self {
        Self { refuses_pushes: AtomicBool::new(false), pushes_max: AtomicUsize::new(usize::MAX) }
    }
}

impl Peer {
    pub(crate) fn accepts_pushes(&self) -> bool {
        !self.refuses_pushes.load(Ordering::Relaxed)
    }

    pub(crate) fn pushes_max(&self) -> usize {
        self.pushes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_pushes_max(&self, max: usize) {
        self.pushes_max.store(max, Ordering::Relaxed);
    }
}

/// A stream that copies its first bytes while they pass.
pub(crate) struct Sniffed<IO> {
    io: IO,
    /// The bytes that passed so far; empty after the settings were read.
    seen: Vec<u8>,
    watching: bool,
    peer: Arc<Peer>,
}

impl<IO> Sniffed<IO> {
    pub(crate) fn new(io: IO, peer: Arc<Peer>) -> Self {
        Self { io, seen: Vec::new(), watching: true, peer }
    }

    fn watch(&mut self, bytes: &[u8]) {
        self.seen.extend_from_slice(bytes);
        let verdict = refuses_pushes(&self.seen);
        if verdict.is_some() || self.seen.len() > WATCHED_MAX || bytes.is_empty() {
            self.peer.refuses_pushes.store(verdict == Some(true), Ordering::Relaxed);
            self.watching = false;
            self.seen = Vec::new();
        }
    }
}

/// Whether the first SETTINGS frame disables pushes; `None` while it is incomplete.
fn refuses_pushes(seen: &[u8]) -> Option<bool> {
    let (header, rest) = seen.get(PREFACE_LEN..)?.split_first_chunk::<FRAME_HEADER_LEN>()?;
    let [a, b, c, kind, ..] = *header;
    if kind != SETTINGS {
        // A protocol error; the h2 crate reports it.
        return Some(false);
    }
    let payload = rest.get(..u32::from_be_bytes([0, a, b, c]) as usize)?;
    let settings = payload.chunks_exact(SETTING_LEN);
    let is_off = |s: &[u8]| s[..2] == ENABLE_PUSH.to_be_bytes() && s[2..] == [0; 4];
    Some(settings.into_iter().any(is_off))
}

impl<IO: AsyncRead + Unpin> AsyncRead for Sniffed<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.watching && polled.is_ready() {
            self.watch(&buf.filled()[before..]);
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Sniffed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_bytes(settings: &[(u16, u32)]) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend_from_slice(&((settings.len() * SETTING_LEN) as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[SETTINGS, 0, 0, 0, 0, 0]);
        for (id, value) in settings {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn enable_push_is_read_from_the_first_settings_frame_however_it_is_cut_ps_8030_6_10() {
        for (settings, refuses) in
            [(&[][..], false), (&[(3, 100), (2, 0)], true), (&[(2, 1)], false), (&[(4, 0)], false)]
        {
            let bytes = first_bytes(settings);
            for cut in 0..bytes.len() {
                assert_eq!(refuses_pushes(&bytes[..cut]), None, "{settings:?} cut at {cut}");
            }
            assert_eq!(refuses_pushes(&bytes), Some(refuses), "{settings:?}");
        }
    }
}
