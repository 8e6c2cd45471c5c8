//! A listener whose handler is not the doors: like one for operators, it serves HTTP only.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::problem::Problem;
use doorbell_protocol::time::UnixMs;
use http::header::DATE;
use http::{Request as HttpRequest, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls::self_signed::{self, Name, SelfSigned};
use super::tls::{Certificates, Source, server_config};
use super::{Context, Handler, Listener, Listeners, ProxyHeaders, Security};
use crate::clock::Clock;
use crate::config::{Config, Live, Settings};
use crate::transport::{Request, Response, mcs};

const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Answers each request with its path.
#[derive(Default)]
struct Paths {
    is_shut_down: AtomicBool,
}

impl Handler for Paths {
    async fn answer(self: &Arc<Self>, request: Request) -> Response {
        Response::new(request.uri().path().to_owned().into())
    }

    fn reject(&self, problem: &Problem) -> http::Response<Bytes> {
        http::Response::builder().status(problem.status).body(problem.to_json("").into()).unwrap()
    }

    fn shut_down(&self) {
        self.is_shut_down.store(true, Ordering::Relaxed);
    }
}

/// A listener that runs, and how to stop it.
struct Running {
    address: SocketAddr,
    handler: Arc<Paths>,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

impl Running {
    async fn start(security: Security) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let settings = Settings { state_dir: Some("not used".into()), ..Settings::default() };
        let config = Arc::new(Live::new(Config::from_settings(settings).unwrap()));
        let (handler, (stop, stopping)) = (Arc::new(Paths::default()), watch::channel(false));
        let context = Context { handler: handler.clone(), config, clock: Clock::manual(NOON), stopping };
        let listener = Listener { socket, security, context: Arc::new(context) };
        let listener = tokio::spawn(Listeners::new(vec![listener], ProxyHeaders::default()).run());
        Self { address, handler, stop, listener }
    }

    async fn stop(self) {
        assert!(!self.handler.is_shut_down.load(Ordering::Relaxed));
        self.stop.send_replace(true);
        timeout(DEADLINE, self.listener).await.expect("it ends").unwrap();
        assert!(self.handler.is_shut_down.load(Ordering::Relaxed));
        assert!(TcpStream::connect(self.address).await.is_err(), "the port is closed");
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Everything that a connection receives until it ends, as text.
async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    io.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(DEADLINE, io.read_to_end(&mut answer)).await.expect("the connection ends").unwrap();
    String::from_utf8(answer).unwrap()
}

async fn over_http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, uri: &str) -> http::Response<Bytes> {
    let (mut requests, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = HttpRequest::get(uri).body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let (head, mut body) = timeout(DEADLINE, response).await.unwrap().unwrap().into_parts();
    http::Response::from_parts(head, timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap())
}

#[tokio::test]
async fn both_http_versions_reach_another_handler_and_stopping_closes_its_port() {
    let running = Running::start(Security::Plain).await;
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(running.connect().await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n/metrics"), "{answer}");
    let answer = over_http2(running.connect().await, "http://x/health").await;
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"/health"[..]));
    assert_eq!(answer.headers()[DATE], "Mon, 21 Sep 2026 14:13:20 GMT", "by the clock of the listener");
    running.stop().await;
}

#[tokio::test]
async fn tls_and_alpn_are_there_for_another_handler_too() {
    let dir = tempfile::tempdir().unwrap();
    let own = SelfSigned::open(dir.path(), vec![Name::of_host("localhost")], false).unwrap();
    let certificates = Certificates::open(Source::SelfSigned(own), &Clock::system()).unwrap();
    let running = Running::start(Security::Tls(server_config(certificates.resolver()).unwrap())).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(self_signed::ca_file(dir.path())).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connecting = TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), running.connect().await);
    let answer = over_http2(connecting.await.unwrap(), "https://localhost/health").await;
    assert_eq!(&answer.body()[..], b"/health");
    running.stop().await;
}

#[tokio::test]
async fn a_handler_without_sockets_refuses_mcs_and_leaves_a_websocket_to_http() {
    let running = Running::start(Security::Plain).await;
    let answer = exchange(running.connect().await, &[mcs::VERSION, 2, 3, 1, 2, 3, b'\r', b'\n', b'\r', b'\n']).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let answer = exchange(running.connect().await, upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    running.stop().await;
}
