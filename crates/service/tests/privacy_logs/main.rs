//! The log contains no URI, key or message, at any level, from any part of the process (RFC 8030 s8.5). A test binary of
//! its own, because it collects the log of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod malformed;
mod sockets;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use malformed::{malformed_in_http1, malformed_in_http2};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sockets::{on_a_socket, sent_by_chromium};
use support::path;
use support::raw;
use support::raw::http2::Connection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

/// Everything, as with `--log trace`, except what the command keeps out of every log: h2 logs malformed paths and fields
/// and the text of a client's GOAWAY, and tungstenite logs whole messages. The HPACK decoder belongs to this test.
const FILTER: &str = "trace,h2=info,h2::server=info,tungstenite=info,tokio_tungstenite=info,loona_hpack=off";

const HTTP1: &str = "http/1.1";
const HTTP2: &str = "h2";
/// MCS has no name in ALPN: Chromium offers none.
const MCS: &str = "";

/// Messages sent on each transport.
const MESSAGES: usize = 100;

/// How many bytes of a secret count as the secret.
const PIECE: usize = 12;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects from now on what the process logs, by tracing and (rustls) by log.
    fn collect() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer().with_span_events(FmtSpan::FULL).with_ansi(false);
        let filter: Targets = FILTER.parse().unwrap();
        tracing_subscriber::registry().with(filter).with(lines.with_writer(move || writer.clone())).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What must not appear in the log.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, secret: impl Into<String>) {
        self.0.push((what, secret.into()));
    }

    /// Every token of every URI in an answer, in its head or its body.
    fn keep_tokens_of(&mut self, answer: &str) {
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for word in answer.split(|c| !is_token(c)).filter(|word| word.len() >= 80) {
            self.keep("a token", word);
        }
    }

    fn assert_none_is_in(&self, log: &str) {
        let pieces =
            self.0.iter().flat_map(|(what, secret)| secret.as_bytes().chunks_exact(PIECE).map(move |p| (p, what)));
        let pieces: HashMap<_, _> = pieces.collect();
        for (at, piece) in log.as_bytes().windows(PIECE).enumerate() {
            if let Some(what) = pieces.get(piece) {
                let before = log.as_bytes()[..at].rsplit(|c| *c == b'\n').next().unwrap_or_default();
                let line = log[at - before.len()..].lines().next().unwrap_or_default();
                panic!("{what} is in the log: {line}");
            }
        }
    }
}

/// A service with or without TLS, and how to reach it.
struct Site {
    service: Service,
    tls: Option<rustls::ClientConfig>,
    _dir: tempfile::TempDir,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Site {
    async fn start(plain: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = Some(dir.path().to_owned());
        let listen = Some(vec!["127.0.0.1:0".parse().unwrap()]);
        let settings =
            Settings { state_dir, listen, plain: Some(plain), drain_timeout_secs: Some(1), ..Settings::default() };
        let service = Service::start(Config::from_settings(settings).unwrap(), Clock::system()).await.unwrap();
        let tls = service.ca_file().map(|file| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            config.unwrap().with_root_certificates(roots).with_no_client_auth()
        });
        Self { service, tls, _dir: dir }
    }

    /// A connection for `protocol`, as ALPN calls it.
    async fn connect(&self, protocol: &str) -> Box<dyn Io> {
        let socket = TcpStream::connect(self.service.address()).await.unwrap();
        let Some(tls) = &self.tls else { return Box::new(socket) };
        let mut tls = tls.clone();
        tls.alpn_protocols = Some(protocol).filter(|name| *name != MCS).into_iter().map(Into::into).collect();
        let host = ServerName::try_from("localhost").unwrap();
        Box::new(TlsConnector::from(Arc::new(tls)).connect(host, socket).await.unwrap())
    }

    async fn http2(&self) -> Connection<Box<dyn Io>> {
        Connection::open(self.connect(HTTP2).await).await
    }

    /// One HTTP/1.1 exchange on a connection of its own.
    async fn ask(&self, bytes: &str) -> String {
        raw::exchange(&mut self.connect(HTTP1).await, bytes.as_bytes()).await
    }

    /// Sends bytes that may not get an answer, and closes.
    async fn send(&self, protocol: &str, bytes: &[u8]) {
        let mut stream = self.connect(protocol).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut received = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut received);
        // Other tests check what the service answers, and whether it closes.
        let _ = tokio::time::timeout(Duration::from_millis(200), read).await;
    }
}

/// What one agent and one application server know.
struct Known {
    push: String,
    restricted: String,
    subscription: String,
    set: String,
    receipts: String,
    message: String,
    /// The value of Authorization.
    credentials: String,
}

/// PS-8030-8.5-1, PS-8030-4-4, PS-8292-2-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_uri_key_topic_or_payload_is_in_any_line_of_the_log_ps_8030_8_5_1() {
    let log = Log::collect();
    let mut secrets = Secrets::default();
    for plain in [true, false] {
        let site = Site::start(plain).await;
        let known = ordinary(&site, &mut secrets).await;
        on_a_socket(&site, &known, &mut secrets).await;
        malformed_in_http1(&site, &known, &mut secrets).await;
        malformed_in_http2(&site, &known).await;
        sent_by_chromium(&site, &known, &mut secrets).await;
        removed_and_drained(site, &known).await;
    }
    let text = log.text();
    for from in [" rustls::", " doorbell_service::", " doorbell_store::"] {
        assert!(text.contains(from), "nothing of {from} has been collected");
    }
    for line in ["request id=", "socket opened id=", "socket closed id="] {
        let line = format!(" doorbell_service::access: {line}");
        assert!(text.contains(&line), "the access log has no line with {line:?}");
    }
    secrets.assert_none_is_in(&text);
}

