//! Push services made of a socket and a list of answers.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

/// One request, as it arrived.
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Answers the requests on its port with its answers, one after the other, and then closes.
pub(crate) struct Service {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Service {
    /// Each answer is a status line and header fields; one with a body brings its own content-length, or ends with the
    /// connection. An empty one closes the connection instead.
    pub(crate) async fn answering(answers: &[&str]) -> Self {
        Self::start(answers, false).await
    }

    /// The same, but no connection ends: a reader that reads to the end waits forever.
    pub(crate) async fn holding(answers: &[&str]) -> Self {
        Self::start(answers, true).await
    }

    async fn start(answers: &[&str], holds: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let log = Arc::clone(&received);
        tokio::spawn(async move {
            let mut held = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                log.lock().await.push(read_request(&mut stream).await);
                stream.write_all(written(&answer).as_bytes()).await.unwrap();
                held.extend(holds.then_some(stream));
            }
            if holds {
                std::future::pending::<()>().await;
            }
        });
        Self { port, received }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn received(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().await)
    }
}

/// A URL at a port that is closed.
pub(crate) async fn abandoned_url(path: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://127.0.0.1:{}{path}", listener.local_addr().unwrap().port())
}

/// A connection per answer, so that each is asked for anew.
fn written(answer: &str) -> String {
    match answer {
        "" => String::new(),
        with_body if with_body.contains("\r\n\r\n") => {
            format!("HTTP/1.1 {}", with_body.replacen("\r\n", "\r\nconnection: close\r\n", 1))
        }
        bare => format!("HTTP/1.1 {bare}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
    }
}

async fn read_request(stream: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if bytes.len() >= end + 4 + length.parse::<usize>().unwrap() {
                return Received { head, body: bytes.split_off(end + 4) };
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request broke off");
    }
}

/// A service with HTTP/2 only, with a certificate of its own CA: the CA in PEM, and a resource that is a push
/// resource for POST and a receipt subscription with one receipt for GET.
pub(crate) async fn http2_over_tls() -> (String, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let certificate =
        rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/p/x", listener.local_addr().unwrap().port());
    tokio::spawn(serve_http2(listener, TlsAcceptor::from(Arc::new(config))));
    (ca_pem, url)
}

async fn serve_http2(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust us ends the handshake.
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        let mut connection = h2::server::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            let mut streams = Vec::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!(request.version(), http::Version::HTTP_2);
                let is_get = request.method() == http::Method::GET;
                let answer = http::Response::builder().status(if is_get { 200 } else { 201 });
                let answer = answer.header("content-type", "text/event-stream").body(()).unwrap();
                let mut body = respond.send_response(answer, !is_get).unwrap();
                if is_get {
                    let event = "event: receipt\ndata: {\"message\":\"/m/1\",\"status\":204}\n\n";
                    body.send_data(event.into(), false).unwrap();
                    streams.push(body);
                }
            }
        });
    }
}
