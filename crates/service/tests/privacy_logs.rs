//! What is logged: of URIs, keys and messages nothing, at any level, by any part of the process (RFC 8030 s8.5). A test
//! binary of its own, because what it collects is the whole process's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use support::chromium::{self, Chromium, OLD_SENDER, first_check_in_on, login};
use support::path;
use support::raw::http2::Connection;
use support::raw::{self, frame, header_block, http2_preface};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Everything, as with `--log trace`, but for what the command keeps out of every log: h2 writes paths and fields that
/// are not well-formed, and what a client says at its leave, into its own lines, and tungstenite whole messages. The
/// HPACK decoder is this test's.
const FILTER: &str = "trace,h2=info,h2::server=info,tungstenite=info,tokio_tungstenite=info,loona_hpack=off";

const HTTP1: &str = "http/1.1";
const HTTP2: &str = "h2";
/// Which has no name: Chromium offers nothing.
const MCS: &str = "";

/// Messages sent on each transport.
const MESSAGES: usize = 100;

/// How many octets of a secret have to be seen to call it seen.
const PIECE: usize = 12;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects from now on what the process logs, by tracing and (rustls) by log.
    fn collect() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What must not be seen.
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
        let listen = Some("127.0.0.1:0".parse().unwrap());
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
    async fn ask(&self, octets: &str) -> String {
        raw::exchange(&mut self.connect(HTTP1).await, octets.as_bytes()).await
    }

    /// Says something that may not get an answer, and leaves.
    async fn say(&self, protocol: &str, octets: &[u8]) {
        let mut stream = self.connect(protocol).await;
        let _ = stream.write_all(octets).await;
        let _ = stream.shutdown().await;
        let mut said = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
        // What it says, and whether it closes, is what other tests are about.
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
        said_by_chromium(&site, &known, &mut secrets).await;
        removed_and_drained(site, &known).await;
    }
    let text = log.text();
    for from in [" rustls::", " doorbell_service::", " doorbell_store::"] {
        assert!(text.contains(from), "nothing of {from} has been collected");
    }
    secrets.assert_none_is_in(&text);
}

