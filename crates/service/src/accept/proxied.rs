//! How declared proxies name their clients: one that passes TCP through by a header of the PROXY protocol, one for HTTP in
//! each request (X-Forwarded-For, which [`Place`](crate::transport::Place) reads).

use std::io;
use std::net::IpAddr;

use doorbell_protocol::proxy_header::{self, Parsed};
use doorbell_protocol::time::UnixMs;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tracing::warn;

use crate::config::Networks;
use crate::seldom::Seldom;

/// How much is looked at together: a header without extensions fits.
const PIECE: usize = 256;

/// Which connections are those of proxies that name their clients.
#[derive(Default)]
pub(crate) struct ProxyHeaders {
    from: Networks,
    forwarded_from: Networks,
    rejections: Seldom,
    undeclared: Seldom,
}

impl ProxyHeaders {
    /// Connections from the networks of `from` begin with a header, requests from those of `forwarded_from` have
    /// X-Forwarded-For.
    pub(crate) fn new(from: Networks, forwarded_from: Networks) -> Self {
        Self { from, forwarded_from, ..Self::default() }
    }

    /// Whether there is any proxy that names its clients.
    pub(super) fn are_declared(&self) -> bool {
        !self.from.is_empty() || !self.forwarded_from.is_empty()
    }

    /// Whether the requests of a connection from this address have X-Forwarded-For.
    pub(super) fn forward_from(&self, address: IpAddr) -> bool {
        self.forwarded_from.contains(address)
    }

    /// Whether a connection from this address begins with a header.
    pub(super) fn are_expected_from(&self, address: IpAddr) -> bool {
        self.from.contains(address)
    }

    /// Reads the header, and no byte after it: the client, if the proxy names one.
    ///
    /// # Errors
    /// Those of the network; `InvalidData` if there is no header, or none that can be used.
    pub(super) async fn read(&self, stream: &mut TcpStream, now: UnixMs) -> io::Result<Option<IpAddr>> {
        let (mut header, mut piece) = (Vec::new(), vec![0; PIECE]);
        loop {
            let before = header.len();
            let seen = stream.peek(&mut piece).await?;
            if seen == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            header.extend_from_slice(piece.get(..seen).expect("no more was seen than there is room for"));
            let (length, client) = match proxy_header::parse(&header) {
                Ok(Parsed::Partial) => (header.len(), None),
                Ok(Parsed::Whole { client, length }) => (length, Some(client)),
                Err(error) => {
                    if let Some(connections) = self.rejections.count(now) {
                        warn!(
                            connections, %error,
                            "closed connections from addresses of proxy_protocol_from, which must begin with a PROXY \
                             protocol header: let the proxy send it (nginx: proxy_protocol on; HAProxy: send-proxy-v2)"
                        );
                    }
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            };
            header.truncate(length);
            stream.read_exact(header.get_mut(before..).expect("a header does not shrink")).await?;
            if let Some(client) = client {
                return Ok(client.map(|client| client.ip()));
            }
        }
    }

    /// Logs a header from an address that is not declared, because the proxy's operator sees no other sign: the
    /// connection then fails like one with any other nonsense.
    pub(super) async fn note_undeclared(&self, stream: &TcpStream, now: UnixMs) -> io::Result<()> {
        let mut start = [0; 12];
        let seen = stream.peek(&mut start).await?;
        if proxy_header::begins(start.get(..seen).expect("no more was seen than there is room for"))
            && let Some(connections) = self.undeclared.count(now)
        {
            warn!(
                connections,
                "connections begin with a PROXY protocol header and are not from addresses of proxy_protocol_from: name \
                 the proxy there, if it is yours"
            );
        }
        Ok(())
    }
}
