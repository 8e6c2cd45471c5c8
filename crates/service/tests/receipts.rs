//! Receipts: what application servers receive about their messages (RFC 8030 s5.1, s6.3), by server push and as events.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use doorbell_service::config::Settings;
use http::{Request, StatusCode};
use support::events::EventStream;
use support::{Answer, Subscription, TestService, header, path, text};

const ASYNC: (&str, &str) = ("prefer", "respond-async");

/// Sends with a receipt wanted; message URI and receipt subscription URI.
async fn send(service: &TestService, to: &Subscription, headers: &[(&str, &str)]) -> (String, String) {
    let answer = service.post(to, &[headers, &[ASYNC]].concat(), b"x").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "PS-8030-5.1-2: {}", text(&answer));
    (header(&answer, "location").to_owned(), receipt_uri(&answer))
}

async fn send_to(service: &TestService, to: &Subscription, headers: &[(&str, &str)], receipts: &str) -> String {
    let link = format!("<{receipts}>; rel=\"urn:ietf:params:push:receipt\"");
    let (message, same) = send(service, to, &[headers, &[("link", &link)]].concat()).await;
    assert_eq!(same, receipts, "PS-8030-5.1-4");
    message
}

fn receipt_uri(answer: &Answer) -> String {
    let link = header(answer, "link").strip_prefix('<').unwrap();
    link.strip_suffix(">;rel=\"urn:ietf:params:push:receipt\"").expect("PS-8030-5.1-3").to_owned()
}

/// Everything that is there now: message path and outcome, by events.
async fn fetch(service: &TestService, receipts: &str) -> Vec<(String, String)> {
    let mut events = EventStream::open(service.address, receipts, &[("prefer", "wait=0")]).await;
    let mut received = Vec::new();
    while let Some(event) = events.next().await {
        assert_eq!(event.name, "receipt");
        let status = if event.data["outcome"] == "delivered" { 204 } else { 410 };
        assert_eq!(event.data["status"], status);
        let outcome = event.data["outcome"].as_str().unwrap().to_owned();
        received.push((path(event.data["message"].as_str().unwrap()), outcome));
    }
    received
}

#[tokio::test]
async fn an_acknowledged_message_is_pushed_as_204_for_its_uri_ps_8030_6_3_1_and_6_3_2_and_6_2_1() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let (first, receipts) = send(&service, &to, &[]).await;
    let mut sender = service.agent().await;
    let mut stream = sender.monitor(&receipts, &[]).await;
    assert_eq!(service.delete(&first).await, StatusCode::NO_CONTENT);
    let receipt = stream.push().await;
    assert_eq!((path(&receipt.uri), receipt.status), (path(&first), StatusCode::NO_CONTENT));
    assert!(receipt.body.is_empty());
    assert_eq!(receipt.headers["doorbell-outcome"], "delivered");
    let second = send_to(&service, &to, &[], &receipts).await;
    assert_eq!(service.delete(&second).await, StatusCode::NO_CONTENT);
    assert_eq!(path(&stream.push().await.uri), path(&second));
}

#[tokio::test]
async fn receipts_wait_for_the_application_server_and_come_once_ps_8030_6_3_5_and_6_3_6() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let (first, receipts) = send(&service, &to, &[]).await;
    let second = send_to(&service, &to, &[], &receipts).await;
    for message in [&first, &second] {
        assert_eq!(service.delete(message).await, StatusCode::NO_CONTENT);
    }
    let mut sender = service.agent().await;
    let (pushes, status) = sender.fetch(&receipts).await;
    assert_eq!((pushes.len(), status), (2, StatusCode::OK));
    let (pushes, status) = sender.fetch(&receipts).await;
    assert_eq!((pushes.len(), status), (0, StatusCode::NO_CONTENT), "they have been taken");
}

