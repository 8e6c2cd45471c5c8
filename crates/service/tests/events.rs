//! Server-sent events for user agents that cannot take pushes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use http::StatusCode;
use support::events::EventStream;
use support::{TestService, within};

#[tokio::test]
async fn an_agent_without_server_push_gets_the_same_messages_as_events_ps_8030_6_10() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let headers = [("content-encoding", "aesgcm"), ("encryption", "salt=abc"), ("urgency", "low")];
    let stored = service.send(&to, &headers, b"\0\xff").await;
    for uri in [&to.subscription, &to.set] {
        let mut events = EventStream::open(service.address, uri, &[]).await;
        let event = events.next().await.unwrap();
        assert_eq!(event.name, "message");
        assert_eq!(event.data["message"], stored.as_str());
        assert_eq!(event.data["push"], to.push.as_str());
        assert_eq!(event.data["body"], "AP8");
        assert_eq!(event.data["headers"], serde_json::json!({"content-encoding": "aesgcm", "encryption": "salt=abc"}));
    }
    assert_eq!(service.delete(&stored).await, StatusCode::NO_CONTENT);
    let mut events = EventStream::open(service.address, &to.set, &[]).await;
    let live = service.send(&to, &[], b"now").await;
    let event = events.next().await.unwrap();
    assert_eq!((event.data["message"].as_str().unwrap(), event.data["body"].as_str().unwrap()), (&live[..], "bm93"));
}

#[tokio::test]
async fn events_end_when_all_are_sent_or_the_resource_is_removed_or_the_service_drains() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    service.send(&to, &[("urgency", "low")], b"x").await;
    let at_once = [("prefer", "wait=0")];
    let mut events = EventStream::open(service.address, &to.set, &at_once).await;
    assert!(events.next().await.is_some());
    assert!(events.next().await.is_none());
    let mut floored = EventStream::open(service.address, &to.set, &[("prefer", "wait=0"), ("urgency", "high")]).await;
    assert!(floored.next().await.is_none(), "PS-8030-5.3-5");

    let mut held = EventStream::open(service.address, &to.set, &[("urgency", "high")]).await;
    let other = service.subscribe().await;
    let mut drained = EventStream::open(service.address, &other.set, &[]).await;
    assert_eq!(service.delete(&to.set).await, StatusCode::NO_CONTENT);
    assert!(held.next().await.is_none());
    service.restart().await;
    assert!(drained.next().await.is_none());
}

#[tokio::test]
async fn a_quiet_stream_sends_comments() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut events = EventStream::open(service.address, &to.set, &[]).await;
    events.comment().await;
    events.comment_in_time(&service.clock).await;
}

#[tokio::test]
async fn events_flow_over_http_2_too_and_end_with_the_client() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let mut agent = service.agent().await;
    let stream = agent.monitor(&to.set, &[("accept", "text/event-stream")]).await;
    let seen = stream.body_until("\n\nid: ").await;
    assert!(seen.contains(&message), "{seen}");
    // The reader is gone, so what it had goes to the next one, once the service has seen that it is gone.
    let next = async {
        loop {
            let (pushes, _) = service.agent().await.fetch(&to.set).await;
            if !pushes.is_empty() {
                return pushes.len();
            }
        }
    };
    assert_eq!(within(next).await, 1);
}
