//! What no client should send.

use bytes::Bytes;
use doorbell_protocol::base64url;
use http::{Request, StatusCode};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::CHANNEL;
use crate::support::raw::websocket::RawSocket;
use crate::support::socket::Socket;
use crate::support::{Answer, TestService, header, text};

/// The code with which the service closes after these frames, which follow a hello.
async fn close_code_after(service: &TestService, frames: impl IntoIterator<Item = Message>) -> u16 {
    let (mut socket, _) = Socket::hello(service.address, None).await;
    for frame in frames {
        socket.frame(frame).await;
    }
    socket.closed().await
}

#[tokio::test]
async fn what_cannot_be_understood_ends_the_connection_with_the_code_for_it() {
    let service = TestService::start().await;
    let hello = || Message::text(r#"{"messageType":"hello"}"#);
    for (frame, code) in [
        (Message::text("not JSON"), 1007),
        (Message::text("[]"), 1007),
        (Message::text(r#"{"messageType":"register"}"#), 1007),
        (Message::text(r#"{"messageType":"ack","updates":[{"version":5}]}"#), 1007),
        (Message::text(format!(r#"{{"messageType":"register","channelID":"{}"}}"#, "c".repeat(257))), 1007),
        (Message::binary(&b"{}"[..]), 1003),
        (Message::text(" ".repeat((64 << 10) + 1)), 1009),
        (hello(), 1008),
    ] {
        let what = format!("{frame:.60?}");
        assert_eq!(close_code_after(&service, [frame]).await, code, "{what}");
    }
}

#[tokio::test]
async fn before_its_hello_a_client_can_send_nothing_else_fx_1() {
    let service = TestService::start().await;
    for early in [json!({}), json!({"messageType": "register", "channelID": CHANNEL})] {
        let mut socket = Socket::open(service.address).await;
        socket.send(early).await;
        assert_eq!(socket.closed().await, 1008);
    }
}

#[tokio::test]
async fn a_client_that_sends_pings_and_reads_no_answers_is_not_answered_without_end() {
    let service = TestService::start().await;
    let mut stalled = RawSocket::open(service.address).await;
    stalled.send(r#"{"messageType":"hello"}"#).await;
    assert!(stalled.text().await.contains("hello"));
    stalled.sends_pings_until_nothing_is_taken().await;
}

#[tokio::test]
async fn a_client_that_acknowledges_unknown_messages_does_not_delay_others() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let update = |n: u64| json!({"version": base64url::encode(&n.to_be_bytes())});
    let flood = json!({"messageType": "ack", "updates": (0..1500).map(update).collect::<Vec<_>>()});
    let mut floods = Vec::new();
    for _ in 0..10 {
        let (mut socket, _) = Socket::hello(service.address, None).await;
        socket.register(CHANNEL).await;
        socket.send(flood.clone()).await;
        floods.push(socket);
    }
    assert_eq!(service.delete(&message).await, StatusCode::NO_CONTENT);
    for mut socket in floods {
        socket.is_answered().await;
    }
}

#[tokio::test]
async fn a_message_in_fragments_is_a_message_and_a_broken_sequence_is_not() {
    let service = TestService::start().await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let piece = |text: &'static str, code, last| Message::Frame(Frame::message(text, OpCode::Data(code), last));
    socket.frame(piece("{", Data::Text, false)).await;
    socket.frame(piece("}", Data::Continue, true)).await;
    assert_eq!(socket.next().await, json!({}));
    assert_eq!(close_code_after(&service, [piece("}", Data::Continue, true)]).await, 1002);
}

#[tokio::test]
async fn an_acknowledgement_of_what_is_not_its_own_changes_nothing_ps_8030_2_2() {
    let service = TestService::start().await;
    let (mut alice, uaid) = Socket::hello(service.address, None).await;
    let push = crate::at(&alice.register(CHANNEL).await);
    let (mut mallory, _) = Socket::hello(service.address, None).await;
    mallory.register(CHANNEL).await;
    service.send(&push, &[], b"for Alice").await;
    let message = alice.notified().await;
    alice.cut();
    mallory.ack(&message, 100).await;
    for version in ["", "AAAAAAAAAAA", "gAAAAABo", &"A".repeat(1000)] {
        let update = json!({"channelID": CHANNEL, "version": version});
        mallory.send(json!({"messageType": "ack", "updates": [update]})).await;
    }
    mallory.unregister(CHANNEL).await;
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(again.notified().await, message);
}

async fn handshake(service: &TestService, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(service.origin() + "/").header("upgrade", "WebSocket");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.ask(request.body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_handshake_that_is_not_valid_is_answered_as_http_with_what_is_missing() {
    let service = TestService::start().await;
    let (upgrade, key) = (("connection", "upgrade"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
    for (headers, status) in [
        (&[upgrade, key, ("sec-websocket-version", "8")][..], StatusCode::UPGRADE_REQUIRED),
        (&[upgrade, key], StatusCode::BAD_REQUEST),
        (&[key, ("sec-websocket-version", "13")], StatusCode::BAD_REQUEST),
        (&[upgrade, ("sec-websocket-version", "13")], StatusCode::BAD_REQUEST),
        (&[upgrade, ("sec-websocket-version", "13"), ("sec-websocket-key", "short")], StatusCode::BAD_REQUEST),
    ] {
        let answer = handshake(&service, headers).await;
        assert_eq!(answer.status(), status, "{headers:?}");
        assert!(text(&answer).contains("\"hint\":\"Send Connection: Upgrade"), "{}", text(&answer));
        if status == StatusCode::UPGRADE_REQUIRED {
            assert_eq!(header(&answer, "sec-websocket-version"), "13");
        }
    }
}
