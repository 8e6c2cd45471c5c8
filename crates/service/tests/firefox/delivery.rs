//! Messages: each arrives in order, until it is acknowledged, and none delays another.

use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use doorbell_service::config::Settings;
use http::StatusCode;
use serde_json::json;

use crate::support::events::EventStream;
use crate::support::raw::websocket::RawSocket;
use crate::support::socket::Socket;
use crate::support::{Subscription, TestService, header, within};
use crate::{CHANNEL, OTHER_CHANNEL, at, take};

/// No limit on how many messages are sent.
fn unlimited() -> Settings {
    Settings { rate_per_subscription: Some(0), rate_per_key: Some(0), ..Settings::default() }
}

/// Stores messages with these numbers as texts, in this order.
async fn store(service: &TestService, to: &Subscription, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        service.send(to, &[("ttl", "600")], n.to_string().as_bytes()).await;
    }
}

fn texts(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_message_comes_to_its_channel_and_once_acknowledged_not_again_fx_5_and_6() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    let other = at(&socket.register(OTHER_CHANNEL).await);
    service.send(&push, &[("content-encoding", "aes128gcm")], b"ding").await;
    let message = socket.notified().await;
    assert_eq!((message.channel.as_str(), message.text.as_str()), (CHANNEL, "ding"));
    socket.ack(&message, 100).await;
    socket.is_answered().await;
    socket.cut();
    service.send(&other, &[], b"dong").await;
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    let message = again.notified().await;
    assert_eq!((message.channel.as_str(), message.text.as_str()), (OTHER_CHANNEL, "dong"));
}

#[tokio::test]
async fn a_body_comes_with_its_coding_and_an_empty_one_without_fx_5() {
    let service = TestService::start().await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    service.send(&push, &[("content-encoding", "aes128gcm"), ("topic", "t"), ("urgency", "high")], b"\xff\x00").await;
    let mut message = socket.next().await;
    message.as_object_mut().unwrap().remove("version").unwrap();
    let expected = json!({
        "messageType": "notification", "channelID": CHANNEL, "data": "_wA", "headers": {"encoding": "aes128gcm"}
    });
    assert_eq!(message, expected, "PS-8030-5.3-4, PS-8030-5.4-6: nothing of urgency and topic");

    let older = [
        ("content-encoding", "aesgcm"),
        ("encryption", "salt=\"lngarbyKfMoi9Z75xYXmkg==\""),
        ("crypto-key", "dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7;p256ecdsa=BA1H"),
    ];
    service.send(&push, &older, b"x").await;
    let headers = json!({
        "encoding": "aesgcm", "encryption": "salt=lngarbyKfMoi9Z75xYXmkg",
        "crypto_key": "dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7"
    });
    assert_eq!(socket.next().await["headers"], headers);

    service.send(&push, &[], b"").await;
    let empty = socket.next().await;
    assert!(empty.get("data").is_none() && empty.get("headers").is_none(), "{empty}");
}

