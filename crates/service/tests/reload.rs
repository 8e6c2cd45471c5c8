//! What a reload changes while the service runs: each kind of setting takes effect, and nothing that was accepted is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use doorbell_service::config::{Compat, Settings};
use http::{Request, StatusCode};
use support::{Answer, TestService, header, raw, text, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

async fn subscribe(service: &TestService) -> Answer {
    service.ask(Request::post(service.origin() + "/subscribe").body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn what_a_message_may_be_changes_and_so_do_the_answers_to_what_it_may_not() {
    let mut service = TestService::start().await;
    let (to, gone) = (service.subscribe().await, service.subscribe().await);
    assert_eq!(service.delete(&gone.subscription).await, StatusCode::NO_CONTENT);
    let large = [b'x'; 5000];
    assert_eq!(service.post(&to, &[], &large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(service.post(&gone, &[], b"x").await.status(), StatusCode::NOT_FOUND);

    let changes = service.reload(|settings| {
        settings.compat = Some(Compat::Mozilla);
        settings.ttl_max_secs = Some(7);
        settings.alt_svc = Some("h2=\":1001\"".to_owned());
    });
    assert_eq!(changes.changed, ["alt_svc", "ttl_max_secs", "compat"]);
    let accepted = service.post(&to, &[], &large).await;
    assert_eq!((accepted.status(), header(&accepted, "ttl")), (StatusCode::CREATED, "7"));
    assert_eq!(header(&accepted, "alt-svc"), "h2=\":1001\"");
    assert_eq!(service.post(&gone, &[], b"x").await.status(), StatusCode::GONE);

    service.reload(|settings| settings.compat = Some(Compat::Rfc));
    assert_eq!(service.post(&to, &[], &large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn rates_change_and_what_was_sent_before_counts() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    for _ in 0..100 {
        service.send(&to, &[], b"x").await;
    }
    service.reload(|settings| settings.rate_per_subscription = Some(12));
    for _ in 0..11 {
        service.send(&to, &[], b"x").await;
    }
    let refused = service.post(&to, &[], b"x").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(text(&refused).contains("exceeds 12 per minute"), "{}", text(&refused));
    service.reload(|settings| settings.rate_per_subscription = Some(0));
    service.send(&to, &[], b"x").await;

    service.reload(|settings| settings.new_agents_per_minute = Some(1));
    assert_eq!(subscribe(&service).await.status(), StatusCode::TOO_MANY_REQUESTS, "more came in this minute");
    service.reload(|settings| settings.new_agents_per_minute = None);
    service.subscribe().await;
}

#[tokio::test]
async fn a_bound_of_the_store_below_what_it_holds_refuses_new_messages_and_the_old_ones_arrive() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(service.send(&to, &[], b"x").await);
    }
    service.reload(|settings| {
        settings.messages_per_agent_max = Some(4);
        settings.agents_max = Some(1);
    });
    assert_eq!(service.post(&to, &[], b"x").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(subscribe(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let mut agent = service.agent().await;
    let mut monitoring = agent.monitor(&to.subscription, &[]).await;
    for message in &sent {
        assert_eq!(&monitoring.push().await.uri, message);
        assert_eq!(agent.delete(message).await, StatusCode::NO_CONTENT);
    }
    service.send(&to, &[], b"there is room again").await;
    service.reload(|settings| settings.agents_max = None);
    service.subscribe().await;
}

#[tokio::test]
async fn a_connection_that_waits_for_a_place_gets_one_of_those_that_a_reload_adds() {
    let full =
        |max| Settings { connections_max: Some(max), connections_per_source_max: Some(0), ..Settings::default() };
    let mut service = TestService::with(full(3)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (to, mut agent) = (service.subscribe().await, service.agent().await);
        // Connections of agents that are waited for are not closed to make room.
        let monitoring = service.monitored(&mut agent, &to.subscription, &to).await;
        held.push((agent, monitoring));
    }
    service.reload(|settings| settings.connections_max = Some(2));
    let mut waits = TcpStream::connect(service.address).await.unwrap();
    service.reload(|settings| settings.connections_max = Some(3));
    assert!(within(raw::exchange(&mut waits, GET)).await.starts_with("HTTP/1.1 200 "));

    service.reload(|settings| settings.connections_per_source_max = Some(1));
    // The service takes the bound over in a moment.
    within(async {
        loop {
            let mut further = TcpStream::connect(service.address).await.unwrap();
            let asked = further.write_all(GET).await;
            if asked.is_err() || further.read(&mut [0; 16]).await.unwrap_or(0) == 0 {
                break;
            }
        }
    })
    .await;
    assert!(raw::exchange(&mut waits, GET).await.starts_with("HTTP/1.1 200 "), "those that are open stay");
}

#[tokio::test]
async fn a_door_closes_and_opens_at_a_reload() {
    let mut service = TestService::start().await;
    let check_in = async |service: &TestService| {
        service.ask(Request::post(service.origin() + "/checkin").body(Bytes::new()).unwrap()).await.status()
    };
    assert_eq!(check_in(&service).await, StatusCode::OK, "it is there");
    service.reload(|settings| settings.chromium = Some(false));
    assert_eq!(check_in(&service).await, StatusCode::NOT_FOUND);
    service.reload(|settings| settings.chromium = None);
    assert_eq!(check_in(&service).await, StatusCode::OK);
}

#[tokio::test]
async fn an_agent_that_connects_after_a_reload_has_the_new_time_to_acknowledge() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    service.reload(|settings| settings.ack_timeout_secs = Some(5));
    let mut agent = service.agent().await;
    let mut monitoring = service.monitored(&mut agent, &to.subscription, &to).await;
    let message = service.send(&to, &[], b"x").await;
    assert_eq!(monitoring.push().await.uri, message);
    service.clock.advance(Duration::from_secs(6));
    assert_eq!(monitoring.push().await.uri, message, "after 5 s and not after 30");
}

#[tokio::test]
async fn what_only_a_restart_changes_is_named_and_the_rest_is_taken_over() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let before = service.origin();
    let changes = service.reload(|settings| {
        settings.public_url = Some("https://push.example.org".to_owned());
        settings.disk_reserve_bytes = Some(0);
        settings.ttl_max_secs = Some(7);
    });
    assert_eq!(changes.changed, ["ttl_max_secs"]);
    assert_eq!(changes.needs_restart, ["public_url", "disk_reserve_bytes"]);
    let accepted = service.post(&to, &[], b"x").await;
    assert_eq!(header(&accepted, "ttl"), "7");
    assert!(header(&accepted, "location").starts_with(&before), "URLs stay");
}
