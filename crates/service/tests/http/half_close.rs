//! A client that ends its sending side after a whole request still reads (RFC 9112 s9.6, RFC 9293 s3.6); one that ends
//! it within a request has not sent one.

use std::sync::Arc;

use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::events::EventStream;
use crate::support::raw::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, PUSH_PROMISE};
use crate::support::raw::{frame, frames, header_block, http2_preface};
use crate::support::{TestService, path, within};

/// Enough for a race between an answer and the end to show.
const TIMES: usize = 30;

/// Sends, ends the sending side, and reads to the end.
async fn half_closed(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Vec<u8> {
    io.write_all(request).await.unwrap();
    io.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = within(io.read_to_end(&mut answer)).await;
    answer
}

fn post(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Length: {length}\r\n\r\nhello").into_bytes()
}

/// The status of the answer on stream 1, if there is one.
fn status_of(bytes: &[u8]) -> Option<String> {
    // Each block may refer to the ones before.
    let mut decoder = loona_hpack::Decoder::new();
    for (kind, _, stream, block) in frames(bytes) {
        let promised = if kind == PUSH_PROMISE { 4 } else { 0 };
        if kind == HEADERS || kind == PUSH_PROMISE {
            let fields = decoder.decode(&block[promised..]).unwrap();
            if stream == 1 && kind == HEADERS {
                let (_, status) = fields.into_iter().find(|(name, _)| &name[..] == b":status")?;
                return Some(String::from_utf8(status.to_vec()).unwrap());
            }
        }
    }
    None
}

/// A request over HTTP/2 with `DATA` frames: the rest of them, and whether the last one ends it.
fn post_http2(authority: &str, path: &str, ends: bool) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", authority), (":path", path), ("ttl", "60")];
    let mut bytes = http2_preface();
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &header_block(&fields)));
    bytes.extend(frame(DATA, if ends { END_STREAM } else { 0 }, 1, b"hello"));
    bytes
}

#[tokio::test]
async fn a_whole_request_is_answered_over_http_1() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    for _ in 0..TIMES {
        let stream = TcpStream::connect(service.address).await.unwrap();
        let answer = half_closed(stream, &post(&path(&to.push), 5)).await;
        assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", answer.escape_ascii());
    }
    let poll =
        format!("GET {} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nPrefer: wait=0\r\n\r\n", path(&to.set));
    let stream = TcpStream::connect(service.address).await.unwrap();
    let polled = String::from_utf8(half_closed(stream, poll.as_bytes()).await).unwrap();
    assert_eq!(polled.matches("\nevent: message\n").count(), TIMES, "{polled}");
    assert!(polled.ends_with("\r\n0\r\n\r\n"), "a poll ends: {polled}");
}

#[tokio::test]
async fn a_whole_request_is_answered_over_http_2() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    for _ in 0..TIMES {
        let stream = TcpStream::connect(service.address).await.unwrap();
        let answer = half_closed(stream, &post_http2("x", &path(&to.push), true)).await;
        assert_eq!(status_of(&answer).as_deref(), Some("201"), "{}", answer.escape_ascii());
    }
    let many: Vec<u8> = (0..20)
        .flat_map(|n| {
            let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")];
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &header_block(&fields))
        })
        .collect();
    let stream = TcpStream::connect(service.address).await.unwrap();
    let answers = half_closed(stream, &[http2_preface(), many].concat()).await;
    let ended = |(kind, flags, ..): &(u8, u8, u32, Vec<u8>)| *kind == HEADERS && *flags & END_HEADERS != 0;
    assert_eq!(frames(&answers).iter().filter(|frame| ended(frame)).count(), 20);
    let poll = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", &path(&to.set)),
        ("accept", "text/event-stream"),
        ("prefer", "wait=0"),
    ];
    let poll = frame(HEADERS, END_HEADERS | END_STREAM, 1, &header_block(&poll));
    let stream = TcpStream::connect(service.address).await.unwrap();
    let polled = half_closed(stream, &[http2_preface(), poll].concat()).await;
    let events: Vec<u8> =
        frames(&polled).into_iter().filter(|frame| frame.0 == DATA).flat_map(|frame| frame.3).collect();
    assert_eq!(String::from_utf8(events).unwrap().matches("\nevent: message\n").count(), TIMES);
}

#[tokio::test]
async fn a_held_request_over_http_2_ends_with_its_client() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let path = path(&to.set);
    for accept in ["*/*", "text/event-stream"] {
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", &path), ("accept", accept)];
        let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &header_block(&fields));
        let stream = TcpStream::connect(service.address).await.unwrap();
        // It ends as soon as the service sees the end: otherwise after the clock, which stands still, has moved on.
        half_closed(stream, &[http2_preface(), get].concat()).await;
    }
    let (pushes, _) = service.agent().await.fetch(&to.set).await;
    assert_eq!(pushes.into_iter().map(|push| push.uri).collect::<Vec<_>>(), [message]);
}

