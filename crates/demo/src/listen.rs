//! Takes connections, with TLS or, on this machine, without.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorbell_private_file::{self as private_file, Version};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

use crate::allowance::{Share, Shares};
use crate::clock;
use crate::door;
use crate::error::DemoError;
use crate::house::House;
use crate::limits::{CONNECTIONS_MAX, REQUEST_TIMEOUT};

/// The pause after a connection could not be taken, for want of open files for instance.
const BREATH: Duration = Duration::from_millis(100);
/// How often the files of the certificate are looked at, at most: two system calls.
const CERTIFICATE_CHECKED_EVERY: Duration = Duration::from_secs(10);

/// Chain and key of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain, in PEM.
    pub chain: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// Ends TLS with the certificate that is in its files, which another program renews.
pub(crate) struct Tls {
    certificate: Certificate,
    acceptor: TlsAcceptor,
    read_from: [Option<Version>; 2],
    looked_at: Instant,
}

impl Tls {
    pub(crate) fn open(certificate: Certificate, now: Instant) -> Result<Self, DemoError> {
        let (read_from, acceptor) = (certificate.versions(), certificate.acceptor()?);
        Ok(Self { certificate, acceptor, read_from, looked_at: now })
    }

    /// What ends TLS for a new connection. If new files cannot be used, the certificate stays until they change again.
    fn acceptor(&mut self, now: Instant) -> TlsAcceptor {
        if now.saturating_duration_since(self.looked_at) >= CERTIFICATE_CHECKED_EVERY {
            self.looked_at = now;
            let versions = self.certificate.versions();
            if versions != self.read_from {
                self.read_from = versions;
                match self.certificate.acceptor() {
                    Ok(acceptor) => {
                        info!("a new certificate is in use");
                        self.acceptor = acceptor;
                    }
                    Err(error) => {
                        error!(%error, "the new certificate is not used: the old one stays until this is fixed")
                    }
                }
            }
        }
        self.acceptor.clone()
    }
}

impl Certificate {
    fn versions(&self) -> [Option<Version>; 2] {
        // A file that is away for a moment is a change, and so is its return.
        [&self.chain, &self.key].map(|file| private_file::version(file).ok())
    }

    fn acceptor(&self) -> Result<TlsAcceptor, DemoError> {
        let wrong =
            |path: &Path, why: &dyn std::fmt::Display| DemoError::File { path: path.to_owned(), why: why.to_string() };
        let chain = CertificateDer::pem_file_iter(&self.chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| wrong(&self.chain, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                wrong(&self.key, &"there is no private key in it; give a file in PEM, which begins with -----BEGIN")
            }
            other => wrong(&self.key, &other),
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| wrong(&self.chain, &error))?)))
    }
}

/// The other end of a connection. The connection counts as long as one of these is left: HTTP is done with it when it
/// becomes a WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    _place: Arc<(OwnedSemaphorePermit, Share)>,
}

/// Serves until the task ends: `of_source_max` connections of one source at a time.
pub(crate) async fn run(socket: TcpListener, mut tls: Option<Tls>, house: Arc<House>, of_source_max: usize) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let sources = Arc::new(Shares::default());
    loop {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (stream, address) = match socket.accept().await {
            Ok((stream, address)) => (stream, address.ip()),
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                sleep(BREATH).await;
                continue;
            }
        };
        // It is closed at once: an answer would need TLS first, which costs more than it is worth here.
        let Some(share) = sources.take(address, of_source_max) else {
            debug!("a source has too many connections");
            continue;
        };
        let peer = Peer { address, _place: Arc::new((place, share)) };
        // Events and signals are small and shall not wait for each other.
        stream.set_nodelay(true).ok();
        let tls = tls.as_mut().map(|tls| tls.acceptor(clock::moment().instant));
        let house = house.clone();
        tokio::spawn(async move {
            match tls {
                None => serve(stream, peer, house).await,
                Some(tls) => match timeout(REQUEST_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => serve(stream, peer, house).await,
                    Ok(Err(error)) => debug!(%error, "TLS failed"),
                    Err(_) => debug!("TLS took too long"),
                },
            }
        });
    }
}

