//! Delivering to the user agent by HTTP/2 server push: RFC 8030 s6, s7.3 at the agents' door.

mod support;

use std::time::Duration;

use doorbell_service::config::Settings;
use http::StatusCode;
use support::agent::settings;
use support::{TestService, path, raw, within};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_stored_message_is_pushed_with_its_uri_its_source_and_nothing_of_the_senders_ps_8030_6() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let headers = [("urgency", "low"), ("topic", "news"), ("content-encoding", "aes128gcm"), ("ttl", "60")];
    let message = service.send(&to, &headers, b"\0body\xff").await;
    let (pushes, status) = service.agent().await.fetch(&to.subscription).await;
    assert_eq!(status, StatusCode::OK, "PS-8030-6-6");
    let [push] = &pushes[..] else { panic!("one push and not {pushes:?}") };
    assert_eq!(path(&push.uri), path(&message), "PS-8030-6-2");
    assert_eq!((push.status, &push.body[..]), (StatusCode::OK, &b"\0body\xff"[..]), "PS-8030-6-4");
    let link = format!("<{}>;rel=\"urn:ietf:params:push\"", to.push);
    assert_eq!(push.promised["link"], link.as_str(), "PS-8030-6.1-1");
    assert_eq!(push.headers["link"], link.as_str(), "PS-8030-6-3");
    assert_eq!(push.headers["content-encoding"], "aes128gcm", "PS-8030-6-4");
    assert_eq!(push.headers["cache-control"], "private", "PS-8030-6-5");
    assert!(push.headers.contains_key("date") && push.headers.contains_key("last-modified"), "PS-8030-6-5");
    for secret in ["urgency", "topic", "authorization", "ttl"] {
        assert!(!push.headers.contains_key(secret) && !push.promised.contains_key(secret), "PS-8030-5.3-4 {secret}");
    }
}

#[tokio::test]
async fn with_nothing_to_deliver_wait_0_is_204_ps_8030_6_7_and_7_2_3() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    assert_eq!(agent.fetch(&to.set).await.1, StatusCode::NO_CONTENT, "PS-8030-6.1-3");
    service.send(&to, &[("ttl", "10")], b"soon over").await;
    service.clock.advance(Duration::from_secs(10));
    let (pushes, status) = agent.fetch(&to.subscription).await;
    assert!(pushes.is_empty(), "PS-8030-5.2-7");
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_message_comes_again_until_it_is_acknowledged_and_never_after_ps_8030_6_2_3_and_6_2_6() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"again").await;
    for _ in 0..5 {
        let (pushes, _) = service.agent().await.fetch(&to.subscription).await;
        assert_eq!(pushes.len(), 1, "PS-8030-6.2-4");
    }
    let mut agent = service.agent().await;
    assert_eq!(agent.delete(&message).await, StatusCode::NO_CONTENT);
    assert_eq!(agent.delete(&message).await, StatusCode::NOT_FOUND);
    assert_eq!(agent.fetch(&to.subscription).await.1, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_unacknowledged_message_comes_again_on_the_same_stream_after_a_time_ps_8030_6_2_3() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"again").await;
    let mut agent = service.agent().await;
    let mut stream = agent.monitor(&to.subscription, &[]).await;
    assert_eq!(path(&stream.push().await.uri), path(&message));
    // The clock has to move after the service has noted the push, which it does before sending it.
    service.clock.advance(Duration::from_secs(31));
    assert_eq!(path(&stream.push().await.uri), path(&message));
}

#[tokio::test]
async fn one_get_on_the_set_carries_all_members_and_those_that_join_later_ps_8030_6_1_2() {
    let service = TestService::start().await;
    let one = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut stream = service.monitored(&mut agent, &one.set, &one).await;
    let two = service.join(&one).await;
    let other_agent = service.subscribe().await;
    service.send(&other_agent, &[], b"for another agent").await;
    for to in [&one, &two] {
        service.send(to, &[], b"x").await;
        let push = stream.push().await;
        assert!(push.promised["link"].to_str().unwrap().contains(&to.push));
    }
}