/// What a day brings: subscribing, sending, receiving, acknowledging, receipts.
async fn ordinary(site: &Site, secrets: &mut Secrets) -> Known {
    let key = SigningKey::generate().unwrap();
    let (k, subject) = (key.public_key().to_base64url(), "mailto:somebody.private@example.org");
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
        let body = format!("Bq{n:03}-payload-of-a-message-that-nobody-else-may-read-Bq");
        let post = format!(
            "POST {to} HTTP/1.1\r\nHost: x\r\nTTL: {}\r\nTopic: {topic}\r\nAuthorization: {}\r\n{receipts}\
             Prefer: respond-async\r\nContent-Length: {}\r\n\r\n{body}",
            // Some go with TTL 0, but not the first one, which comes before the agent is known to listen.
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

/// The same on Firefox's socket, and what ends one.
async fn on_a_socket(site: &Site, known: &Known, secrets: &mut Secrets) {
    let origin = format!("ws://{}/", site.service.address());
    let open = async || tokio_tungstenite::client_async(&*origin, site.connect(HTTP1).await).await.unwrap().0;
    let channel = "channel-that-says-which-app-somebody-uses";
    secrets.keep("a channelID", channel);
    let text = async |socket: &mut WebSocketStream<Box<dyn Io>>, say: String| {
        socket.send(Message::text(say)).await.unwrap();
        socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
    };
    let mut socket = open().await;
    let hello = r#"{"messageType":"hello","uaid":""}"#.to_owned();
    secrets.keep_tokens_of(&text(&mut socket, hello).await);
    let register = format!(r#"{{"messageType":"register","channelID":"{channel}"}}"#);
    let registered = text(&mut socket, register).await;
    secrets.keep_tokens_of(&registered);
    let push = path(registered.split('"').find(|word| word.contains("/p/")).unwrap());
    let body = "Wq-payload-that-comes-over-a-websocket-Wq";
    secrets.keep("a payload", body);
    let head = format!("POST {push} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Length: {}\r\n\r\n", body.len());
    secrets.keep_tokens_of(&site.ask(&(head + body)).await);
    let notification = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(notification.contains("notification"), "{notification}");
    secrets.keep("a body", notification.split('"').nth(15).unwrap());

    let secret = &known.set;
    for frame in [
        Message::text(format!(r#"{{"messageType":"register","channelID":"{channel}","key":"{secret}"}}"#)),
        Message::text(format!(r#"{{"messageType":"{secret}"}}"#)),
        Message::text(format!(r#"{{"messageType":"hello","uaid":"{secret}"}}"#)),
        Message::text(format!("{secret}!")),
        Message::binary(secret.clone().into_bytes()),
        Message::Ping(secret.clone().into()),
        Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: secret.clone().into() })),
    ] {
        let mut socket = open().await;
        text(&mut socket, format!(r#"{{"messageType":"hello","uaid":"{secret}"}}"#)).await;
        let _ = socket.send(frame).await;
        let _ = tokio::time::timeout(Duration::from_millis(100), socket.next()).await;
    }
}

/// What goes wrong by mistake or by malice, with a secret where it hurts.
async fn malformed_in_http1(site: &Site, known: &Known, secrets: &mut Secrets) {
    let Known { push, set, credentials, .. } = known;
    let uris = [push, &known.restricted, &known.subscription, set, &known.receipts, &known.message];
    let mut requests = Vec::new();
    for uri in uris {
        for after in [">", "\"", " x", "%zz", "\u{1}", "\u{e9}", "#x", "?x", "/", "A"] {
            requests.push(format!("POST {uri}{after} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: 0\r\n\r\n"));
        }
        requests.push(format!("POST {uri}\r\n\r\n"));
        requests.push(format!("{uri} {uri} {uri}\r\n\r\n"));
        requests.push(format!("POST http://x{uri}> HTTP/1.1\r\nHost: x\r\n\r\n"));
        for field in [
            "TTL",
            "Urgency",
            "Topic",
            "Content-Length",
            "Transfer-Encoding",
            "Expect",
            "Host",
            "Link",
            "Prefer",
            "Authorization",
            "Connection",
            "Upgrade",
            "Last-Event-ID",
            "Accept",
            "Content-Encoding",
            "Crypto-Key",
        ] {
            requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\n{field}: {uri}\r\n\r\n"));
        }
        requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\n{uri}: x\r\n\r\n"));
        requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;{uri}\u{1}\r\n"));
        requests.push(format!("POST {push} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{uri}\r\n"));
    }
    for credentials in
        [format!("{credentials}\u{1}"), format!("{credentials}A"), credentials.replace("vapid", "Bearer")]
    {
        let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\n", known.restricted);
        requests.push(format!("{head}Authorization: {credentials}\r\nContent-Length: 0\r\n\r\n"));
    }
    let body = "Bq-payload-that-is-too-long-or-ends-too-soon-Bq".repeat(200);
    secrets.keep("a payload", &body[..47]);
    for length in [body.len(), body.len() + 1, 4000] {
        let head = format!("POST {push} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: {length}\r\n\r\n");
        requests.push(head + &body);
    }
    let said = requests.iter().map(|request| site.say(HTTP1, request.as_bytes()));
    futures_util::future::join_all(said).await;
    // Without TLS where it is expected.
    let mut socket = TcpStream::connect(site.service.address()).await.unwrap();
    let _ = socket.write_all(format!("POST {push} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
}

/// The same in frames.
async fn malformed_in_http2(site: &Site, known: &Known) {
    const HEADERS: u8 = 1;
    const WHOLE: u8 = 5;
    let uris = [&known.push, &known.subscription, &known.set, &known.receipts, &known.message];
    let mut connections = Vec::new();
    for uri in uris {
        for after in [">", "\"", " ", "%zz", "\u{1}", "\u{e9}", "#x", "A"] {
            connections.push(frame(HEADERS, WHOLE, 1, &header_block(&request("POST", &format!("{uri}{after}")))));
        }
        let secret = format!("{uri}>");
        for place in 0..4 {
            let mut fields = request("POST", uri);
            fields[place].1 = &secret;
            connections.push(frame(HEADERS, WHOLE, 1, &header_block(&fields)));
        }
        for (name, value) in [
            (&secret[..], "x"),
            ("Upper-Case", &secret),
            (":path", &secret),
            (":unknown", &secret),
            ("content-length", &secret),
            ("connection", &secret),
            ("te", &secret),
            ("authorization", &format!("{}\u{1}", known.credentials)),
            ("link", &format!("<{secret}; rel=\"urn:ietf:params:push:receipt\"")),
        ] {
            let fields = [&request("POST", &known.push)[..], &[(name, value)]].concat();
            connections.push(frame(HEADERS, WHOLE, 1, &header_block(&fields)));
        }
        // A reference to nothing after the path, so that the list is not decoded whole (RFC 7541 s2.3.3).
        let broken = [header_block(&request("POST", uri)), vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        connections.push(frame(HEADERS, WHOLE, 1, &broken));
        // GOAWAY with words of the client's own, a frame of no known kind, and DATA on a stream that is not open.
        for code in [0, 1] {
            let goaway = [&[0; 7][..], &[code], uri.as_bytes()].concat();
            connections.push(frame(7, 0, 0, &goaway));
        }
        connections.push(frame(99, 0, 1, uri.as_bytes()));
        connections.push(frame(0, 0, 1, uri.as_bytes()));
        // More and less of a body than announced.
        for length in ["1", "5000"] {
            let fields = [&request("POST", &known.push)[..], &[("ttl", "5"), ("content-length", length)]].concat();
            let mut octets = frame(HEADERS, 4, 1, &header_block(&fields));
            octets.extend(frame(0, 1, 1, uri.as_bytes()));
            connections.push(octets);
        }
    }
    let said = connections.into_iter().map(async |octets| site.say(HTTP2, &[http2_preface(), octets].concat()).await);
    futures_util::future::join_all(said).await;
}

/// What a Chromium knows, said rightly and wrongly: its secret, the site that it subscribes for, its token, a message.
async fn said_by_chromium(site: &Site, known: &Known, secrets: &mut Secrets) {
    const SUBTYPE: &str = "wp:https://nobody-knows-that-i-read-this.example/#B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2";
    let device = first_check_in_on(site.connect(HTTP1).await).await;
    let (id, secret) = (device.id.to_string(), device.secret.to_string());
    for (what, secret) in [("a site", SUBTYPE), ("a device", &id), ("a device's secret", &secret)] {
        secrets.keep(what, secret);
    }
    let form = device.form(SUBTYPE, OLD_SENDER);
    let mut answers = Vec::new();
    for (secret, form) in [
        (&secret[..], &form[..]),
        (&secret, &form[1..]),
        ("1", &form),
        (SUBTYPE, &form),
        (&secret, &format!("{form}&sender={SUBTYPE}")),
        (&secret, &format!("{form}&delete=true")),
        (&secret, &form),
    ] {
        let length = form.len();
        let post = format!(
            "POST /c2dm/register3 HTTP/1.1\r\nHost: x\r\nAuthorization: AidLogin {id}:{secret}\r\n\
             Content-Length: {length}\r\n\r\n{form}"
        );
        answers.push(site.ask(&post).await);
        secrets.keep_tokens_of(&answers[answers.len() - 1]);
    }
    let token = answers[answers.len() - 1].rsplit("token=").next().unwrap();
    let mut stream = Chromium::over(site.connect(MCS).await);
    stream.octets(&[0x29]).await;
    stream.log_in(device, &[SUBTYPE.to_owned()]).await;
    let body = "Bq---payload-for-a-chromium-that-nobody-else-may-read-Bq";
    secrets.keep("a payload", body);
    let length = body.len();
    let head = format!("POST /fcm/send/{token} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Length: {length}\r\n\r\n");
    secrets.keep_tokens_of(&site.ask(&(head + body)).await);
    assert_eq!(stream.message().await.body(), body);
    stream.octets(&chromium::frame(0, &[0x10, 99])).await;
    stream.until_closed().await;
    let wrong = chromium::Device { secret: 1, ..device };
    for login in [&login(wrong, &[])[..], &login(device, &[])[..40], known.push.as_bytes(), SUBTYPE.as_bytes()] {
        site.say(MCS, &[&[0x29], &chromium::frame(2, login)[..]].concat()).await;
        site.say(MCS, &[&[0x29], login].concat()).await;
        site.say(MCS, login).await;
    }
}

/// Removes it all, one request being open, and stops the service with a connection open.
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
