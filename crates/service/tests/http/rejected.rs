//! Requests that HTTP itself rejects: each gets an answer with a JSON body.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{TestService, path, raw, within};

/// Sends bytes, reads until the service closes the connection, and expects this status and a problem in JSON.
async fn rejected(service: &TestService, request: &[u8], status: u16) -> Value {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    // The service may answer before it has read everything.
    let _ = stream.write_all(request).await;
    let answer = String::from_utf8(raw::until_closed(&mut stream).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(
        head.starts_with(&format!("HTTP/1.1 {status} ")) || head.starts_with(&format!("HTTP/1.0 {status} ")),
        "{head}"
    );
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: application/json") && head.contains("\r\nconnection: close"), "{head}");
    assert!(head.contains("\r\ndate: ") && head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], status);
    for text in ["error", "message", "hint"] {
        assert!(problem[text].is_string(), "{problem}");
    }
    let more = problem["more_info"].as_str().unwrap();
    assert_eq!(more, format!("{}/errors#{}", service.origin(), problem["errno"]), "it is absolute");
    problem
}

#[tokio::test]
async fn http_1_1_has_one_host_and_no_version_has_two() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let push = path(&to.push);
    let post = |version: &str, hosts: &str| {
        format!("POST {push} HTTP/{version}\r\n{hosts}TTL: 5\r\nContent-Length: 1\r\n\r\nx").into_bytes()
    };
    for (version, hosts) in [("1.1", ""), ("1.1", "Host: a\r\nHost: a\r\n"), ("1.0", "Host: a\r\nHost: b\r\n")] {
        rejected(&service, &post(version, hosts), 400).await;
    }
    for (version, hosts) in [("1.1", "Host: a\r\n"), ("1.0", ""), ("1.0", "Host: a\r\n")] {
        let answer = raw::once(service.address, post(version, hosts)).await;
        assert!(answer.contains(" 201 "), "{answer}");
    }
    let (messages, _) = service.agent().await.fetch(&to.set).await;
    assert_eq!(messages.len(), 3, "what is rejected is not stored");
}

#[tokio::test]
async fn an_http_1_0_body_of_unknown_length_is_not_an_empty_message() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let head = format!("POST {} HTTP/1.0\r\nTTL: 5\r\nContent-Encoding: aes128gcm\r\n", path(&to.push));
    rejected(&service, format!("{head}\r\nsealed").as_bytes(), 411).await;
    rejected(&service, b"POST /subscribe HTTP/1.0\r\n\r\n{\"vapid\":\"A\"}", 411).await;
    let (messages, _) = service.agent().await.fetch(&to.set).await;
    assert!(messages.is_empty());
    let bare = format!("POST {} HTTP/1.0\r\nTTL: 5\r\n\r\n", path(&to.push));
    for body in ["sealed", "sealed\n", "\r\n\r\n"] {
        rejected(&service, format!("{bare}{body}").as_bytes(), 411).await;
    }
    // nginx passes on a POST without a body like the second and the third.
    for empty in [format!("{head}Content-Length: 0\r\n\r\n"), bare, "POST /subscribe HTTP/1.0\r\n\r\n".to_owned()] {
        let answer = raw::once(service.address, &empty).await;
        assert!(answer.contains(" 201 "), "PS-8030-5-4: {empty}: {answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_parsed_gets_a_problem_in_json() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let long = "x".repeat(70_000);
    let fields: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: y\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"), 431),
    ] {
        rejected(&service, request.as_bytes(), status).await;
    }
    // After an answer on the same connection.
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let first = raw::exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(first.starts_with("HTTP/1.1 200 "));
    let second = raw::exchange(&mut stream, b"nonsense\r\n\r\n").await;
    assert!(second.starts_with("HTTP/1.1 400 ") && second.contains("\"errno\":1000"), "{second}");
    service.send(&to, &[], b"it still serves").await;
}

#[tokio::test]
async fn half_a_head_is_408_in_the_end_and_silence_is_only_closed() {
    let service = TestService::start().await;
    let (half, silent) = tokio::join!(rejected(&service, b"GET / HTTP/1.1\r\nHo", 408), async {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        raw::until_closed(&mut stream).await
    });
    assert_eq!((half["errno"].as_u64(), silent), (Some(1007), Vec::new()));
}

#[tokio::test]
async fn a_long_body_is_413_before_it_is_sent_ps_8030_7_2_4() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    for (path, max) in [(path(&to.push), 4096), ("/subscribe".to_owned(), 4096)] {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let length = max + 1;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: {length}\r\n\r\n");
        let soon = tokio::time::timeout(Duration::from_secs(5), raw::exchange(&mut stream, head.as_bytes()));
        let answer = soon.await.expect("the answer does not wait for the body");
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"errno\":104"), "{answer}");
        within(stream.write_all(&vec![7; length])).await.unwrap();
        let next = raw::exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(next.starts_with("HTTP/1.1 200 "), "the connection goes on: {next}");
    }
}
