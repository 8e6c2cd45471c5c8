//! A wake door that is not the service's: TLS and HTTP/2 by the `h2` crate alone. It sends what the test wants. It refuses
//! a credential that ends with a status, such as `x-401`, with this status. The credential `proxy` gets what a proxy
//! answers while its service is away, and then a stream.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use doorbell_protocol::problem::{Problem, errno};
use h2::SendStream;
use h2::server::SendResponse;
use http::{Response, StatusCode};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::clock::Deadline;

/// A wake door on a free port.
pub struct WakeDoor {
    address: SocketAddr,
    folder: TempDir,
    streams: Receiver<WakeStream>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

/// A `GET /wake` that is answered and stays open.
pub struct WakeStream {
    /// What it proves itself by.
    pub authorization: String,
    /// The path, and the least urgency that is to be reported.
    pub target: (String, String),
    events: SendStream<Bytes>,
}

impl WakeDoor {
    /// Opens one.
    pub async fn open() -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).expect("a key");
        let folder = tempfile::tempdir().expect("a folder for the certificate");
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).expect("a certificate file");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let mut config = config.expect("a certificate with its key");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the door");
        let address = listener.local_addr().expect("its address");
        let (opened, streams) = channel();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = tokio::spawn(serve(acceptor.clone(), socket, opened.clone()));
                accepted.lock().expect("no test panics with it").push(connection.abort_handle());
            }
        });
        Self { address, folder, streams, connections }
    }

    /// Its origin.
    pub fn origin(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate by which it proves itself.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Cuts its connections.
    pub fn is_cut_off(&self) {
        let connections = std::mem::take(&mut *self.connections.lock().expect("no test panics with it"));
        assert!(!connections.is_empty(), "there is no connection");
        connections.iter().for_each(AbortHandle::abort);
    }

    /// Waits for the next stream.
    pub fn next_stream(&self) -> WakeStream {
        self.streams.recv_timeout(Deadline::soon().left()).expect("a stream is opened")
    }
}

impl WakeStream {
    /// Reports that so many messages wait, the oldest since then.
    pub fn reports_waiting(&mut self, messages: u64, since_ms: u64) {
        let data =
            json!({ "messages": messages, "urgency": "normal", "since": since_ms, "expires": since_ms + 60_000 });
        self.send(&format!("event: waiting\ndata: {data}\n\n"));
    }

    /// Reports that nothing waits.
    pub fn reports_quiet(&mut self) {
        self.send("event: quiet\ndata: {}\n\n");
    }

    fn send(&mut self, text: &str) {
        self.events.send_data(Bytes::copy_from_slice(text.as_bytes()), false).expect("the stream is open");
    }
}

async fn serve(acceptor: TlsAcceptor, socket: TcpStream, opened: Sender<WakeStream>) {
    let stream = acceptor.accept(socket).await.expect("a client that trusts the door");
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    let mut strange = vec![StatusCode::NOT_FOUND, StatusCode::GONE, StatusCode::UNAUTHORIZED];
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let path = request.uri().path_and_query().expect("a target").to_string();
        let floor = request.headers().get("urgency").map(|value| value.to_str().expect("text").to_owned());
        let target = (path, floor.unwrap_or_default());
        let accepted = request.headers().get("accept").is_some_and(|value| value == "text/event-stream");
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.unwrap_or("none-401").to_owned();
        if authorization == "Bearer proxy"
            && let Some(status) = strange.pop()
        {
            refuse(&mut answer, status, b"<html>page not found</html>");
            continue;
        }
        let refusal = authorization.rsplit_once('-').and_then(|(_, status)| status.parse().ok());
        if let Some(status) = refusal.or((!accepted).then_some(StatusCode::NOT_ACCEPTABLE)) {
            refuse(
                &mut answer,
                status,
                &Problem::new(status, errno::WAKE_CREDENTIAL, "It is not there.").to_json("https://push.example"),
            );
            continue;
        }
        let head = Response::builder().header("content-type", "text/event-stream").body(()).expect("an answer");
        let events = answer.send_response(head, false).expect("the stream is open");
        // The test may be over.
        opened.send(WakeStream { authorization, target, events }).ok();
    }
}

fn refuse(answer: &mut SendResponse<Bytes>, status: StatusCode, body: &[u8]) {
    let head = Response::builder().status(status).body(()).expect("an answer");
    if let Ok(mut stream) = answer.send_response(head, false) {
        stream.send_data(Bytes::copy_from_slice(body), true).ok();
    }
}