#[tokio::test]
async fn every_end_of_a_message_has_its_outcome_ps_8030_6_2_2_and_6_3_3_and_6_3_4_and_7_2_r() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let gone = service.join(&to).await;
    let (expired, receipts) = send(&service, &to, &[("ttl", "5")]).await;
    let unsubscribed = send_to(&service, &gone, &[], &receipts).await;
    let dropped = send_to(&service, &to, &[("ttl", "0")], &receipts).await;
    let undecryptable = send_to(&service, &to, &[], &receipts).await;
    let delivered = send_to(&service, &to, &[], &receipts).await;
    let request = Request::delete(&undecryptable).header("doorbell-outcome", "undecryptable");
    assert_eq!(service.ask(request.body(Bytes::new()).unwrap()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(service.delete(&delivered).await, StatusCode::NO_CONTENT);
    assert_eq!(service.delete(&gone.subscription).await, StatusCode::NO_CONTENT);
    let mut events = EventStream::open(service.address, &receipts, &[]).await;
    let mut received = Vec::new();
    for _ in 0..4 {
        received.push(events.next().await.unwrap());
    }
    service.clock.advance(Duration::from_secs(6));
    received.push(events.next().await.unwrap());
    let mut received: Vec<_> =
        received.iter().map(|e| (path(e.data["message"].as_str().unwrap()), &e.data["outcome"])).collect();
    received.sort_by_key(|(message, _)| message.clone());
    let mut expected = [
        (path(&expired), "expired"),
        (path(&unsubscribed), "unsubscribed"),
        (path(&dropped), "dropped"),
        (path(&undecryptable), "undecryptable"),
        (path(&delivered), "delivered"),
    ];
    expected.sort();
    for ((message, outcome), (expected, word)) in received.iter().zip(&expected) {
        assert_eq!((message, outcome.as_str()), (expected, Some(*word)));
    }
}

#[tokio::test]
async fn a_delete_with_an_outcome_that_no_agent_can_know_settles_nothing() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let (message, receipts) = send(&service, &to, &[]).await;
    let report = |words: &[&str]| {
        let request = Request::delete(&message);
        words
            .iter()
            .fold(request, |request, word| request.header("doorbell-outcome", *word))
            .body(Bytes::new())
            .unwrap()
    };
    for words in [&["eaten"][..], &["expired"], &["dropped"], &[""], &["refused", "delivered"]] {
        let answer = service.ask(report(words)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{words:?}");
        let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(problem["errno"], 1000);
        assert!(problem["hint"].as_str().unwrap().contains("undecryptable"), "{problem}");
    }
    assert_eq!(service.ask(report(&["Refused"])).await.status(), StatusCode::NO_CONTENT, "it was still there");
    assert_eq!(fetch(&service, &receipts).await, [(path(&message), "refused".to_owned())]);
}

#[tokio::test]
async fn a_message_that_a_topic_replaced_has_no_receipt_even_when_it_is_acknowledged_late_ps_8030_5_4_5() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let (old, receipts) = send(&service, &to, &[("topic", "t")]).await;
    let mut agent = service.agent().await;
    let mut stream = agent.monitor(&to.set, &[]).await;
    assert_eq!(path(&stream.push().await.uri), path(&old));
    let new = send_to(&service, &to, &[("topic", "t")], &receipts).await;
    assert_eq!(agent.delete(&old).await, StatusCode::NOT_FOUND);
    assert_eq!(agent.delete(&new).await, StatusCode::NO_CONTENT);
    assert_eq!(fetch(&service, &receipts).await, [(path(&new), "delivered".to_owned())]);
}

#[tokio::test]
async fn ttl_0_that_arrives_is_delivered_when_it_is_acknowledged_ps_8030_5_2_10() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut stream = service.monitored(&mut agent, &to.set, &to).await;
    let (message, receipts) = send(&service, &to, &[("ttl", "0")]).await;
    let push = stream.push().await;
    assert_eq!(path(&push.uri), path(&message));
    assert_eq!(agent.delete(&push.uri).await, StatusCode::NO_CONTENT);
    let mut events = EventStream::open(service.address, &receipts, &[]).await;
    assert_eq!(events.next().await.unwrap().data["outcome"], "delivered");
}

