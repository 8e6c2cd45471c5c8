//! Receipts for readers that do not read as they should, and for those that read forever.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use doorbell_service::config::Settings;
use doorbell_store::{IdleBounds, Limits, Store};
use http::StatusCode;
use support::events::EventStream;
use support::raw::http2::Connection;
use support::{START, Subscription, TestService, header, path, text};
use tokio::net::TcpStream;

const ASYNC: (&str, &str) = ("prefer", "respond-async");

/// Sends with a receipt wanted, on the receipt subscription that is named; message URI and receipt subscription URI.
async fn send(service: &TestService, to: &Subscription, receipts: Option<&str>) -> (String, String) {
    let link = receipts.map(|uri| format!("<{uri}>; rel=\"urn:ietf:params:push:receipt\""));
    let named = link.as_deref().map(|link| ("link", link));
    let headers: Vec<_> = [ASYNC].into_iter().chain(named).collect();
    let answer = service.post(to, &headers, b"x").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", text(&answer));
    let receipts = header(&answer, "link").split(['<', '>']).nth(1).unwrap().to_owned();
    (header(&answer, "location").to_owned(), receipts)
}

/// A receipt subscription in which so many receipts wait.
async fn receipts(service: &TestService, to: &Subscription, count: usize) -> String {
    let mut receipts = None;
    for _ in 0..count {
        let (message, same) = send(service, to, receipts.as_deref()).await;
        assert_eq!(service.delete(&message).await, StatusCode::NO_CONTENT);
        receipts = Some(same);
    }
    receipts.unwrap()
}

async fn ask(service: &TestService, receipts: &str, answers_pings: bool) -> usize {
    let socket = TcpStream::connect(service.address).await.unwrap();
    let mut client = Connection::open(socket).await;
    client.answers_pings = answers_pings;
    let path = path(receipts);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", &path), ("prefer", "wait=0")];
    client.ask(1, &fields).await;
    let (pushes, answer) = client.until_answered(1).await;
    assert_eq!(answer.status(), "200");
    pushes.len()
}

#[tokio::test]
async fn a_reader_that_shows_nothing_gets_few_receipts_in_bounded_time_and_loses_none_ps_8030_6_3_6() {
    let settings = Settings { idle_timeout_secs: Some(1), ..Settings::default() };
    let service = TestService::with(settings).await;
    let to = service.subscribe().await;
    let receipts = receipts(&service, &to, 40).await;
    assert_eq!(ask(&service, &receipts, false).await, 32);
    assert_eq!(ask(&service, &receipts, true).await, 40);
}

#[tokio::test]
async fn a_stream_that_is_never_quiet_for_long_does_not_fill_up_ps_8030_5_1_6_and_6_3_6() {
    let settings = Settings { receipts_per_subscription_max: Some(8), ..Settings::default() };
    let service = TestService::with(settings).await;
    let to = service.subscribe().await;
    let receipts = receipts(&service, &to, 1).await;
    let mut events = EventStream::open(service.address, &receipts, &[]).await;
    events.next().await.unwrap();
    for _ in 0..20 {
        let (message, _) = send(&service, &to, Some(&receipts)).await;
        assert_eq!(service.delete(&message).await, StatusCode::NO_CONTENT);
        assert_eq!(path(events.next().await.unwrap().data["message"].as_str().unwrap()), path(&message));
        service.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_message_that_was_refused_leaves_no_receipt_subscription_behind_ps_8030_8_4_1() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    assert_eq!(service.delete(&to.subscription).await, StatusCode::NO_CONTENT);
    for ttl in ["0", "60"] {
        let refused = service.post(&to, &[ASYNC, ("ttl", ttl)], b"x").await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    }
    service.service.take().unwrap().stop().await.unwrap();
    let store = Store::open_sqlite(service.dir.path(), Limits::default()).unwrap();
    let later = START.plus(Duration::from_secs(3600));
    let bounds = IdleBounds {
        now: later,
        served: later,
        agents_before: START,
        receipt_subscriptions_before: later,
        max: 10,
        keep: Vec::new(),
    };
    assert_eq!(store.expire_idle(bounds).await.unwrap().receipt_subscriptions, []);
}

#[tokio::test]
async fn a_receipt_subscription_that_a_message_waits_for_is_in_use_ps_8030_7_3_5() {
    let service = TestService::with(Settings { idle_expiry_days: Some(5), ..Settings::default() }).await;
    let (to, left) = (service.subscribe().await, service.subscribe().await);
    let mut agent = service.agent().await;
    let _stream = service.monitored(&mut agent, &to.set, &to).await;
    let answer = service.post(&to, &[ASYNC, ("ttl", "2592000")], b"x").await;
    let (message, receipts) = (header(&answer, "location"), header(&answer, "link").split(['<', '>']).nth(1).unwrap());
    while service.get(&left.subscription).await.status() != StatusCode::NOT_FOUND {
        service.clock.advance(Duration::from_secs(3600));
    }
    assert_eq!(service.delete(message).await, StatusCode::NO_CONTENT);
    let mut events = EventStream::open(service.address, receipts, &[]).await;
    assert_eq!(events.next().await.unwrap().data["outcome"], "delivered");
}
