//! Accepting messages: RFC 8030 s4, s5, s7 and RFC 8292 at the application server's door.

mod support;

use bytes::Bytes;
use doorbell_service::config::Settings;
use http::{Request, StatusCode};
use support::{TestService, header, raw, text};

#[tokio::test]
async fn subscribing_gives_a_subscription_a_push_and_a_set_uri_ps_8030_4_1_to_4_3_and_4_1_1() {
    let service = TestService::start().await;
    let (one, two) = (service.subscribe().await, service.subscribe().await);
    let uris = [&one.subscription, &one.push, &one.set, &two.subscription, &two.push, &two.set];
    for (n, uri) in uris.iter().enumerate() {
        assert!(uri.starts_with(&service.origin()) && uri.len() <= 1000, "{uri}");
        assert!(!uris[..n].contains(uri), "PS-8030-2-1: {uri} was given twice");
    }
}

#[tokio::test]
async fn naming_a_set_joins_it_and_naming_none_that_exists_is_400_ps_8030_4_1_2_and_4_1_3() {
    let service = TestService::start().await;
    let one = service.subscribe().await;
    assert_eq!(service.join(&one).await.set, one.set);

    let elsewhere = one.set.replace("127.0.0.1", "push.example.org");
    let gone = service.subscribe().await;
    assert_eq!(service.delete(&gone.set).await, StatusCode::NO_CONTENT);
    for set in [&elsewhere, &one.push, &gone.set, "nonsense"] {
        let link = format!("<{set}>; rel=\"urn:ietf:params:push:set\"");
        let request = Request::post(service.origin() + "/subscribe").header("link", link);
        let answer = service.ask(request.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{set}");
        assert!(answer.headers().get("location").is_none());
    }
}

#[tokio::test]
async fn an_accepted_message_is_201_with_its_uri_and_the_granted_ttl_ps_8030_5_1_and_5_2_5() {
    let service = TestService::with(Settings { ttl_max_secs: Some(100), ..Settings::default() }).await;
    let to = service.subscribe().await;
    for (asked, granted) in [("5", "5"), ("100", "100"), ("101", "100"), ("99999999999999999999", "100"), ("0", "0")] {
        let answer = service.post(&to, &[("ttl", asked)], b"x").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!(header(&answer, "ttl"), granted, "PS-8030-5.2-6");
        assert!(header(&answer, "location").starts_with(&service.origin()));
        assert!(answer.headers().get("link").is_none(), "PS-8030-5.1-8");
    }
}

#[tokio::test]
async fn bodies_of_every_kind_up_to_4096_bytes_are_returned_unchanged_ps_8030_5_3_and_7_2_5() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let all_bytes: Vec<u8> = (0..4096u32).map(|n| (n % 251) as u8).collect();
    for body in [&b""[..], b"\0\0\0", b"\xff\xfe not UTF-8", &all_bytes] {
        let message = service.send(&to, &[("content-encoding", "aes128gcm"), ("content-type", "a/b")], body).await;
        let answer = service.get(&message).await;
        assert_eq!(answer.body(), body);
        assert_eq!(header(&answer, "content-encoding"), "aes128gcm");
        assert_eq!(header(&answer, "content-type"), "a/b", "DX-3");
        assert_eq!(header(&answer, "cache-control"), "private", "PS-8030-5-6");
        assert_eq!(header(&answer, "last-modified"), "Mon, 21 Sep 2026 14:13:20 GMT", "PS-8030-7.2-1");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_413_and_the_connection_goes_on_ps_8030_7_2_4() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    for length in [4097, 1 << 20] {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: {length}\r\n\r\n",
            support::path(&to.push)
        );
        let answer = raw::exchange(&mut stream, &[head.as_bytes(), &vec![7; length]].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"errno\":104"), "{answer}");
    }
    let chunked = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        support::path(&to.push)
    );
    let answer = raw::exchange(&mut stream, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "PS-8030-5-5: {answer}");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_answered_before_it_sends_ps_8030_5_5() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let head = |length| {
        let path = support::path(&to.push);
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    let refused = raw::once(service.address, head(4097)).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");

    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    let interim = raw::exchange(&mut stream, head(2).as_bytes()).await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    let answer = raw::exchange(&mut stream, b"hi").await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn every_malformed_header_is_400_with_a_json_body_ps_8030_5_2_and_5_3_and_5_4() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let long = "k".repeat(2000);
    let bad: &[(&str, u16)] = &[
        ("", 111),
        ("TTL: -1\r\n", 114),
        ("TTL: +5\r\n", 114),
        ("TTL: 1.5\r\n", 114),
        ("TTL: 10s\r\n", 114),
        ("TTL: \r\n", 114),
        ("TTL: 5\r\nTTL: 5\r\n", 114),
        ("TTL: 5, 6\r\n", 114),
        ("TTL: 5\r\nUrgency: low, high\r\n", 1002),
        ("TTL: 5\r\nUrgency: low\r\nUrgency: low\r\n", 1002),
        ("TTL: 5\r\nUrgency: urgent\r\n", 1002),
        ("TTL: 5\r\nTopic: 123456789012345678901234567890123\r\n", 113),
        ("TTL: 5\r\nTopic: a.b\r\n", 113),
        ("TTL: 5\r\nTopic: a=\r\n", 113),
        ("TTL: 5\r\nTopic: \r\n", 113),
        ("TTL: 5\r\nTopic: \u{e9}\r\n", 113),
        ("TTL: 5\r\nTopic: a\r\nTopic: b\r\n", 113),
        ("TTL: 5\r\nEncryption: a\r\nEncryption: b\r\n", 110),
        (&format!("TTL: 5\r\nCrypto-Key: {long}\r\n"), 110),
    ];
    for (headers, errno) in bad {
        let path = support::path(&to.push);
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n{headers}\r\nx");
        let answer = raw::once(service.address, request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers:?}: {answer}");
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["errno"], *errno, "{headers:?}: {answer}");
        assert!(body["code"] == 400 && body["message"].is_string() && body["hint"].is_string(), "{body}");
    }
    service.send(&to, &[("topic", "________________________________"), ("TTL", "2147483647")], b"x").await;
}