#[tokio::test]
async fn what_is_not_a_receipt_subscription_is_400_and_the_message_is_not_accepted_ps_8030_5_1_5_and_7_3_6() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let (message, removed) = send(&service, &to, &[]).await;
    assert_eq!(service.delete(&message).await, StatusCode::NO_CONTENT);
    let mut agent = service.agent().await;
    let watched = agent.monitor(&removed, &[("prefer", "wait=0")]).await;
    assert_eq!(watched.finish().await, StatusCode::OK);
    let held = agent.monitor(&removed, &[]).await;
    assert_eq!(service.delete(&removed).await, StatusCode::NO_CONTENT);
    assert_eq!(held.finish().await, StatusCode::NOT_FOUND, "PS-8030-7.3-5");
    assert_eq!(service.delete(&removed).await, StatusCode::NOT_FOUND);
    let elsewhere = removed.replace("127.0.0.1", "push.example.org");
    for receipts in [&removed, &elsewhere, &to.push, "nonsense"] {
        for ttl in ["60", "0"] {
            let link = format!("<{receipts}>; rel=\"urn:ietf:params:push:receipt\"");
            let answer = service.post(&to, &[ASYNC, ("link", &link), ("ttl", ttl)], b"x").await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{receipts}");
            assert!(text(&answer).contains("\"errno\":1010"), "{}", text(&answer));
        }
    }
    assert_eq!(agent.fetch(&to.set).await.1, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn prefer_is_read_as_a_list_ps_8030_5_1_7_and_5_1_1() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let answer = service.post(&to, &[("prefer", "wait=5, Respond-Async;foo")], b"x").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer = service.post(&to, &[("prefer", "wait=5")], b"x").await;
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn an_application_server_that_reconnects_with_its_last_event_id_gets_the_rest_ps_8030_6_3_6_and_6_3_7() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let (first, receipts) = send(&service, &to, &[]).await;
    let mut messages = vec![first];
    for _ in 0..4 {
        messages.push(send_to(&service, &to, &[], &receipts).await);
    }
    for message in &messages {
        assert_eq!(service.delete(message).await, StatusCode::NO_CONTENT);
    }
    let mut events = EventStream::open(service.address, &receipts, &[]).await;
    assert_eq!(path(events.next().await.unwrap().data["message"].as_str().unwrap()), path(&messages[0]));
    let second = events.next().await.unwrap();
    drop(events);
    service.restart().await;
    let mut events = EventStream::open(service.address, &receipts, &[("last-event-id", &second.id)]).await;
    for message in &messages[2..] {
        assert_eq!(path(events.next().await.unwrap().data["message"].as_str().unwrap()), path(message));
    }
}

#[tokio::test]
async fn receipts_on_a_stream_that_stays_open_are_removed_after_a_time_ps_8030_6_3_6() {
    let limits = Settings { receipts_per_subscription_max: Some(2), ..Settings::default() };
    let service = TestService::with(limits).await;
    let to = service.subscribe().await;
    let (first, receipts) = send(&service, &to, &[]).await;
    let second = send_to(&service, &to, &[], &receipts).await;
    for message in [&first, &second] {
        assert_eq!(service.delete(message).await, StatusCode::NO_CONTENT);
    }
    let link = format!("<{receipts}>; rel=\"urn:ietf:params:push:receipt\"");
    let full = service.post(&to, &[ASYNC, ("link", &link)], b"x").await;
    assert_eq!(full.status(), StatusCode::TOO_MANY_REQUESTS, "PS-8030-5.1-6: {}", text(&full));
    header(&full, "retry-after");

    let mut events = EventStream::open(service.address, &receipts, &[]).await;
    events.next().await.unwrap();
    events.next().await.unwrap();
    // A comment comes after each quiet period; by the fifth, the receipts are removed.
    for _ in 0..5 {
        events.comment_in_time(&service.clock).await;
    }
    drop(events);
    assert!(fetch(&service, &receipts).await.is_empty());
    send_to(&service, &to, &[], &receipts).await;
}