/// Normal use: subscribing, sending, receiving, acknowledging, receipts.
async fn ordinary(site: &Site, secrets: &mut Secrets) -> Known {
    let key = SigningKey::generate().unwrap();
    let (k, subject) = (key.public_key().to_base64url(), "mailto:a.person.private@example.org");
    let exp = Clock::system().now().plus(Duration::from_secs(3600));
    let token = key.sign(site.service.origin().as_str(), exp, Some(subject)).unwrap();
    let credentials = format!("vapid t={token}, k={k}");
    for (what, secret) in [("a key", &k[..]), ("a subject", subject), ("a VAPID token", &token)] {
        secrets.keep(what, secret);
    }

    let first = site.ask("POST /subscribe HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let set = between(&first, "link: <", ">;rel=\"urn:ietf:params:push:set\"");
    let options = format!("{{\"vapid\":\"{k}\"}}");
    let second = site
        .ask(&format!(
            "POST /subscribe HTTP/1.1\r\nHost: x\r\nLink: <{set}>; rel=\"urn:ietf:params:push:set\"\r\n\
             Content-Type: application/webpush-options+json\r\nContent-Length: {}\r\n\r\n{options}",
            options.len()
        ))
        .await;
    let mut known = Known {
        push: path(&between(&first, "link: <", ">;rel=\"urn:ietf:params:push\"")),
        restricted: path(&between(&second, "link: <", ">;rel=\"urn:ietf:params:push\"")),
        subscription: path(&between(&first, "location: ", "")),
        set: path(&set),
        receipts: String::new(),
        message: String::new(),
        credentials,
    };
    secrets.keep_tokens_of(&first);
    secrets.keep_tokens_of(&second);

    let mut agent = site.http2().await;
    agent.ask(1, &request("GET", &known.set)).await;
    let mut acknowledging = site.http2().await;
    let mut sending = site.connect(HTTP1).await;
    let mut receipts = String::new();
    for n in 0..MESSAGES {
        let to = if n % 2 == 0 { &known.push } else { &known.restricted };
        let topic = format!("Tq{n:03}-topic-of-a-message-Tq");
        let body = format!("Bq{n:03}-payload-of-a-message-that-no-other-may-read-Bq");
        let post = format!(
            "POST {to} HTTP/1.1\r\nHost: x\r\nTTL: {}\r\nTopic: {topic}\r\nAuthorization: {}\r\n{receipts}\
             Prefer: respond-async\r\nContent-Length: {}\r\n\r\n{body}",
            // Some have TTL 0, but not the first one: it may come before the agent's request is open.
            (n + 1) % 3 * 60,
            known.credentials,
            body.len()
        );
        let answer = raw::exchange(&mut sending, post.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        secrets.keep("a topic", topic);
        secrets.keep("a payload", &body);
        secrets.keep_tokens_of(&answer);
        known.message = path(&between(&answer, "location: ", ""));
        if n == 0 {
            known.receipts = path(&between(&answer, "link: <", ">;rel=\"urn:ietf:params:push:receipt\""));
            receipts = format!("Link: <{}>; rel=\"urn:ietf:params:push:receipt\"\r\n", known.receipts);
        }
        let push = agent.push(1).await;
        assert_eq!(push.response.body, body.as_bytes());
        let stream = u32::try_from(2 * n + 1).unwrap();
        acknowledging.ask(stream, &request("DELETE", &known.message)).await;
        assert_eq!(acknowledging.answer(stream).await.status(), "204");
    }
    let mut sender = site.http2().await;
    let wait_0 = [&request("GET", &known.receipts)[..], &[("prefer", "wait=0")]].concat();
    sender.ask(1, &wait_0).await;
    assert_eq!(sender.until_answered(1).await.0.len(), MESSAGES);

    drop(agent);
    let post = format!("POST {} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Length: 0\r\n\r\n", known.push);
    known.message = path(&between(&site.ask(&post).await, "location: ", ""));
    for uri in [&known.set, &known.receipts] {
        let events = format!("GET {uri} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nPrefer: wait=0\r\n\r\n");
        assert!(site.ask(&events).await.starts_with("HTTP/1.1 200 "));
    }
    known
}

/// Removes everything while one request is open, and stops the service while a connection is open.
async fn removed_and_drained(site: Site, known: &Known) {
    let mut agent = site.http2().await;
    agent.ask(1, &request("GET", &known.subscription)).await;
    for uri in [&known.message, &known.subscription, &known.set, &known.receipts] {
        for _ in 0..2 {
            site.ask(&format!("DELETE {uri} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        }
    }
    site.service.stop().await.unwrap();
}

fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "https"), (":path", path), (":authority", "x")]
}

/// What stands between two marks on one line of an answer.
fn between(answer: &str, before: &str, after: &str) -> String {
    let found = answer.lines().find_map(|l| l.strip_prefix(before)?.strip_suffix(after));
    found.unwrap_or_else(|| panic!("no {before}…{after} in {answer}")).to_owned()
}
