//! Requests and answers in both dialects: Firefox's and KDE's.

use std::time::Duration;

use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::{Config, Settings};
use http::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::chromium::wrapped;
use crate::support::socket::Socket;
use crate::support::{START, TestService, text};
use crate::{CHANNEL, OTHER_CHANNEL, at, is_below};

#[tokio::test]
async fn firefox_sends_hello_and_registers_in_its_own_format_fx_1_and_3() {
    let service = TestService::start().await;
    let (mut socket, subprotocol) = Socket::open_like_firefox(service.address).await;
    assert_eq!(subprotocol.unwrap(), "push-notification");
    let broadcasts = json!({"remote-settings/monitor_changes": "\"0\""});
    socket.send(json!({"messageType": "hello", "broadcasts": broadcasts, "use_webpush": true})).await;
    let answer = socket.text().await;
    let uaid = serde_json::from_str::<Value>(&answer).unwrap()["uaid"].as_str().unwrap().to_owned();
    assert!((1..=128).contains(&uaid.len()), "longer ones make Firefox give up");
    let expected =
        format!(r#"{{"messageType":"hello","uaid":"{uaid}","status":200,"use_webpush":true,"broadcasts":{{}}}}"#);
    assert_eq!(answer, expected);

    let key = SigningKey::generate().unwrap();
    let padded = format!("{}=", key.public_key().to_base64url());
    let answer = socket.ask(json!({"channelID": CHANNEL, "messageType": "register", "key": padded})).await;
    assert_eq!((&answer["status"], &answer["channelID"]), (&200.into(), &CHANNEL.into()));
    let push = answer["pushEndpoint"].as_str().unwrap();
    assert!(is_below(push, "/p"), "{push}");
    assert_eq!(service.post(&at(push), &[], b"x").await.status(), StatusCode::UNAUTHORIZED, "it is restricted");
    let token = key.sign(&service.origin(), START.plus(Duration::from_secs(3600)), None).unwrap();
    let signed = format!("vapid t={token}, k={}", key.public_key().to_base64url());
    let body = wrapped(b"signed");
    service.send(&at(push), &[("authorization", &*signed), ("content-encoding", "aes128gcm")], &body).await;
    assert_eq!(socket.notified().await.text.as_bytes(), body);
}

#[tokio::test]
async fn kde_leaves_out_what_it_can_and_is_served_fx_1_and_3_and_4_and_6() {
    let service = TestService::start().await;
    let mut socket = Socket::open(service.address).await;
    let hello = socket.ask(json!({"messageType": "hello"})).await;
    assert_eq!(hello["use_webpush"], true);
    let push = socket.register(CHANNEL).await;
    service.send(&at(&push), &[], b"ding").await;
    let message = socket.notified().await;
    let update = json!({"channelID": CHANNEL, "version": message.version});
    socket.send(json!({"messageType": "ack", "updates": [update]})).await;
    let answer = socket.ask(json!({"messageType": "unregister", "channelID": CHANNEL})).await;
    assert_eq!(answer, json!({"messageType": "unregister", "channelID": CHANNEL, "status": 200}));
    assert_eq!(service.post(&at(&push), &[], b"x").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_uaid_that_is_not_known_is_answered_with_a_new_one_and_a_known_one_with_itself_fx_2() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello_like_firefox(service.address, None).await;
    let stranger = "A".repeat(91);
    for odd in ["c53525ec1ffa4bcb94a96cf13ddd4cd6", "../p/x", "\u{1f514}", &stranger, &"u".repeat(60_000)] {
        let (_, other) = Socket::hello(service.address, Some(odd)).await;
        assert_ne!(other, odd);
    }
    let (_, other) = Socket::hello_like_firefox(service.address, Some(&uaid)).await;
    assert_ne!(other, uaid, "it is ours, but has no subscription yet");
    socket.register(CHANNEL).await;
    let (_again, same) = Socket::hello_like_firefox(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
}

/// KDE's client never registers again by itself. Firefox does, when it gets another uaid.
#[tokio::test]
async fn a_uaid_of_ours_that_the_store_has_lost_is_kept_for_all_but_firefox_fx_2() {
    let service = TestService::start().await;
    let lost = |uaid: String| {
        let (set, service) = (format!("{}/a/{uaid}", service.origin()), &service);
        async move { assert_eq!(service.delete(&set).await, StatusCode::NO_CONTENT) }
    };
    let (mut kde, uaid) = Socket::hello(service.address, None).await;
    let old = at(&kde.register(CHANNEL).await);
    kde.cut();
    lost(uaid.clone()).await;
    let (mut kde, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!(service.post(&old, &[], b"x").await.status(), StatusCode::NOT_FOUND, "its subscription is gone");
    let new = at(&kde.register(CHANNEL).await);
    service.send(&new, &[], b"again").await;
    assert_eq!(kde.notified().await.text, "again");
    let (_kde, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);

    let (mut firefox, uaid) = Socket::hello_like_firefox(service.address, None).await;
    firefox.register(CHANNEL).await;
    firefox.cut();
    lost(uaid.clone()).await;
    let (_firefox, other) = Socket::hello_like_firefox(service.address, Some(&uaid)).await;
    assert_ne!(other, uaid, "it drops its subscriptions, and its sites subscribe again");
}

#[tokio::test]
async fn a_channel_is_one_subscription_however_often_it_is_registered_fx_3() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = socket.register(CHANNEL).await;
    assert_eq!(socket.register(CHANNEL).await, push, "the first answer may have been lost");
    assert_ne!(socket.register(OTHER_CHANNEL).await, push);
    let key = SigningKey::generate().unwrap().public_key().to_base64url();
    let other_key = socket.ask(json!({"messageType": "register", "channelID": CHANNEL, "key": key})).await;
    assert_eq!(other_key["status"], 409, "{other_key}");
    let bad_key = socket.ask(json!({"messageType": "register", "channelID": "x", "key": "not a key"})).await;
    assert_eq!((&bad_key["status"], &bad_key["channelID"]), (&400.into(), &"x".into()), "{bad_key}");
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(again.register(CHANNEL).await, push, "also on another connection");
}

#[tokio::test]
async fn a_channel_is_echoed_as_it_came_and_every_request_is_answered_fx_3_and_4() {
    let service = TestService::start().await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    for odd in ["D9B74644-4F97-46AA-B8FA-9393985CD6CD", "{d9b7}", "🔔 \"quoted\" \\", &"c".repeat(256)] {
        let push = socket.register(odd).await;
        service.send(&at(&push), &[], b"ding").await;
        assert_eq!(socket.notified().await.channel, odd);
        socket.unregister(odd).await;
        socket.unregister(odd).await;
    }
    socket.unregister(CHANNEL).await;
}

#[tokio::test]
async fn more_subscriptions_than_an_agent_may_have_are_answered_429_fx_3() {
    let two = Settings { subscriptions_per_agent_max: Some(2), ..Settings::default() };
    let service = TestService::with(two).await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    socket.register("a").await;
    socket.register("b").await;
    let third = socket.ask(json!({"messageType": "register", "channelID": "c"})).await;
    assert_eq!(third["status"], 429, "{third}");
    socket.unregister("a").await;
    socket.register("c").await;
}

#[tokio::test]
async fn pings_are_answered_in_every_form_fx_7() {
    let service = TestService::start().await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    for _ in 0..3 {
        socket.send(json!({})).await;
        assert_eq!(socket.text().await, "{}");
        assert_eq!(socket.ask(json!({"messageType": "ping"})).await, json!({}));
    }
    socket.frame(Message::Ping("payload".into())).await;
    socket.send(json!({})).await;
    assert_eq!(socket.ponged().await, "payload");
    assert_eq!(socket.text().await, "{}");
}

#[tokio::test]
async fn broadcasts_that_the_operator_set_are_sent_to_clients_with_other_versions_only_fx_9() {
    let set = vec!["remote-settings/monitor_changes=\"2\"".to_owned()];
    let service = TestService::with(Settings { firefox_broadcasts: Some(set), ..Settings::default() }).await;
    let mut socket = Socket::open(service.address).await;
    let old = json!({"remote-settings/monitor_changes": "\"1\"", "stranger": "1"});
    let hello = socket.ask(json!({"messageType": "hello", "broadcasts": old})).await;
    let news = json!({"remote-settings/monitor_changes": "\"2\""});
    assert_eq!(hello["broadcasts"], news);
    let broadcast = socket.ask(json!({"messageType": "broadcast_subscribe", "broadcasts": old})).await;
    assert_eq!(broadcast, json!({"messageType": "broadcast", "broadcasts": news}));
    for silent in [news, json!({"stranger": "1"}), json!({})] {
        socket.send(json!({"messageType": "broadcast_subscribe", "broadcasts": silent})).await;
        socket.is_answered().await;
    }
}

#[tokio::test]
async fn broadcasts_change_at_a_reload_without_a_connection_lost_fx_9() {
    let id = "remote-settings/monitor_changes";
    let settings =
        |version| Settings { firefox_broadcasts: Some(vec![format!("{id}={version}")]), ..Settings::default() };
    let service = TestService::with(settings("1")).await;
    let mut socket = Socket::open(service.address).await;
    let hello = socket.ask(json!({"messageType": "hello", "broadcasts": {id: "0"}})).await;
    assert_eq!(hello["broadcasts"], json!({id: "1"}));
    service.service.as_ref().unwrap().reload(&Config::from_settings(settings("2")).unwrap()).unwrap();
    let broadcast = socket.ask(json!({"messageType": "broadcast_subscribe", "broadcasts": {id: "1"}})).await;
    assert_eq!(broadcast, json!({"messageType": "broadcast", "broadcasts": {id: "2"}}));
}

#[tokio::test]
async fn an_urgency_holds_back_what_is_less_until_it_is_lowered_fx_11_ps_8030_5_3_5_and_5_3_6() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let answer = socket.ask(json!({"messageType": "urgency", "min": "normal"})).await;
    assert_eq!(answer, json!({"messageType": "urgency", "status": 200}), "also before there is an agent");
    let push = at(&socket.register(CHANNEL).await);
    service.send(&push, &[("urgency", "low")], b"low").await;
    service.send(&push, &[("urgency", "high")], b"high").await;
    assert_eq!(socket.notified().await.text, "high");
    socket.is_answered().await;
    let odd = socket.ask(json!({"messageType": "urgency", "min": "urgent"})).await;
    assert_eq!(odd["status"], 400);
    socket.send(json!({"messageType": "urgency", "min": "very-low"})).await;
    let (mut first, mut second) = (socket.next().await, socket.next().await);
    if first["messageType"] == "notification" {
        std::mem::swap(&mut first, &mut second);
    }
    assert_eq!((&first["messageType"], &second["messageType"]), (&"urgency".into(), &"notification".into()));
    socket.cut();
    let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(again.notified().await.text, "high", "an urgency lasts as long as its connection");
    assert_eq!(again.notified().await.text, "low");
}

#[tokio::test]
async fn it_is_served_at_one_path_more_and_not_at_all_if_it_is_switched_off() {
    let elsewhere = Settings { firefox_path: Some("/push".into()), ..Settings::default() };
    let service = TestService::with(elsewhere).await;
    let mut socket = Socket::open_at(service.address, "/push").await;
    assert_eq!(socket.ask(json!({"messageType": "hello"})).await["status"], 200);

    let service = TestService::with(Settings { firefox: Some(false), ..Settings::default() }).await;
    let upgrade = http::Request::get(service.origin() + "/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = service.ask(upgrade.body(bytes::Bytes::new()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(text(&answer).starts_with("Doorbell"), "the greeting, as for every client");
}
