//! Clients that mean harm, here and at the public port.

use std::time::Duration;

use doorbell_service::config::Settings;
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::operator::{address, get, start, with};
use crate::support::{raw, text};

/// More than the listener has places.
const MANY: usize = 200;
/// More than the public port has places in a test, and fewer than wait to be accepted.
const PUBLIC: usize = 100;

#[tokio::test]
async fn requests_that_are_too_large_or_no_http_get_an_error_with_a_body() {
    let service = start().await;
    let host = "host: localhost\r\n";
    let long = "a".repeat(64 << 10);
    for (request, status) in [
        (format!("GET /livez HTTP/1.1\r\n{host}x: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\n{host}\r\n"), "4"),
        (format!("GET /livez HTTP/1.1\r\n{host}{}\r\n", "a: b\r\n".repeat(100)), "431"),
        (format!("GET /livez HTTP/1.1\r\n{host}{host}\r\n"), "400"),
        ("GET /livez HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let mut stream = TcpStream::connect(address(&service)).await.unwrap();
        // The listener may answer before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = String::from_utf8(raw::until_closed(&mut stream).await).unwrap();
        let shown = &request[..request.len().min(40)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer}");
        assert!(answer.contains("\"code\":4") && answer.contains("nosniff"), "{shown}: {answer}");
        assert!(answer.contains("\"more_info\":\"/errors#"), "a rebound page must not learn the origin: {answer}");
    }
    // HTTP/2 is not served: such a connection is closed.
    let mut stream = TcpStream::connect(address(&service)).await.unwrap();
    stream.write_all(&raw::http2_preface()).await.unwrap();
    raw::until_closed(&mut stream).await;
    assert_eq!(get(&service, "/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn clients_that_never_end_do_not_keep_a_monitor_out() {
    let service = start().await;
    let mut held = Vec::new();
    for n in 0..MANY {
        let mut stream = TcpStream::connect(address(&service)).await.unwrap();
        let part: &[u8] = match n % 3 {
            0 => b"",
            1 => b"GET /status HTTP/1.1\r\nhost: loc",
            // It never reads the answers.
            _ => &b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20),
        };
        // A connection that was closed to make room refuses bytes.
        let _ = stream.write_all(part).await;
        held.push(stream);
        if n % 20 == 0 {
            assert_eq!(get(&service, "/livez").await.status(), StatusCode::OK, "{n} connections");
        }
    }
    assert_eq!(get(&service, "/readyz").await.status(), StatusCode::OK);
    // Less than the time-out of requests, which closes silent connections too.
    let closed = timeout(Duration::from_secs(5), raw::until_closed(&mut held[0])).await.unwrap();
    assert!(closed.is_empty(), "the oldest one was closed");
}

#[tokio::test]
async fn while_the_public_port_is_full_the_admin_listener_answers_and_the_other_way_round() {
    let settings = Settings { connections_max: Some(4), connections_per_source_max: Some(0), ..Settings::default() };
    let service = with(settings).await;
    let mut public = Vec::new();
    for _ in 0..PUBLIC {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let _ = stream.write_all(b"POST /subscribe HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n1").await;
        public.push(stream);
    }
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        let answer = get(&service, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", text(&answer));
    }
    drop(public);
    let mut held = Vec::new();
    for _ in 0..MANY {
        held.push(TcpStream::connect(address(&service)).await.unwrap());
    }
    service.subscribe().await;
}
