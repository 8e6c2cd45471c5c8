//! Bad input as bytes: each gets a clear answer or a closed connection, and the service continues to serve.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use doorbell_protocol::base64url;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use http::StatusCode;
use support::raw::http2::{END_HEADERS, END_STREAM, HEADERS};
use support::raw::{self, frame, frames, header_block, http2_preface};
use support::{START, Subscription, TestService, path, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// After bad input, the service still answers a normal client.
async fn still_serves(service: &TestService, to: &Subscription) {
    service.send(to, &[], b"hello").await;
}

/// A JWT with any header and claims, signed by `key` over exactly these bytes if the algorithm is ES256.
fn jwt(key: &SigningKey, claims: &str) -> String {
    // The signer makes claims of its own, so another payload is inserted where the signature does not matter.
    let honest = key.sign("https://elsewhere.example", START.plus(Duration::from_secs(60)), None).unwrap();
    let (head, rest) = honest.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    format!("{head}.{}.{signature}", base64url::encode(claims.as_bytes()))
}

#[tokio::test]
async fn every_bad_token_is_403_and_none_is_401_with_a_bare_challenge_ps_8292_2_and_4_2() {
    let service = TestService::start().await;
    let key = SigningKey::generate().unwrap();
    let other = SigningKey::generate().unwrap();
    let k = key.public_key().to_base64url();
    let body = format!("{{\"vapid\":\"{k}\",\"more\":1}}");
    let subscribe = format!(
        "POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Type: application/webpush-options+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let created = raw::once(service.address, subscribe).await;
    assert!(created.starts_with("HTTP/1.1 201 "), "PS-8292-4.1-1, and `more` is ignored, PS-8292-4.1-3: {created}");
    let push = created.lines().find_map(|l| l.strip_prefix("link: <")?.strip_suffix(">;rel=\"urn:ietf:params:push\""));
    let restricted = path(push.unwrap());
    let open = path(&service.subscribe().await.push);

    let origin = service.origin();
    let at = |secs| START.plus(Duration::from_secs(secs));
    let sign = |aud: &str, exp: UnixMs| key.sign(aud, exp, Some("mailto:a@example.org")).unwrap();
    let good = sign(&origin, at(3600));
    let with_k = |t: &str| format!("vapid t={t}, k={k}");
    let unsigned = |header: &str| {
        let claims = format!("{{\"aud\":\"{origin}\",\"exp\":{}}}", at(60).as_secs());
        format!("{}.{}.", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()))
    };
    let wrong_port = format!("http://127.0.0.1:{}", service.address.port().wrapping_add(1));
    let off_curve = format!("BA{}", "A".repeat(85));
    let bad = [
        ("forged", with_k(&jwt(&key, &format!("{{\"aud\":\"{origin}\",\"exp\":{}}}", at(60).as_secs())))),
        ("alg none", with_k(&unsigned("{\"typ\":\"JWT\",\"alg\":\"none\"}"))),
        ("alg HS256", with_k(&(unsigned("{\"typ\":\"JWT\",\"alg\":\"HS256\"}") + &"A".repeat(43)))),
        ("wrong aud", with_k(&sign("https://push.example.org", at(60)))),
        ("wrong port", with_k(&sign(&wrong_port, at(60)))),
        ("aud with a path", with_k(&sign(&format!("{origin}/"), at(60)))),
        ("expired", with_k(&sign(&origin, UnixMs::from_secs(START.as_secs() - 1)))),
        ("more than 24 h ahead", with_k(&sign(&origin, at(24 * 3600 + 120)))),
        ("bad point", format!("vapid t={good}, k={off_curve}")),
        ("another key", format!("vapid t={good}, k={}", other.public_key().to_base64url())),
        ("no key", format!("vapid t={good}")),
        ("no token", format!("vapid k={k}")),
        ("not a token", with_k("a.b")),
        ("truncated", with_k(&good[..good.len() - 5])),
    ];
    let post = async |to: &str, authorization: &str| {
        let request = format!("POST {to} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\n{authorization}Content-Length: 0\r\n\r\n");
        raw::once(service.address, request).await
    };
    for (what, value) in &bad {
        for to in [&restricted, &open] {
            let answer = post(to, &format!("Authorization: {value}\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{what}: {answer}");
            assert!(answer.contains("\"errno\":109"), "{what}: {answer}");
        }
    }
    let stranger =
        format!("vapid t={}, k={}", other.sign(&origin, at(60), None).unwrap(), other.public_key().to_base64url());
    let wrong_key = post(&restricted, &format!("Authorization: {stranger}\r\n")).await;
    assert!(wrong_key.starts_with("HTTP/1.1 403 "), "PS-8292-4.2-3: {wrong_key}");
    let unsigned = post(&restricted, "").await;
    assert!(unsigned.starts_with("HTTP/1.1 401 "), "PS-8292-4.2-2: {unsigned}");
    assert!(unsigned.contains("\r\nwww-authenticate: vapid\r\n"), "PS-8292-3-3: {unsigned}");
    let by_proxy = post(&restricted, &format!("Proxy-Authorization: {}\r\n", with_k(&good))).await;
    assert!(by_proxy.starts_with("HTTP/1.1 401 "), "PS-8292-3-2: {by_proxy}");
    for scheme in [with_k(&good), format!("VAPID k=\"{k}\", t=\"{good}\", realm=\"x\"")] {
        let answer = post(&restricted, &format!("Authorization: {scheme}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "PS-8292-3-1: {answer}");
    }
    for scheme in ["WebPush", "Bearer"] {
        let old = format!("Authorization: {scheme} {good}\r\nCrypto-Key: p256ecdsa={k}\r\n");
        assert!(post(&restricted, &old).await.starts_with("HTTP/1.1 201 "), "PS-8292-L-1 {scheme}");
    }
}

#[tokio::test]
async fn bad_subscribe_options_are_400_and_never_silently_unrestricted_ps_8292_4_1_4() {
    let service = TestService::start().await;
    let post = async |media_type: &str, body: &str| {
        let length = body.len();
        let head = format!("Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}");
        raw::once(service.address, format!("POST /subscribe HTTP/1.1\r\nHost: x\r\n{head}")).await
    };
    let options = "application/webpush-options+json";
    for body in
        ["", "{", "[]", "{\"vapid\":5}", "{\"vapid\":null}", "{\"vapid\":\"AAAA\"}", "{\"vapid\":\"\"}", "{\"key\":1}"]
    {
        let answer = post(options, body).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"hint\":"), "{body}: {answer}");
    }
    for media_type in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
        for body in ["{\"vapid\":\"AAAA\"}", " {\"applicationServerKey\":\"AAAA\"}", "vapid=AAAA"] {
            let answer = post(media_type, body).await;
            assert!(answer.starts_with("HTTP/1.1 415 "), "{media_type} {body}: {answer}");
            assert!(answer.contains("\"errno\":1003") && answer.contains(options), "the hint names it: {answer}");
        }
        let other = post(media_type, "hello").await;
        assert!(other.starts_with("HTTP/1.1 201 "), "PS-8292-4.1-2: {other}");
    }
    let no_options = post(options, "{}").await;
    assert!(no_options.starts_with("HTTP/1.1 201 "), "{no_options}");
}

#[tokio::test]
async fn one_key_for_signing_and_encrypting_is_400_ps_8292_3_2_2() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let key = SigningKey::generate().unwrap();
    let token = key.sign(&service.origin(), START.plus(Duration::from_secs(60)), None).unwrap();
    let authorization = format!("vapid t={token}, k={}", key.public_key().to_base64url());
    let mut body = vec![0; 16];
    body.extend([0, 0, 16, 0, 65]);
    body.extend(key.public_key().as_bytes());
    body.extend([0; 40]);
    let headers = [("authorization", authorization.as_str()), ("content-encoding", "aes128gcm")];
    let answer = service.post(&to, &headers, &body).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(support::text(&answer).contains("\"errno\":1004"));
}

