//! Connections to the service: TCP from the worker's own address, TLS with resumption, and a count of the bytes received.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::error::{Blame, Result};
use crate::job::Job;
use crate::tickets::Tickets;

/// The ports of our connections: twice as many as a process may usually have open files.
const PORTS: RangeInclusive<u16> = 20_000..=59_999;

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The protocol on a connection, as ALPN names it.
#[derive(Clone, Copy)]
pub(super) enum Alpn {
    /// Nothing: Chromium's stream.
    Silent,
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

/// The way to the service.
pub(super) struct Net {
    address: SocketAddr,
    /// Our own address, and the port that is tried next.
    source: Option<IpAddr>,
    port: Cell<u16>,
    tls: Option<Tls>,
    /// Bytes that agents have received over TCP, with those of TLS.
    down: Rc<Cell<u64>>,
    full_handshakes: Cell<u64>,
    resumed_handshakes: Cell<u64>,
}

struct Tls {
    name: ServerName<'static>,
    silent: ClientConfig,
    http1: ClientConfig,
    http2: ClientConfig,
}

impl Net {
    pub(super) fn new(job: &Job) -> Result<Self> {
        let tls = if job.target.tls {
            let name = ServerName::try_from(job.target.host.clone())
                .blame_usage(format_args!("a certificate cannot be for {}", job.target.host))?;
            let roots = Arc::new(roots(job.target.ca.as_deref())?);
            let with = |alpn: &[&[u8]]| client_config(roots.clone(), alpn);
            Some(Tls { name, silent: with(&[])?, http1: with(&[b"http/1.1"])?, http2: with(&[b"h2"])? })
        } else {
            None
        };
        Ok(Self {
            address: job.target.address,
            source: job.source,
            port: Cell::new(*PORTS.start()),
            tls,
            down: Rc::default(),
            full_handshakes: Cell::new(0),
            resumed_handshakes: Cell::new(0),
        })
    }

    /// A connection of an agent with these tickets; its bytes are counted.
    pub(super) async fn agent(&self, alpn: Alpn, tickets: &Arc<Tickets>) -> io::Result<Box<dyn Stream>> {
        let tcp = self.tcp().await?;
        // It closes without a message, and without a port that stays in use for a minute.
        tcp.set_zero_linger()?;
        let tcp = Counted { tcp, down: self.down.clone() };
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let mut config = tls.config(alpn).clone();
        config.resumption = Resumption::store(tickets.clone());
        let stream = TlsConnector::from(Arc::new(config)).connect(tls.name.clone(), tcp).await?;
        let kind = match stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => &self.resumed_handshakes,
            _ => &self.full_handshakes,
        };
        kind.set(kind.get() + 1);
        Ok(Box::new(stream))
    }

    /// A connection on which nothing is counted.
    pub(super) async fn sender(&self, alpn: Alpn) -> io::Result<Box<dyn Stream>> {
        let tcp = self.tcp().await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let connector = TlsConnector::from(Arc::new(tls.config(alpn).clone()));
        Ok(Box::new(connector.connect(tls.name.clone(), tcp).await?))
    }

    /// Bytes that agents have received so far.
    pub(super) fn down(&self) -> u64 {
        self.down.get()
    }

    /// Full and resumed handshakes of agents so far.
    pub(super) fn handshakes(&self) -> (u64, u64) {
        (self.full_handshakes.get(), self.resumed_handshakes.get())
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let stream = self.socket()?.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A socket with an address and port of ours, where we have an address. The kernel would search for a free
    /// port too, and its search takes longer the more ports are in use.
    fn socket(&self) -> io::Result<TcpSocket> {
        let Some(source) = self.source else {
            return if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        };
        for _ in PORTS {
            let port = self.port.get();
            self.port.set(if port == *PORTS.end() { *PORTS.start() } else { port + 1 });
            let socket = TcpSocket::new_v4()?;
            match socket.bind(SocketAddr::new(source, port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound.map(|()| socket),
            }
        }
        Err(io::Error::other(format!("all ports of {source} are in use: use more --processes")))
    }
}

impl Tls {
    fn config(&self, alpn: Alpn) -> &ClientConfig {
        match alpn {
            Alpn::Silent => &self.silent,
            Alpn::Http1 => &self.http1,
            Alpn::Http2 => &self.http2,
        }
    }
}

/// The authorities in `ca`, or the system's if there is no file.
fn roots(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca else {
        // Some systems have malformed certificates among their roots: they are not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let unusable = || format!("the certificate authorities in {} cannot be used", file.display());
    for certificate in CertificateDer::pem_file_iter(file).blame_usage(unusable())? {
        roots.add(certificate.blame_usage(unusable())?).blame_usage(unusable())?;
    }
    Ok(roots)
}

fn client_config(roots: Arc<RootCertStore>, alpn: &[&[u8]]) -> Result<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As browsers have it on machines with AES: the suite with SHA-256 before the one with SHA-384.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let mut config = builder.blame_generator("TLS")?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// A TCP connection that counts the bytes it receives.
struct Counted {
    tcp: TcpStream,
    down: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.down.set(self.down.get() + (buf.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
