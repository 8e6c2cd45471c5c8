//! Messages: each is sent once on a connection, in order, with exact addresses, until it is acknowledged.

use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use doorbell_service::config::Settings;
use http::StatusCode;

use crate::support::chromium::{Device, OLD_SENDER, SENDER, SUBTYPE, at, wrapped};
use crate::support::events::EventStream;
use crate::support::{START, TestService, header};

#[tokio::test]
async fn a_message_has_the_fields_that_chromium_needs_and_no_others() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let mut chromium = device.connect(&service).await;
    let headers = [("content-encoding", "aes128gcm"), ("ttl", "3600"), ("urgency", "low"), ("topic", "t")];
    service.send(&push, &headers, &wrapped(b"\xff\x00")).await;
    let message = chromium.message().await;
    assert_eq!(message.text(3).as_deref(), Some(OLD_SENDER));
    assert_eq!(message.text(5).as_deref(), Some("org.chromium.linux"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let app_data = [pair("subtype", SUBTYPE), pair("content-encoding", "aes128gcm")];
    assert_eq!(message.app_data(), app_data, "PS-8030-5.3-4, PS-8030-5.4-6: nothing of urgency and topic");
    assert_eq!(message.bytes(21).unwrap(), wrapped(b"\xff\x00"));
    assert_eq!((message.number(17), message.number(18)), (Some(3600), Some(START.as_secs() as u64)));
    assert_eq!((message.number(11), message.number(24)), (Some(1), Some(1)), "the login arrived; acknowledge at once");
    assert_eq!((message.text(2), message.persistent_id().len()), (Some(message.persistent_id()), 16));

    let (salt, dh) = ("salt=lngarbyKfMoi9Z75xYXmkg", format!("dh={SENDER}"));
    let key = format!("{dh};p256ecdsa=BA1H");
    let older = [("content-encoding", "aesgcm"), ("encryption", salt), ("crypto-key", &*key)];
    service.send(&push, &older, &[7; 18]).await;
    let coding = [pair("content-encoding", "aesgcm"), pair("encryption", salt), pair("crypto-key", &dh)];
    assert_eq!(chromium.message().await.app_data()[1..], coding);

    service.send(&push, &[], b"").await;
    let empty = chromium.message().await;
    assert_eq!((empty.bytes(21), empty.app_data().len()), (None, 1));
}

#[tokio::test]
async fn an_acknowledgement_settles_all_before_it_and_their_senders_get_receipts_ps_8030_6_3_2() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let mut chromium = device.connect(&service).await;
    let answer = service.post(&push, &[("prefer", "respond-async")], b"x").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let link = header(&answer, "link");
    let receipts = link[1..link.find('>').unwrap()].to_owned();
    service.send(&push, &[], b"y").await;
    chromium.unacked().await;
    chromium.unacked().await;
    chromium.ack().await;
    let event = EventStream::open(service.address, &receipts, &[]).await.next().await.unwrap();
    assert_eq!((&event.data["status"], &event.data["outcome"]), (&204.into(), &Outcome::Delivered.as_str().into()));
    let mut again = device.connect(&service).await;
    again.is_answered().await;
}

#[tokio::test]
async fn what_a_login_lists_does_not_come_and_the_rest_comes_once_in_order() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let mut chromium = device.connect(&service).await;
    let mut had = Vec::new();
    for n in 0..10 {
        service.send(&push, &[], n.to_string().as_bytes()).await;
        let message = chromium.unacked().await;
        if n % 2 == 0 {
            had.push(message.persistent_id());
        }
    }
    chromium.is_answered_without_acknowledging().await;
    drop(chromium);
    had.push("0:1700000000000000%e609af1cf9fd7ecd".to_owned());
    let mut again = device.connect_with(&service, &had).await;
    for n in [1, 3, 5, 7, 9] {
        assert_eq!(again.unacked().await.body(), n.to_string());
    }
    again.is_answered().await;
    drop(again);
    let mut last = device.connect(&service).await;
    last.is_answered().await;
}

#[tokio::test]
async fn three_hundred_come_in_order_whether_they_were_stored_or_come_at_once() {
    let settings = Settings { rate_per_subscription: Some(0), ..Settings::default() };
    let service = TestService::with(settings).await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    for n in 0..300 {
        service.send(&push, &[], n.to_string().as_bytes()).await;
    }
    let mut chromium = device.connect(&service).await;
    for n in 0..300 {
        assert_eq!(chromium.message().await.body(), n.to_string());
    }
    let sending = async {
        for n in 300..600 {
            service.send(&push, &[], n.to_string().as_bytes()).await;
        }
    };
    let receiving = async {
        for n in 300..600 {
            assert_eq!(chromium.message().await.body(), n.to_string());
        }
        chromium.is_answered().await;
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn the_first_subscription_of_a_connected_device_is_delivered_at_once() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let mut chromium = device.connect(&service).await;
    chromium.is_answered().await;
    let push = device.subscribe(&service).await;
    service.send(&push, &[], b"first").await;
    assert_eq!(chromium.message().await.body(), "first");
    let other = at(&service, "/wp/", &device.register(&service, "wp:http://other/#1-V2", OLD_SENDER).await);
    service.send(&other, &[("ttl", "0")], b"second").await;
    assert_eq!(chromium.message().await.body(), "second");
}

#[tokio::test]
async fn ttl_0_comes_at_once_what_expired_never_and_of_a_topic_the_last_ps_8030_5_2_9_and_5_4_2() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let mut chromium = device.connect(&service).await;
    service.send(&push, &[("ttl", "0")], b"now").await;
    let now = chromium.message().await;
    assert_eq!((now.body(), now.number(17)), ("now".to_owned(), Some(0)));
    chromium.is_answered().await;
    drop(chromium);
    service.send(&push, &[("ttl", "5")], b"expires").await;
    service.send(&push, &[("topic", "score")], b"1:0").await;
    service.send(&push, &[("topic", "score")], b"2:0").await;
    service.clock.advance(Duration::from_secs(5));
    let mut again = device.connect(&service).await;
    assert_eq!(again.message().await.body(), "2:0");
    again.is_answered().await;
}