async fn serve<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: IO, peer: Peer, house: Arc<House>) {
    let service = service_fn(move |request| {
        let (house, peer) = (house.clone(), peer.clone());
        async move { Ok::<_, Infallible>(door::answer(&house, request, &peer).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(16 << 10);
    if let Err(error) = builder.serve_connection(TokioIo::new(io), service).with_upgrades().await {
        debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use doorbell_protocol::vapid::sign::SigningKey;
    use doorbell_sender::client::ClientConfig;
    use doorbell_sender::origins::OriginMap;
    use doorbell_sender::token::Signer;
    use futures_util::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_tungstenite::client_async;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    use super::*;
    use crate::house::{Claim, Entrance, SignIn};
    use crate::name::Name;
    use crate::{Demo, Settings};

    /// How long anything may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_certificate_is_read_again_after_its_files_have_changed_and_stays_while_they_are_of_no_use() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate { chain: folder.path().join("star.pem"), key: folder.path().join("star.key") };
        let renew = || {
            let made = rcgen::generate_simple_self_signed(["star.example.org".to_owned()]).unwrap();
            fs::write(&certificate.chain, made.cert.pem()).unwrap();
            fs::write(&certificate.key, made.signing_key.serialize_pem()).unwrap();
        };
        renew();
        let start = clock::moment().instant;
        let mut tls = Tls::open(certificate.clone(), start).unwrap();
        let mut looks = 0;
        let mut config = |tls: &mut Tls| {
            looks += 1;
            Arc::as_ptr(tls.acceptor(start + CERTIFICATE_CHECKED_EVERY * looks).config())
        };
        let first = config(&mut tls);
        assert_eq!(config(&mut tls), first, "unchanged files are not read again");
        fs::write(&certificate.chain, "half of a certi").unwrap();
        assert_eq!(config(&mut tls), first);
        renew();
        let second = config(&mut tls);
        assert_ne!(second, first);
        assert_eq!(config(&mut tls), second);
    }

    async fn demo(state_dir: &Path) -> Demo {
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            certificate: None,
            site: None,
            invited_only: false,
            state_dir: state_dir.to_owned(),
            push_origin: None,
            origins: OriginMap::default(),
            client: ClientConfig::default(),
            signer: Signer::new(SigningKey::generate().unwrap(), None),
            rings_for: PATIENCE,
            ice_servers: Vec::new(),
        };
        Demo::start(settings).await.unwrap()
    }

    #[tokio::test]
    async fn a_page_that_is_open_counts_as_a_connection_of_its_source_until_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let demo = demo(folder.path()).await;
        let name = Entrance::Name(Claim { name: Name::parse("Alice").unwrap(), passphrase: None, guest: None });
        let request = SignIn { entrance: name, label: String::new(), address: demo.address().ip() };
        let (_, cookie) = demo.house.sign_in(request, clock::moment()).await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, host) = (socket.local_addr().unwrap(), demo.address());
        let running = tokio::spawn(run(socket, None, demo.house.clone(), 2));

        /// Whether a further connection is answered, and the connection.
        async fn connects(address: std::net::SocketAddr, host: std::net::SocketAddr) -> (bool, TcpStream) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.ok();
            let read = timeout(PATIENCE, stream.read(&mut [0; 12])).await.expect("an answer or an end");
            (read.is_ok_and(|count| count > 0), stream)
        }

        let page = format!("ws://{host}/api/live?page=AAAAAAAAAAAAAAAAAAAAAA");
        let mut request = page.into_client_request().unwrap();
        request.headers_mut().insert("cookie", format!("doorbell_demo={cookie}").parse().unwrap());
        let (mut page, _) = client_async(request, TcpStream::connect(address).await.unwrap()).await.unwrap();
        // By its first event HTTP is done with the connection.
        page.next().await.unwrap().unwrap();
        let (is_answered, _second) = connects(address, host).await;
        assert!(is_answered);
        assert!(!connects(address, host).await.0, "the page and the second connection are two");
        drop(page);
        timeout(PATIENCE, async { while !connects(address, host).await.0 {} }).await.expect("there is room again");
        running.abort();
    }
}
