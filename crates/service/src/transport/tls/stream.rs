//! TLS over rustls' unbuffered interface: an idle connection holds no buffer at all.
//!
//! An idle agent then costs only its keys; the buffered interface of tokio-rustls costs twice that (docs/performance.md
//! has the figures). Ciphertext is read onto the stack and decrypted there. Leftovers stay until the next call: half a
//! record, or plaintext that does not fit into the caller's buffer.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, take};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::plaintext::Plaintext;
use crate::transport::unsent::Unsent;

/// Room for one read and the leftovers of the last one. A record has 18,437 bytes at most (RFC 8446 s5.2, and its
/// header); a ClientHello that does not fit is rejected.
const SPACE: usize = 20 << 10;
/// The maximum plaintext of one record (RFC 8446 s5.1).
const RECORD_MAX: usize = 16 << 10;
/// What a record adds to its plaintext: 22 bytes in TLS 1.3, 29 in TLS 1.2, and more after a KeyUpdate.
const OVERHEAD: usize = 32;

/// The server's end of a TLS connection.
pub(crate) struct TlsStream<IO> {
    io: IO,
    tls: UnbufferedServerConnection,
    /// None while a connection is idle.
    buffers: Option<Box<Buffers>>,
    /// The client has sent its close_notify: it sends nothing more.
    ended: bool,
    /// We have sent ours.
    closed: bool,
}

/// Leftovers until the next call.
#[derive(Default)]
struct Buffers {
    /// The beginning of a record or handshake message whose end has not arrived yet.
    ciphertext: Vec<u8>,
    plaintext: Plaintext,
    unsent: Unsent,
}

/// What to encrypt after rustls has done its own work.
#[derive(Clone, Copy)]
enum Outgoing<'a> {
    Nothing,
    Send(&'a [u8]),
    CloseNotify,
}

