//! Reading into no buffer of one's own: a connection that waits for octets holds no room for them.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Read at a time: nearly all that agents say fits.
const READ: usize = 4 << 10;

/// Reads once. The octets are on the stack until they are known to have come, and are shown to `take` there; nothing is lost
/// when the wait is given up.
///
/// # Errors
/// Those of the network; `UnexpectedEof` at the end.
pub(super) fn poll_read(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<()>> {
    let mut space = [MaybeUninit::uninit(); READ];
    let mut octets = ReadBuf::uninit(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut octets))?;
    if octets.filled().is_empty() {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    take(octets.filled());
    Poll::Ready(Ok(()))
}