#[tokio::test]
async fn ttl_0_is_delivered_at_once_or_never_ps_8030_5_2_9() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    service.send(&to, &[("ttl", "0")], b"no subscriber").await;
    let mut agent = service.agent().await;
    assert_eq!(agent.fetch(&to.subscription).await.1, StatusCode::NO_CONTENT);

    let mut stream = service.monitored(&mut agent, &to.subscription, &to).await;
    let message = service.send(&to, &[("ttl", "0")], b"now").await;
    let push = stream.push().await;
    assert_eq!((&push.body[..], path(&push.uri)), (&b"now"[..], path(&message)));
    assert_eq!(agent.delete(&message).await, StatusCode::NO_CONTENT);
    assert_eq!(service.agent().await.fetch(&to.subscription).await.1, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_floor_holds_lesser_messages_back_until_it_falls_ps_8030_5_3_5_and_5_3_6_and_6_9() {
    let service = TestService::start().await;
    for (floor, expected) in [("high", 1), ("normal", 3), ("low", 4), ("very-low", 5)] {
        for on_set in [true, false] {
            let to = service.subscribe().await;
            for urgency in ["very-low", "low", "normal", "high"] {
                service.send(&to, &[("urgency", urgency)], urgency.as_bytes()).await;
            }
            service.send(&to, &[], b"normal").await;
            let uri = if on_set { &to.set } else { &to.subscription };
            let mut agent = service.agent().await;
            let floored = [("prefer", "wait=0"), ("urgency", floor)];
            let mut stream = agent.monitor(uri, &floored).await;
            let mut bodies = Vec::new();
            while let Some(push) = stream.next().await {
                agent.delete(&push.uri).await;
                bodies.push(push.body);
            }
            assert_eq!(bodies.len(), expected, "{floor}: {bodies:?}");
            assert_eq!(&bodies[0][..], b"high", "urgent ones come first");
            assert_eq!(agent.fetch(uri).await.0.len(), 5 - expected, "what was held back is still there");
        }
    }
    let to = service.subscribe().await;
    let stream = service.agent().await.monitor(&to.set, &[("urgency", "some")]).await;
    assert_eq!(stream.finish().await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_topic_replaces_within_its_subscription_and_the_old_uri_is_gone_ps_8030_5_4_2_and_5_4_3_and_5_4_4() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let other = service.join(&to).await;
    let topic = ("topic", "t");
    let old = service.send(&to, &[topic, ("ttl", "600"), ("urgency", "high")], b"old").await;
    let new = service.send(&to, &[topic, ("ttl", "5"), ("urgency", "low")], b"new").await;
    service.send(&other, &[topic], b"elsewhere").await;
    assert_ne!(old, new);
    assert_eq!(service.delete(&old).await, StatusCode::NOT_FOUND);
    let mut agent = service.agent().await;
    let mut floored = agent.monitor(&to.set, &[("prefer", "wait=0"), ("urgency", "high")]).await;
    assert!(floored.next().await.is_none(), "the urgency is the new one's");
    let (pushes, _) = agent.fetch(&to.set).await;
    let mut bodies: Vec<_> = pushes.iter().map(|p| &p.body[..]).collect();
    bodies.sort();
    assert_eq!(bodies, [&b"elsewhere"[..], b"new"]);
    service.clock.advance(Duration::from_secs(6));
    assert_eq!(agent.fetch(&to.subscription).await.1, StatusCode::NO_CONTENT, "the TTL is the new one's");
}

#[tokio::test]
async fn removing_what_is_monitored_ends_the_request_with_404_ps_8030_7_3_2_and_7_3_1_2() {
    let service = TestService::start().await;
    let mut agent = service.agent().await;
    for (removed_as_set, monitored_as_set) in [(false, false), (true, true), (true, false)] {
        let to = service.subscribe().await;
        let uri = |as_set| if as_set { &to.set } else { &to.subscription };
        let stream = service.monitored(&mut agent, uri(monitored_as_set), &to).await;
        assert_eq!(service.delete(uri(removed_as_set)).await, StatusCode::NO_CONTENT);
        assert_eq!(stream.finish().await, StatusCode::NOT_FOUND);
        assert_eq!(agent.fetch(uri(monitored_as_set)).await.1, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_client_without_server_push_gets_a_clear_error_ps_8030_6_10() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut refusing = settings();
    refusing.enable_push(false);
    let stream = service.agent_with(refusing).await.monitor(&to.subscription, &[]).await;
    assert_eq!(stream.finish().await, StatusCode::NOT_ACCEPTABLE);
    let over_http1 = service.get(&to.subscription).await;
    assert_eq!(over_http1.status(), StatusCode::NOT_ACCEPTABLE);
    assert!(support::text(&over_http1).contains("SETTINGS_ENABLE_PUSH"));
}

#[tokio::test]
async fn a_hundred_messages_get_through_a_window_of_one_stream_and_few_bytes_ps_8030_6_11() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut expected = Vec::new();
    for n in 0..100 {
        let body = format!("{n} {}", "x".repeat(n * 10));
        service.send(&to, &[], body.as_bytes()).await;
        expected.push(body);
    }
    let mut narrow = settings();
    narrow.max_concurrent_streams(1).initial_window_size(200);
    let mut agent = service.agent_with(narrow).await;
    let mut stream = agent.monitor(&to.subscription, &[]).await;
    for body in expected {
        let push = stream.push().await;
        assert_eq!(push.body, body.as_bytes());
        assert_eq!(agent.delete(&push.uri).await, StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn a_refused_push_is_offered_again_and_not_lost_ps_8030_6_11() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], &[7; 4096]).await;
    let mut agent = service.agent().await;
    let mut stream = agent.monitor(&to.subscription, &[]).await;
    assert_eq!(path(&stream.refuse().await), path(&message));
    // Whether the reset was seen in time (offered again after a second) or not (after the acknowledgement time-out)
    // is the transport's affair; that it comes again is not.
    service.clock.advance(Duration::from_secs(31));
    assert_eq!(stream.push().await.body.len(), 4096);
}

#[tokio::test]
async fn a_held_request_with_a_wait_ends_when_it_is_over() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let stream = service.monitored_with(&mut agent, &to.subscription, &to, &[("prefer", "wait=5")]).await;
    service.clock.advance(Duration::from_secs(5));
    assert_eq!(stream.finish().await, StatusCode::OK, "it has pushed");
}

#[tokio::test]
async fn draining_ends_streams_in_order_and_a_restart_loses_nothing_ps_8030_7_1_2() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let stream = service.monitored(&mut agent, &to.set, &to).await;
    let message = service.send(&to, &[], b"unacknowledged").await;
    within(service.restart()).await;
    assert_eq!(stream.finish().await, StatusCode::OK);

    let mut agent = service.agent().await;
    let (pushes, _) = agent.fetch(&to.set).await;
    let [push] = &pushes[..] else { panic!("one push and not {pushes:?}") };
    assert_eq!((path(&push.uri), &push.body[..]), (path(&message), &b"unacknowledged"[..]));
    assert!(push.promised["link"].to_str().unwrap().contains(&to.push), "the push URI is the same after a restart");
    assert_eq!(agent.delete(&message).await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_stays_when_idle_connections_are_closed_ps_8030_3_5() {
    let service = TestService::with(Settings { idle_timeout_secs: Some(1), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut stream = service.monitored(&mut agent, &to.set, &to).await;
    for _ in 0..2 {
        // A connection without a request is closed when its time is over, one after the other.
        let mut idle = tokio::net::TcpStream::connect(service.address).await.unwrap();
        idle.write_all(&raw::http2_preface()).await.unwrap();
        raw::until_closed(&mut idle).await;
    }
    service.send(&to, &[], b"still there").await;
    assert_eq!(&stream.push().await.body[..], b"still there");
}

#[tokio::test]
async fn a_message_that_is_withdrawn_by_its_sender_is_not_delivered() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let call = service.send(&to, &[], b"Mom is calling").await;
    assert_eq!(service.delete(&call).await, StatusCode::NO_CONTENT);
    assert_eq!(service.agent().await.fetch(&to.set).await.1, StatusCode::NO_CONTENT);
    assert_eq!(service.get(&call).await.status(), StatusCode::NOT_FOUND);
}