/// A GET over HTTP/2 by a client that ends its sending side at once.
async fn half_closed_get(service: &TestService, uri: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let path = path(uri);
    let fields = [&[(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", &*path)], more].concat();
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &header_block(&fields));
    let stream = TcpStream::connect(service.address).await.unwrap();
    half_closed(stream, &[http2_preface(), get].concat()).await
}

#[tokio::test]
async fn a_poll_that_cannot_receive_more_ends_with_its_client_and_withholds_nothing() {
    let service = TestService::start().await;
    let poll = ("prefer", "wait=0");
    // More than the window of the connection, which is 65,535 bytes; and messages that no window limits.
    for (count, body) in [(20, &[7; 4096][..]), (3, b"")] {
        let to = service.subscribe().await;
        for _ in 0..count {
            service.send(&to, &[], body).await;
        }
        for events in [false, true] {
            if events && body.is_empty() {
                continue;
            }
            let more = if events { vec![poll, ("accept", "text/event-stream")] } else { vec![poll] };
            let answer = half_closed_get(&service, &to.set, &more).await;
            assert_eq!(frames(&answer).iter().any(|frame| frame.0 == PUSH_PROMISE), !events);
            let status = if events { "200" } else { "408" };
            assert_eq!(status_of(&answer).as_deref(), Some(status), "a poll's 200 would mean that no more waits");
            let (messages, _) = service.agent().await.fetch(&to.set).await;
            assert_eq!(messages.len(), count);
        }
    }
}

#[tokio::test]
async fn an_answer_that_the_window_stops_ends_with_its_client() {
    let service = TestService::with(Settings { body_max: Some(100_000), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], &[7; 100_000]).await;
    let answer = half_closed_get(&service, &message, &[]).await;
    assert_eq!(status_of(&answer).as_deref(), Some("200"));
    let data = frames(&answer).into_iter().filter(|frame| frame.0 == DATA).map(|frame| frame.3.len());
    assert_eq!(data.sum::<usize>(), 65_535, "what the window takes");
}

#[tokio::test]
async fn a_request_that_ends_early_is_an_error_and_not_stored() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let stream = TcpStream::connect(service.address).await.unwrap();
    let answer = half_closed(stream, &post(&path(&to.push), 6)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", answer.escape_ascii());
    let stream = TcpStream::connect(service.address).await.unwrap();
    let answer = half_closed(stream, &post_http2("x", &path(&to.push), false)).await;
    assert!(!status_of(&answer).is_some_and(|status| status.starts_with('2')));
    let (messages, _) = service.agent().await.fetch(&to.set).await;
    assert!(messages.is_empty());
}

#[tokio::test]
async fn a_held_stream_ends_with_its_client() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let mut first = EventStream::open(service.address, &to.set, &[]).await;
    assert_eq!(first.next().await.unwrap().data["message"], message.as_str());
    let mut second = EventStream::open(service.address, &to.set, &[]).await;
    // What the first one has not acknowledged comes as soon as the service sees that it has left, without a write.
    drop(first);
    assert_eq!(second.next().await.unwrap().data["message"], message.as_str());
}

#[tokio::test]
async fn a_request_after_a_held_stream_is_answered_too() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    for _ in 0..TIMES {
        let held = service.subscribe().await;
        let stream = EventStream::open(service.address, &held.set, &[]).await;
        service.delete(&held.set).await;
        let answer = half_closed(stream.into_socket().await, &post(&path(&to.push), 5)).await;
        assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_whole_request_is_answered_over_tls_after_close_notify() {
    let dir = tempfile::tempdir().unwrap();
    let (listen, state_dir) = (Some(vec!["127.0.0.1:0".parse().unwrap()]), Some(dir.path().to_owned()));
    let settings = Settings { listen, state_dir, ..Settings::default() };
    let service = Service::start(Config::from_settings(settings).unwrap(), Clock::system()).await.unwrap();
    let subscribe = b"POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let made = String::from_utf8(half_closed(connect(&service, b"http/1.1").await, subscribe).await).unwrap();
    let push = made.split_once(";rel=\"urn:ietf:params:push\"").unwrap().0.rsplit_once("link: <").unwrap().1;
    let push = path(push.trim_end_matches('>'));
    for _ in 0..TIMES {
        let answer = half_closed(connect(&service, b"http/1.1").await, &post(&push, 5)).await;
        assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", answer.escape_ascii());
        let answer = half_closed(connect(&service, b"h2").await, &post_http2("x", &push, true)).await;
        assert_eq!(status_of(&answer).as_deref(), Some("201"), "{}", answer.escape_ascii());
    }
    let old = format!("POST {push} HTTP/1.0\r\nTTL: 60\r\nContent-Length: 5\r\n\r\nhello");
    let answer = half_closed(connect(&service, b"http/1.0").await, old.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.0 201 "), "ALPN http/1.0 is served: {}", answer.escape_ascii());
    service.stop().await.unwrap();
}

async fn connect(service: &Service, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(service.ca_file().unwrap()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(service.address()).await.unwrap();
    let name = ServerName::from(service.address().ip());
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}
