//! An HTTP/2 peer on the `h2` crate alone: nothing of our roles, so that no misreading of the standard hides in both ends.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{PushPromise, ResponseFuture, SendRequest};
use http::{HeaderMap, Method, Request, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsConnector;

use super::service::Service;

/// How many pushed streams the peer lets be open at once.
const PUSHES_MAX: u32 = 64;

/// One connection to the service. Cheap to clone: clones share the connection.
#[derive(Clone)]
pub struct Peer {
    origin: String,
    requests: SendRequest<Bytes>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// What was made, or accepted.
    pub fn location(&self) -> String {
        self.headers["location"].to_str().expect("a Location is text").to_owned()
    }

    /// The target of the link with this relation.
    pub fn link(&self, rel: &str) -> Option<String> {
        self.headers.get_all("link").iter().find_map(|value| {
            let (target, _) = value.to_str().ok()?.split_once(&format!("rel=\"{rel}\""))?;
            Some(target.rsplit_once('<')?.1.split_once('>')?.0.to_owned())
        })
    }
}

/// A message that the service pushed.
#[derive(Debug)]
pub struct Pushed {
    pub path: String,
    pub request: HeaderMap,
    pub reply: Reply,
}

/// A new subscription.
pub struct Subscribed {
    pub subscription: String,
    pub push: String,
}

impl Peer {
    /// Connects over TLS, trusting the service's own CA only.
    pub async fn connect(service: &Service) -> Result<Self, BoxError> {
        Self::connect_with(&service.origin(), &service.authority(), tls(service)).await
    }

    /// Connects with a TLS configuration that was made before ([`tls`]).
    pub async fn connect_with(origin: &str, authority: &str, tls: Arc<ClientConfig>) -> Result<Self, BoxError> {
        Self::connect_as("127.0.0.1", origin, authority, tls).await
    }

    /// The same to a service that has a name.
    pub async fn connect_as(
        name: &'static str,
        origin: &str,
        address: &str,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, BoxError> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let stream = TlsConnector::from(tls).connect(ServerName::try_from(name)?, socket).await?;
        Self::over(stream, origin).await
    }

    /// Connects without TLS.
    pub async fn connect_plain(authority: &str) -> Result<Self, BoxError> {
        let socket = TcpStream::connect(authority).await?;
        socket.set_nodelay(true)?;
        Self::over(socket, &format!("http://{authority}")).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: &str,
    ) -> Result<Self, BoxError> {
        let (requests, connection) = h2::client::Builder::new()
            .enable_push(true)
            .max_concurrent_streams(PUSHES_MAX)
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 24)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        Ok(Self { origin: origin.to_owned(), requests })
    }

    /// Sends one request and collects its answer. `url` may be relative.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, BoxError> {
        collect(self.send(method, url, headers, body).await?.await?).await
    }

    /// A new subscription.
    pub async fn subscribe(&self) -> Subscribed {
        let reply = self.request(Method::POST, "/subscribe", &[], b"").await.expect("an answer");
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let subscription = reply.location();
        Subscribed { subscription, push: reply.link("urn:ietf:params:push").expect("a link to the push resource") }
    }

    /// Monitors a subscription: `held` keeps the request open, else it ends when nothing is left (`Prefer: wait=0`).
    /// Every message comes out of the channel, which closes when the request ends.
    pub async fn monitor(&self, subscription: &str, held: bool) -> Result<UnboundedReceiver<Pushed>, BoxError> {
        let prefer: &[(&str, &str)] = if held { &[] } else { &[("prefer", "wait=0")] };
        let mut answer = self.send(Method::GET, subscription, prefer, b"").await?;
        let (pushed, receiver) = unbounded_channel();
        let mut promises = answer.push_promises();
        tokio::spawn(async move {
            let take = |promise| {
                let pushed = pushed.clone();
                tokio::spawn(async move {
                    if let Ok(message) = receive(promise).await {
                        pushed.send(message).ok();
                    }
                })
            };
            loop {
                tokio::select! {
                    biased;
                    Some(Ok(promise)) = promises.push_promise() => drop(take(promise)),
                    answer = &mut answer => {
                        if let Ok(answer) = answer {
                            collect(answer).await.ok();
                        }
                        break;
                    }
                }
            }
            // The end of an answer does not wake who waits for promises, and all of them came before it.
            while let Some(Some(Ok(promise))) = poll_once(promises.push_promise()).await {
                take(promise);
            }
        });
        Ok(receiver)
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<ResponseFuture, BoxError> {
        let url = if url.starts_with('/') { format!("{}{url}", self.origin) } else { url.to_owned() };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (answer, mut stream) = requests.send_request(request.body(())?, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        Ok(answer)
    }
}

/// Anything that can go wrong between the test and the service.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// TLS that trusts the service's own CA, for HTTP/2.
pub fn tls(service: &Service) -> Arc<ClientConfig> {
    tls_trusting(&service.ca())
}

/// The same with the authority in this file.
pub fn tls_trusting(ca: &Path) -> Arc<ClientConfig> {
    tls_of(&std::fs::read_to_string(ca).expect("the CA file"), &[b"h2"])
}

/// TLS that trusts the CAs in `pem` and offers these protocols.
pub fn tls_of(pem: &str, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.expect("a certificate")).expect("a CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = versions.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// The result of polling the future once.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

async fn receive(promise: PushPromise) -> Result<Pushed, BoxError> {
    let (request, answer) = promise.into_parts();
    let reply = collect(answer.await?).await?;
    Ok(Pushed { path: request.uri().path().to_owned(), request: request.headers().clone(), reply })
}

async fn collect(answer: http::Response<RecvStream>) -> Result<Reply, BoxError> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Reply { status: head.status, headers: head.headers, body: body.into() })
}