#[tokio::test]
async fn no_uri_opens_with_another_kinds_method_or_another_services_token_ps_8030_2_2() {
    let service = TestService::start().await;
    let other = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"secret").await;
    let status = async |method: &str, uri: &str| {
        service.ask(Request::builder().method(method).uri(uri).body(Bytes::new()).unwrap()).await
    };
    for (method, uri) in [
        ("GET", &to.push),
        ("DELETE", &to.push),
        ("PUT", &to.push),
        ("POST", &message),
        ("POST", &to.subscription),
        ("POST", &to.set),
        ("GET", &(service.origin() + "/subscribe")),
    ] {
        let answer = status(method, uri).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
        assert!(!text(&answer).contains("secret"));
        header(&answer, "allow");
    }
    let foreign = other.subscribe().await.push.replace(&other.origin(), &service.origin());
    let as_message = to.push.replace("/p/", "/m/");
    let truncated = &to.push[..to.push.len() - 1];
    for uri in [&foreign[..], truncated, &(service.origin() + "/p/"), &(service.origin() + "/x/y")] {
        assert_eq!(status("POST", uri).await.status(), StatusCode::NOT_FOUND, "{uri}");
    }
    for uri in [&as_message, &(service.origin() + "/m/"), &(service.origin() + "/x/y")] {
        assert_eq!(status("GET", uri).await.status(), StatusCode::NOT_FOUND, "{uri}");
    }
}

#[tokio::test]
async fn a_removed_subscription_is_404_or_what_the_operator_chose_ps_8030_7_3_3() {
    for (gone_status, expected) in [(None, 404), (Some(410), 410)] {
        let service = TestService::with(Settings { gone_status, ..Settings::default() }).await;
        let to = service.subscribe().await;
        let other = service.join(&to).await;
        assert_eq!(service.delete(&to.subscription).await, StatusCode::NO_CONTENT, "PS-8030-7.3-4");
        for ttl in ["60", "0"] {
            assert_eq!(service.post(&to, &[("ttl", ttl)], b"x").await.status(), expected);
        }
        assert_eq!(service.delete(&to.subscription).await, StatusCode::NOT_FOUND);
        service.send(&other, &[], b"PS-8030-7.3.1-4: the set goes on").await;
        assert_eq!(service.delete(&other.set).await, StatusCode::NO_CONTENT, "PS-8030-7.3.1-3");
        assert_eq!(service.post(&other, &[], b"x").await.status(), expected, "PS-8030-7.3.1-1");
    }
}

#[tokio::test]
async fn an_agent_with_a_full_mailbox_is_429_until_something_is_settled_ps_8030_8_4_3() {
    let limits = Settings { messages_per_agent_max: Some(4), ..Settings::default() };
    let service = TestService::with(limits).await;
    let to = service.subscribe().await;
    let first = service.send(&to, &[], b"1").await;
    service.send(&to, &[], b"2").await;
    let refused = service.post(&to, &[], b"3").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&refused, "retry-after").parse::<u32>().unwrap() > 0);
    assert!(text(&refused).contains("\"errno\":1005"));
    assert_eq!(service.delete(&first).await, StatusCode::NO_CONTENT);
    service.send(&to, &[], b"3").await;
}

#[tokio::test]
async fn a_set_has_a_bound_on_its_subscriptions() {
    let limits = Settings { subscriptions_per_agent_max: Some(2), ..Settings::default() };
    let service = TestService::with(limits).await;
    let one = service.subscribe().await;
    service.join(&one).await;
    let link = format!("<{}>; rel=\"urn:ietf:params:push:set\"", one.set);
    let request = Request::post(service.origin() + "/subscribe").header("link", link);
    let answer = service.ask(request.body(Bytes::new()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
}