#[tokio::test]
async fn half_of_a_thousand_acknowledged_leaves_the_other_half_in_order_fx_6_ps_8030_6_2_6() {
    let service = TestService::with(unlimited()).await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    socket.cut();
    store(&service, &push, 0..1000).await;

    let (mut socket, _) = Socket::hello(service.address, Some(&uaid)).await;
    for n in 0..1000 {
        let message = socket.notified().await;
        assert_eq!(message.text, n.to_string());
        if n % 2 == 0 {
            socket.ack(&message, 100).await;
        }
    }
    socket.is_answered().await;
    socket.cut();

    let (mut again, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!(take(&mut again, 500).await, texts((1..1000).step_by(2)));
    again.is_answered().await;
}

#[tokio::test]
async fn ten_thousand_messages_come_in_order_and_the_uaid_stays_fx_2() {
    let service = TestService::with(unlimited()).await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let mut pushes = Vec::new();
    for n in 0..10 {
        pushes.push(at(&socket.register(&format!("channel-{n}")).await));
    }
    socket.cut();
    let senders = pushes.iter().enumerate().map(|(n, push)| store(&service, push, (0..1000).map(move |m| n + 10 * m)));
    within(futures_util::future::join_all(senders)).await;

    let (mut socket, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    let mut next = [0; 10];
    for text in take(&mut socket, 10_000).await {
        let n: usize = text.parse().unwrap();
        assert_eq!(n / 10, next[n % 10], "each channel in its order");
        next[n % 10] += 1;
    }
    socket.is_answered().await;
}

/// KDE's client acknowledges nothing. PS-8030-6.2-3
#[tokio::test]
async fn a_client_that_never_acknowledges_gets_everything_once_on_a_connection_and_again_on_the_next() {
    let service = TestService::with(unlimited()).await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    store(&service, &push, 0..300).await;
    for n in 0..300 {
        assert_eq!(socket.notified().await.text, n.to_string());
    }
    socket.is_answered().await;
    service.send(&push, &[], b"next").await;
    assert_eq!(socket.notified().await.text, "next", "nothing waits behind it");
    socket.cut();
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    for n in 0..300 {
        assert_eq!(again.notified().await.text, n.to_string());
    }
    assert_eq!(again.notified().await.text, "next");
}

#[tokio::test]
async fn a_client_that_does_not_show_that_it_reads_is_sent_one_window_only() {
    let service = TestService::with(unlimited()).await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    socket.cut();
    store(&service, &push, 0..150).await;
    let mut stalled = RawSocket::open(service.address).await;
    stalled.send(&json!({"messageType": "hello", "uaid": uaid}).to_string()).await;
    assert!(stalled.text().await.contains("hello"));
    for _ in 0..100 {
        assert!(stalled.text().await.contains("notification"));
    }
    stalled.send("{}").await;
    assert_eq!(stalled.text().await, "{}", "the window is full");
    assert_eq!(stalled.pings.len(), 1);
    let ping = stalled.pings[0].clone();
    stalled.pong(&ping).await;
    for _ in 0..50 {
        assert!(stalled.text().await.contains("notification"), "the pong makes room");
    }
}

#[tokio::test]
async fn each_acknowledgement_has_its_receipt_fx_6_ps_8030_6_3_2_and_6_3_3() {
    let service = TestService::start().await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    let mut receipts: Option<String> = None;
    for code in [100, 101] {
        let link = receipts.as_ref().map(|uri| format!("<{uri}>; rel=\"urn:ietf:params:push:receipt\""));
        let named: Vec<_> = link.iter().map(|link| ("link", link.as_str())).collect();
        let answer = service.post(&push, &[&named[..], &[("prefer", "respond-async")]].concat(), b"x").await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let link = header(&answer, "link");
        receipts = Some(link[1..link.find('>').unwrap()].to_owned());
        let message = socket.notified().await;
        socket.send(json!({"messageType": "nack", "version": message.version, "code": 302})).await;
        socket.ack(&message, code).await;
        socket.ack(&message, 100).await;
    }
    let mut events = EventStream::open(service.address, &receipts.unwrap(), &[]).await;
    for (status, outcome) in [(204, Outcome::Delivered), (410, Outcome::Undecryptable)] {
        let event = events.next().await.unwrap();
        assert_eq!(event.data["status"], status, "{event:?}");
        assert_eq!(event.data["outcome"], outcome.as_str());
    }
}

#[tokio::test]
async fn a_message_with_ttl_0_comes_at_once_or_never_and_one_that_expired_never_ps_8030_5_2_7_and_5_2_9() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    service.send(&push, &[("ttl", "0")], b"now").await;
    assert_eq!(socket.notified().await.text, "now");
    socket.cut();
    service.send(&push, &[("ttl", "0")], b"too late").await;
    service.send(&push, &[("ttl", "5")], b"expires").await;
    service.send(&push, &[("ttl", "6")], b"stays").await;
    service.clock.advance(Duration::from_secs(5));
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(again.notified().await.text, "stays");
    again.is_answered().await;
}

#[tokio::test]
async fn a_topic_replaces_what_waits_ps_8030_5_4_2() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    socket.cut();
    for score in ["1:0", "2:0", "2:1"] {
        service.send(&push, &[("topic", "score")], score.as_bytes()).await;
    }
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(again.notified().await.text, "2:1");
    again.is_answered().await;
}

/// A Firefox is an agent with a mailbox like any other: its uaid is the token of its subscription set.
#[tokio::test]
async fn one_agent_receives_at_whichever_door_it_comes_to() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    socket.cut();
    service.send(&push, &[], b"ding").await;
    let set = format!("{}/a/{uaid}", service.origin());
    let (pushes, status) = service.agent().await.fetch(&set).await;
    assert_eq!((pushes.len(), status), (1, StatusCode::OK));
    assert_eq!(&pushes[0].body[..], b"ding");
    assert_eq!(service.delete(&pushes[0].uri).await, StatusCode::NO_CONTENT);
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    again.is_answered().await;
}

#[tokio::test]
async fn a_subscription_that_was_made_at_another_door_is_received_there() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    socket.register(CHANNEL).await;
    let mut there = at("");
    there.set = format!("{}/a/{uaid}", service.origin());
    let joined = service.join(&there).await;
    let message = service.send(&joined, &[], b"has no channelID").await;
    socket.is_answered().await;
    socket.cut();
    let (pushes, _) = service.agent().await.fetch(&joined.subscription).await;
    assert_eq!(pushes.iter().map(|push| &push.uri).collect::<Vec<_>>(), [&message]);
}