#[tokio::test]
async fn bytes_that_are_not_http_get_an_error_or_a_closed_connection() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let uri = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p/".repeat(50_000));
    for bytes in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", &many, &long, &uri] {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        // The service may close before it has read everything.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let received = raw::until_closed(&mut stream).await;
        assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&received));
    }
    let smuggled =
        "POST /subscribe HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream
        .write_all(format!("{smuggled}GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let received = String::from_utf8(raw::until_closed(&mut stream).await).unwrap();
    assert!(received.matches("HTTP/1.1 201 ").count() <= 1, "{received}");
    still_serves(&service, &to).await;
}

#[tokio::test]
async fn old_versions_of_tls_are_refused_with_an_alert_ps_8030_3_2() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: Some(vec!["127.0.0.1:0".parse().unwrap()]),
        state_dir: Some(dir.path().to_owned()),
        ..Settings::default()
    };
    let service = Service::start(Config::from_settings(settings).unwrap(), Clock::system()).await.unwrap();
    // SSL 3.0, TLS 1.0 and TLS 1.1, each with a ClientHello that offers AES-128-CBC-SHA and nothing newer.
    for version in [0x0300u16, 0x0301, 0x0302] {
        let mut hello = version.to_be_bytes().to_vec();
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
        let mut handshake = vec![1, 0, 0, hello.len() as u8];
        handshake.extend(hello);
        let mut record = vec![22, 3, 1, 0, handshake.len() as u8];
        record.extend(handshake);
        let mut stream = TcpStream::connect(service.address()).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let received = raw::until_closed(&mut stream).await;
        assert_eq!(received.first(), Some(&21), "an alert and not {received:?}");
    }
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_rapid_reset_attack_ends_the_connection_and_not_the_service() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let block = header_block(&[(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]);
    let mut bytes = http2_preface();
    for n in 0..5000 {
        let id = 2 * n + 1;
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, &block));
        bytes.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
    }
    let _ = stream.write_all(&bytes).await;
    let received = raw::until_closed(&mut stream).await;
    assert!(ends_with_goaway(&received, ENHANCE_YOUR_CALM), "{:?}", frames(&received).last());
    still_serves(&service, &to).await;
}

