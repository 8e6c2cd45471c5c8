//! What senders of other projects depend on: the spelling of `aud`, bodies that a browser cannot open, and the behaviour
//! of Mozilla's service.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::time::Duration;

use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::{Compat, Settings};
use http::StatusCode;
use serde_json::{Value, json};

use support::chromium::{Device, wrapped};
use support::log::Log;
use support::socket::Socket;
use support::{Answer, START, Subscription, TestService, header};

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
/// The public key of draft-ietf-webpush-encryption-04 s5.
const DH: &str = "dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
const SALT: &str = "salt=lngarbyKfMoi9Z75xYXmkg";

fn at(push: &str) -> Subscription {
    Subscription { subscription: String::new(), push: push.to_owned(), set: String::new() }
}

/// The Authorization of a sender that signs for `aud`.
fn signed(key: &SigningKey, aud: &str) -> String {
    let token = key.sign(aud, START.plus(Duration::from_secs(3600)), None).unwrap();
    Credentials { token: &token, key: *key.public_key() }.to_value().unwrap().to_str().unwrap().to_owned()
}

fn problem(answer: &Answer) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

#[tokio::test]
async fn each_key_that_leaves_the_port_out_of_its_audience_is_logged_once_ps_8292_2_4() {
    Log::collect();
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let (one, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    for key in [&one, &other, &one] {
        let authorization = signed(key, "http://127.0.0.1");
        service.send(&to, &[("authorization", &authorization)], b"x").await;
    }
    assert_eq!(Log::count("WARN", "without the port"), 2, "no key hides another one");
}

#[tokio::test]
async fn an_internationalised_service_takes_both_spellings_of_its_origin_ps_8292_2_4() {
    for public_url in ["https://münchen.example", "https://xn--mnchen-3ya.example"] {
        let settings =
            Settings { trust_proxy: Some(true), public_url: Some(public_url.to_owned()), ..Settings::default() };
        let service = TestService::with(settings).await;
        let to = service.subscribe().await;
        let path = to.push.strip_prefix("https://xn--mnchen-3ya.example").expect("URLs are ASCII");
        let to = at(&format!("http://{}{path}", service.address));
        let key = SigningKey::generate().unwrap();
        for (aud, status) in [
            ("https://xn--mnchen-3ya.example", StatusCode::CREATED),
            ("https://münchen.example", StatusCode::CREATED),
            ("https://munchen.example", StatusCode::FORBIDDEN),
        ] {
            let answer = service.post(&to, &[("authorization", &signed(&key, aud))], b"x").await;
            assert_eq!(answer.status(), status, "{public_url} {aud}");
        }
    }
}

/// Headers, a body, and a word of the reason for which no browser gets it.
type Unopenable = (Vec<(&'static str, &'static str)>, Vec<u8>, &'static str);

fn unopenable() -> Vec<Unopenable> {
    let short = wrapped(b"")[..86].to_vec();
    let aesgcm = ("content-encoding", "aesgcm");
    vec![
        (vec![], b"x".to_vec(), "no Content-Encoding"),
        (vec![("content-encoding", "gzip")], wrapped(b"x"), "neither"),
        (vec![("content-encoding", "aes128gcm")], b"x".to_vec(), "too short"),
        (vec![("content-encoding", "aes128gcm")], short, "too short"),
        (vec![aesgcm, ("crypto-key", DH)], vec![7; 18], "salt"),
        (vec![aesgcm, ("encryption", SALT), ("crypto-key", "p256ecdsa=BA1H")], vec![7; 18], "dh"),
    ]
}

#[tokio::test]
async fn what_a_browser_can_never_open_is_refused_and_other_agents_take_it() {
    let service = TestService::start().await;
    let (mut firefox, _) = Socket::hello_like_firefox(service.address, None).await;
    let firefox_push = at(&firefox.register(CHANNEL).await);
    let chromium_push = Device::new(&service).await.subscribe(&service).await;
    let (mut kde, _) = Socket::hello(service.address, None).await;
    let kde_push = at(&kde.register(CHANNEL).await);
    let rfc_push = service.subscribe().await;
    // A test program that sends Firefox's hello, without its subprotocol.
    let program = Socket::open(service.address).await;
    let (mut program, _) = program.greet(json!({"messageType": "hello", "broadcasts": {}}), None).await;
    let program_push = at(&program.register(CHANNEL).await);
    for (headers, body, word) in unopenable() {
        for browser in [&firefox_push, &chromium_push] {
            let answer = service.post_as_it_is(browser, &headers, &body).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{headers:?}");
            let problem = problem(&answer);
            assert_eq!(problem["errno"], 110, "{problem}");
            assert!(problem["message"].as_str().unwrap().contains(word), "{problem}");
            assert!(problem["hint"].as_str().unwrap().contains("RFC 8291"), "{problem}");
        }
        for other in [&kde_push, &rfc_push, &program_push] {
            service.send(other, &headers, &body).await;
        }
    }
    firefox.is_answered().await;
    for browser in [&firefox_push, &chromium_push] {
        for headers in [&[][..], &[("content-encoding", "gzip")]] {
            assert_eq!(service.post_as_it_is(browser, headers, b"").await.status(), StatusCode::CREATED);
        }
        let headers = [("content-encoding", "aes128gcm")];
        assert_eq!(service.post_as_it_is(browser, &headers, &wrapped(b"x")).await.status(), StatusCode::CREATED);
        let headers = [("content-encoding", "aesgcm"), ("encryption", SALT), ("crypto-key", DH)];
        assert_eq!(service.post_as_it_is(browser, &headers, &[7; 18]).await.status(), StatusCode::CREATED);
    }
}

/// The mark of a browser is a part of the URL.
#[tokio::test]
async fn a_channel_that_firefox_registers_again_has_the_same_url_fx_3() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello_like_firefox(service.address, None).await;
    let push = socket.register(CHANNEL).await;
    assert_eq!(socket.register(CHANNEL).await, push);
    let (mut again, same) = Socket::hello_like_firefox(service.address, Some(&uaid)).await;
    assert_eq!((again.register(CHANNEL).await, same), (push, uaid));
}

#[tokio::test]
async fn like_mozillas_service_it_answers_410_401_and_takes_its_bodies() {
    let settings = || Settings { compat: Some(Compat::Mozilla), ..Settings::default() };
    let service = TestService::with(settings()).await;
    let to = service.subscribe().await;
    let wrong = signed(&SigningKey::generate().unwrap(), "https://elsewhere.example");
    let refused = service.post(&to, &[("authorization", &wrong)], b"x").await;
    assert_eq!((refused.status(), header(&refused, "www-authenticate")), (StatusCode::UNAUTHORIZED, "vapid"));
    assert_eq!(problem(&refused)["errno"], 109);
    service.send(&to, &[], &[7; 5630]).await;
    assert_eq!(service.post(&to, &[], &[7; 5631]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    service.delete(&to.subscription).await;
    let gone = service.post(&to, &[], b"x").await;
    assert_eq!((gone.status(), header(&gone, "cache-control")), (StatusCode::GONE, "max-age=86400"));
    assert_eq!(problem(&gone)["errno"], 106);

    let own = Settings { gone_status: Some(404), vapid_status: Some(403), body_max: Some(4096), ..settings() };
    let service = TestService::with(own).await;
    let to = service.subscribe().await;
    let refused = service.post(&to, &[("authorization", &wrong)], b"x").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!refused.headers().contains_key("www-authenticate"));
    assert_eq!(service.post(&to, &[], &[7; 4097]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    service.delete(&to.subscription).await;
    let gone = service.post(&to, &[], b"x").await;
    assert_eq!((gone.status(), gone.headers().get("cache-control")), (StatusCode::NOT_FOUND, None));
}

#[tokio::test]
async fn like_mozillas_service_it_reports_broadcasts_that_are_not_there_fx_9() {
    let broadcasts = Some(vec!["a=2".to_owned()]);
    let settings = Settings { compat: Some(Compat::Mozilla), firefox_broadcasts: broadcasts, ..Settings::default() };
    let service = TestService::with(settings).await;
    let mut socket = Socket::open(service.address).await;
    let hello = socket.ask(json!({"messageType": "hello", "broadcasts": {"a": "1", "x/unknown": "v0"}})).await;
    let errors = |id: &str| json!({ id: "Broadcast not found" });
    assert_eq!(hello["broadcasts"], json!({"a": "2", "errors": errors("x/unknown")}));
    let more = socket.ask(json!({"messageType": "broadcast_subscribe", "broadcasts": {"a": "2", "y": "1"}})).await;
    assert_eq!(more, json!({"messageType": "broadcast", "broadcasts": {"errors": errors("y")}}));
}
