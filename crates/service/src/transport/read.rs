//! Reading without an own buffer: a connection that waits for bytes holds no memory for them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The size of one read: nearly all input of agents fits.
const READ: usize = 4 << 10;

/// Reads once, onto the stack, and passes the bytes to `take`. Dropping the future loses nothing.
///
/// # Errors
/// Those of the network; `UnexpectedEof` at the end.
pub(crate) fn poll_read(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<()>> {
    let mut space = [MaybeUninit::uninit(); READ];
    let mut bytes = ReadBuf::uninit(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut bytes))?;
    if bytes.filled().is_empty() {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    take(bytes.filled());
    Poll::Ready(Ok(()))
}