/// The phase of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Traffic,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Performs the handshake.
    ///
    /// # Errors
    /// Those of the network; `InvalidData` with rustls' reason, which the client has received as an alert.
    pub(crate) async fn accept(config: Arc<ServerConfig>, io: IO) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = Self { io, tls, buffers: None, ended: false, closed: false };
        loop {
            let phase = poll_fn(|cx| stream.poll_process(cx, &mut ReadBuf::new(&mut []))).await;
            // This also sends the alert of a failed handshake.
            stream.flush().await?;
            if phase? == Phase::Traffic {
                return Ok(stream);
            }
        }
    }

    /// The protocol that client and server agreed on (RFC 7301).
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// Whether the client resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The first byte from the client, which stays to be read; `None` if the client ends without sending.
    pub(crate) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        poll_fn(|cx| {
            loop {
                let first = self.buffers.as_ref().and_then(|buffers| buffers.plaintext.first());
                if first.is_some() || self.ended {
                    return Poll::Ready(Ok(first));
                }
                ready!(self.poll_process(cx, &mut ReadBuf::new(&mut [])))?;
            }
        })
        .await
    }

    /// The bytes of its buffers.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| size_of_val(&**buffers) + buffers.held())
    }

    /// Reads once and passes the bytes to rustls. Plaintext goes into `taken` while that has room.
    fn poll_process(&mut self, cx: &mut Context<'_>, taken: &mut ReadBuf<'_>) -> Poll<io::Result<Phase>> {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut ciphertext = ReadBuf::uninit(&mut space);
        let before = self.buffers.as_ref().map_or(&[][..], |buffers| &buffers.ciphertext);
        let before_len = before.len();
        ciphertext.put_slice(before);
        if ciphertext.remaining() == 0 {
            return Poll::Ready(Err(invalid("a TLS record or handshake message is too long")));
        }
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut ciphertext))?;
        if ciphertext.filled().len() == before_len {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let (used, phase) = self.process(ciphertext.filled_mut(), taken, Outgoing::Nothing);
        let left = ciphertext.filled().get(used..).expect("rustls discards no more than it received");
        self.buffers.get_or_insert_default().ciphertext = left.to_vec();
        self.free_if_empty();
        Poll::Ready(phase)
    }

    /// Passes `ciphertext` to rustls, then encrypts `outgoing`. Returns how much of `ciphertext` rustls used, and the
    /// phase of the connection.
    fn process(
        &mut self,
        ciphertext: &mut [u8],
        taken: &mut ReadBuf<'_>,
        outgoing: Outgoing<'_>,
    ) -> (usize, io::Result<Phase>) {
        let Self { tls, buffers, ended, .. } = self;
        let Buffers { plaintext, unsent, .. } = &mut **buffers.get_or_insert_default();
        let mut used = 0;
        loop {
            let rest = ciphertext.get_mut(used..).expect("rustls discards no more than it received");
            let UnbufferedStatus { mut discard, state } = tls.process_tls_records(rest);
            let done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                plaintext.put(record.payload, taken);
                            }
                            Err(error) => {
                                failed = Some(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                                break;
                            }
                        }
                    }
                    failed
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let encode = |room: &mut [u8]| data.encode(room).map_err(encode_error);
                    unsent.grow(0, encode).err().map(Err)
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // The data is in `unsent` already.
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    *ended = true;
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Ok(Phase::Handshake)),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let encrypted = match outgoing {
                        Outgoing::Nothing => Ok(()),
                        Outgoing::Send(bytes) => unsent
                            .grow(bytes.len() + OVERHEAD, |room| traffic.encrypt(bytes, room).map_err(encrypt_error)),
                        Outgoing::CloseNotify => {
                            unsent.grow(OVERHEAD, |room| traffic.queue_close_notify(room).map_err(encrypt_error))
                        }
                    };
                    Some(encrypted.map(|()| Phase::Traffic))
                }
                Ok(ConnectionState::Closed) => match outgoing {
                    Outgoing::Nothing => Some(Ok(Phase::Traffic)),
                    Outgoing::Send(_) | Outgoing::CloseNotify => Some(Err(io::ErrorKind::BrokenPipe.into())),
                },
                Ok(_) => Some(Err(invalid("TLS early data, which was not offered"))),
                Err(error) => Some(Err(refuse(tls, unsent, error))),
            };
            used += discard;
            if let Some(done) = done {
                return (used, done);
            }
        }
    }

    /// Sends the unsent bytes.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(buffers) = &mut self.buffers {
            ready!(buffers.unsent.poll_send(cx, &mut self.io))?;
            self.free_if_empty();
        }
        Poll::Ready(Ok(()))
    }

    /// Frees the buffers when they are empty.
    fn free_if_empty(&mut self) {
        self.buffers.take_if(|buffers| buffers.are_empty());
    }

    /// Encrypts `outgoing` after the unsent bytes.
    fn encrypt(&mut self, outgoing: Outgoing<'_>) -> io::Result<()> {
        let mut ciphertext = take(&mut self.buffers.get_or_insert_default().ciphertext);
        let (used, phase) = self.process(&mut ciphertext, &mut ReadBuf::new(&mut []), outgoing);
        ciphertext.drain(..used);
        self.buffers.get_or_insert_default().ciphertext = ciphertext;
        phase.map(|_| ())
    }

    /// Sends at most one record of `plaintext`, and returns its length. Bytes that the socket does not take immediately
    /// leave before the next record, or with a flush.
    fn poll_send(&mut self, cx: &mut Context<'_>, plaintext: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        if plaintext.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let part = &plaintext[..plaintext.len().min(RECORD_MAX)];
        self.encrypt(Outgoing::Send(part))?;
        if let Poll::Ready(sent) = self.poll_unsent(cx) {
            sent?;
        }
        Poll::Ready(Ok(part.len()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.remaining();
        if let Some(buffers) = &mut self.buffers {
            buffers.plaintext.take_into(buf);
            self.free_if_empty();
        }
        while buf.remaining() == before && before > 0 && !self.ended {
            ready!(self.poll_process(cx, buf))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buf)
    }

    /// Several pieces go into one record.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        let first: &[u8] = filled.next().map_or(&[], |piece| &**piece);
        if first.len() >= RECORD_MAX || filled.next().is_none() {
            return self.poll_send(cx, first);
        }
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut together = Vec::with_capacity(size.min(RECORD_MAX));
        for piece in pieces {
            let room = RECORD_MAX - together.len();
            together.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.poll_send(cx, &together)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.closed {
            this.closed = true;
            this.encrypt(Outgoing::CloseNotify)?;
        }
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl Buffers {
    fn are_empty(&self) -> bool {
        self.ciphertext.is_empty() && self.plaintext.is_empty() && self.unsent.len() == 0
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.ciphertext.capacity() + self.plaintext.held() + self.unsent.held()
    }
}

/// Returns why the connection fails, and adds the client's alert to the unsent bytes. rustls must not see the received
/// bytes again; it does not read them until the caller has taken the alert.
fn refuse(tls: &mut UnbufferedServerConnection, unsent: &mut Unsent, error: rustls::Error) -> io::Error {
    while tls.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = tls.process_tls_records(&mut []).state else {
            break;
        };
        if unsent.grow(0, |room| data.encode(room).map_err(encode_error)).is_err() {
            break;
        }
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How much room it needs, or `None` if more room does not help.
fn encode_error(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(size) => Some(size.required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn encrypt_error(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