#[tokio::test]
async fn a_continuation_flood_and_a_header_bomb_end_early() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    // A header list that never ends (CVE-2024-27316 and similar ones).
    let mut flood = http2_preface();
    flood.extend(frame(HEADERS, END_STREAM, 1, &header_block(&[(":method", "GET")])));
    let field = header_block(&[("x", &"y".repeat(1000))]);
    for _ in 0..20_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field));
    }
    // One entry of the dynamic table, referred to thousands of times (RFC 7541 s7.3).
    let mut bomb = header_block(&[(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]);
    let mut entry = header_block(&[("x", &"y".repeat(3000))]);
    entry[0] = 0x40;
    bomb.extend(entry);
    bomb.extend([0x80 | 62; 10_000]);
    let mut bombed = http2_preface();
    bombed.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
    for bytes in [flood, bombed] {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let received = raw::until_closed(&mut stream).await;
        let answered =
            frames(&received).iter().any(|(kind, _, id, _)| *kind == HEADERS && *id == 1 && received.len() > 5000);
        assert!(!answered, "the request was taken");
        assert!(received.len() < 5000);
    }
    still_serves(&service, &to).await;
}

#[tokio::test]
async fn connections_that_ask_nothing_or_too_slowly_are_closed_and_others_served_meanwhile() {
    let service = TestService::with(Settings { idle_timeout_secs: Some(1), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let mut silent = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        // Nothing at all, half a head, or an HTTP/2 connection without a request.
        let bytes = [b"".to_vec(), b"GET / HT".to_vec(), http2_preface()][n % 3].clone();
        stream.write_all(&bytes).await.unwrap();
        silent.push(stream);
    }
    still_serves(&service, &to).await;
    for mut stream in silent {
        let received = raw::until_closed(&mut stream).await;
        assert!(received.is_empty() || !received.starts_with(b"HTTP/1.1 200"), "{received:?}");
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up_and_not_accepted() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: 10\r\n\r\nhalf", path(&to.push));
    let answer = raw::exchange(&mut stream, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut cut = TcpStream::connect(service.address).await.unwrap();
    cut.write_all(head.as_bytes()).await.unwrap();
    drop(cut);
    assert_eq!(service.agent().await.fetch(&to.set).await.1, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_frame_of_the_wrong_kind_is_a_protocol_error_and_not_a_panic() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut cases: Vec<Vec<u8>> = (0..=255).map(|kind| frame(kind, 0xff, 1, &[0xff; 40])).collect();
    cases.push(frame(HEADERS, END_HEADERS, 0, &[0x82]));
    cases.push(frame(HEADERS, END_HEADERS, 2, &[0x82]));
    cases.push(vec![0xff; 9]);
    for case in cases {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let _ = stream.write_all(&[http2_preface(), case].concat()).await;
        let _ = stream.shutdown().await;
        raw::until_closed(&mut stream).await;
    }
    still_serves(&service, &to).await;
}

fn ends_with_goaway(received: &[u8], code: u32) -> bool {
    frames(received)
        .iter()
        .any(|(kind, _, _, payload)| *kind == GOAWAY && payload.get(4..8) == Some(&code.to_be_bytes()))
}

#[tokio::test]
async fn a_client_that_never_reads_delays_no_other_client() {
    let service = TestService::start().await;
    let (stalled, other) = (service.subscribe().await, service.subscribe().await);
    for _ in 0..200 {
        service.send(&stalled, &[], &[7; 4096]).await;
    }
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let get =
        header_block(&[(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", &path(&stalled.set))]);
    stream.write_all(&[http2_preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &get)].concat()).await.unwrap();
    let mut first = [0; 1];
    within(stream.read_exact(&mut first)).await.unwrap();
    let mut agent = service.agent().await;
    let mut pushes = service.monitored(&mut agent, &other.set, &other).await;
    service.send(&other, &[], b"quick").await;
    assert_eq!(&pushes.push().await.body[..], b"quick");
    drop(stream);
    let mut agent = service.agent().await;
    let mut pushes = agent.monitor(&stalled.set, &[("prefer", "wait=0")]).await;
    let mut delivered = 0;
    while let Some(push) = pushes.next().await {
        delivered += 1;
        assert_eq!(agent.delete(&push.uri).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(delivered, 200, "what the stalled client did not take is not lost");
}
