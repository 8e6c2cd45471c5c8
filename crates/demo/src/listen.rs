//! Takes connections, with TLS or, on this machine, without.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::allowance::Shares;
use crate::door;
use crate::error::DemoError;
use crate::house::House;
use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_OF_SOURCE_MAX, REQUEST_TIMEOUT};

/// The pause after a connection could not be taken, for want of open files for instance.
const BREATH: std::time::Duration = std::time::Duration::from_millis(100);

/// Chain and key of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain, in PEM.
    pub chain: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

impl Certificate {
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, DemoError> {
        let wrong =
            |path: &Path, why: &dyn std::fmt::Display| DemoError::File { path: path.to_owned(), why: why.to_string() };
        let chain = CertificateDer::pem_file_iter(&self.chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| wrong(&self.chain, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, &error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| wrong(&self.chain, &error))?)))
    }
}

/// Serves until the task ends.
pub(crate) async fn run(socket: TcpListener, tls: Option<TlsAcceptor>, house: Arc<House>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let sources = Arc::new(Shares::default());
    loop {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (stream, from) = match socket.accept().await {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                sleep(BREATH).await;
                continue;
            }
        };
        // It is closed at once: an answer would need TLS first, which costs more than it is worth here.
        let Some(share) = sources.take(from, CONNECTIONS_OF_SOURCE_MAX) else {
            debug!("a source has too many connections");
            continue;
        };
        // Events and signals are small and shall not wait for each other.
        stream.set_nodelay(true).ok();
        let (tls, house) = (tls.clone(), house.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, from, house).await,
                Some(tls) => match timeout(REQUEST_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => serve(stream, from, house).await,
                    Ok(Err(error)) => debug!(%error, "TLS failed"),
                    Err(_) => debug!("TLS took too long"),
                },
            }
            drop((place, share));
        });
    }
}

async fn serve<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: IO, from: IpAddr, house: Arc<House>) {
    let service = service_fn(move |request| {
        let house = house.clone();
        async move { Ok::<_, Infallible>(door::answer(&house, request, from).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(16 << 10);
    if let Err(error) = builder.serve_connection(TokioIo::new(io), service).with_upgrades().await {
        debug!(%error, "a connection ended");
    }
}
