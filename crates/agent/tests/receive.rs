//! Messages arrive by server push, are opened or discarded, and are acknowledged.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use doorbell_agent::{Discarded, Event, Profile};
use doorbell_protocol::receipt::{OUTCOME, Outcome};
use http::Method;
use support::app::{Manner, Running, drain_many};
use support::quick;
use support::service::{Push, Service};

#[tokio::test]
async fn a_message_is_pushed_opened_handed_over_and_deleted_ua_8030_6_2_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let message = service.accept(&subscription, Push::of(&subscription, "hello").with("content-type", "text/x"));
    let got = running.message().await;
    assert_eq!(got.data.as_deref(), Some(b"hello".as_slice()));
    assert_eq!(got.content_type.as_deref(), Some("text/x"));
    assert_eq!(got.endpoint.as_str(), subscription.endpoint);
    service.until_deleted(&message).await;
    assert!(!service.seen(Method::DELETE, &message)[0].headers.contains_key(OUTCOME));
    running.stop().await;
}

#[tokio::test]
async fn what_was_stored_arrives_when_the_agent_comes_back_and_in_order() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let texts: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
    for text in &texts {
        service.send(&subscription, text);
    }
    let mut running = Running::start(agent, Manner::Takes);
    for text in &texts {
        assert_eq!(running.text().await, *text);
    }
    service.until("the store to be empty", |s| s.stored() == 0).await;
}

#[tokio::test]
async fn one_get_on_the_set_brings_the_messages_of_all_subscriptions_ua_8030_6_1_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let one = agent.subscribe(None).await.unwrap();
    let two = agent.subscribe(None).await.unwrap();
    service.send(&one, "one");
    service.send(&two, "two");
    let mut running = Running::start(agent, Manner::Takes);
    let (first, second) = (running.message().await, running.message().await);
    assert_eq!((first.endpoint.as_str(), second.endpoint.as_str()), (one.endpoint.as_str(), two.endpoint.as_str()));
    assert_eq!(service.seen(Method::GET, "/a/").len(), 1);
    assert_eq!(service.seen(Method::GET, "/s/").len(), 0);
}

#[tokio::test]
async fn without_sets_each_subscription_is_monitored() {
    let service = Service::start().await;
    service.without_sets();
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    agent.subscribe(None).await.unwrap();
    let running = Running::start(agent, Manner::Takes);
    service.until("both GETs", |s| s.count(&Method::GET, "/s/1") == 1 && s.count(&Method::GET, "/s/2") == 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_message_that_names_no_subscription_is_opened_with_the_keys_that_fit() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    let two = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    service.accept_as_it_is(Push::of(&two, "unnamed"));
    assert_eq!(running.message().await.endpoint.as_str(), two.endpoint);
}

#[tokio::test]
async fn an_empty_message_is_handed_over_without_data() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let message = service.accept(&subscription, Push::raw(""));
    assert!(running.message().await.data.is_none());
    service.until_deleted(&message).await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_acknowledged_and_never_handed_over_wa_13_ua_8188_4_1_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let other = service.agent(Profile::in_memory(), quick()).subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let foreign = Push::of(&other, "not for these keys");
    let unknown = vec![("link", "</p/999>; rel=\"urn:ietf:params:push\"".into())];
    for (push, outcome) in [
        (foreign.clone(), Outcome::Undecryptable),
        (Push { promise: unknown, ..foreign.clone() }, Outcome::Refused),
        (Push::raw("plain text"), Outcome::Undecryptable),
        (Push::raw("compressed").with("content-encoding", "gzip"), Outcome::Undecryptable),
        (Push::raw("").with("content-encoding", "aes128gcm"), Outcome::Undecryptable),
        (foreign.with("content-encoding", "aes128gcm"), Outcome::Undecryptable),
        (Push::raw(vec![7; 65 * 1024]).with("content-encoding", "aes128gcm"), Outcome::Refused),
    ] {
        let message = service.accept(&subscription, push);
        running.event(|e| matches!(e, Event::Discarded(_)).then_some(())).await;
        service.until_deleted(&message).await;
        let reported = &service.seen(Method::DELETE, &message)[0].headers;
        assert_eq!(reported[OUTCOME], outcome.as_str(), "its sender may have asked for a receipt");
    }
    service.send(&subscription, "still here");
    assert_eq!(running.text().await, "still here");
}

#[tokio::test]
async fn a_message_longer_than_the_limit_is_not_read_to_its_end() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    service.accept(&subscription, Push::raw(vec![7; 4 << 20]));
    let why = running.event(|e| if let Event::Discarded(why) = e { Some(why) } else { None }).await;
    assert_eq!(why, Discarded::TooLong(64 * 1024));
}

#[tokio::test]
async fn a_push_for_another_origin_is_refused_and_never_acknowledged() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let push = Push { authority: Some("elsewhere.example".into()), ..Push::of(&subscription, "psst") };
    let message = service.accept(&subscription, push);
    running.event(|e| matches!(e, Event::Refused(_)).then_some(())).await;
    service.send(&subscription, "next");
    assert_eq!(running.text().await, "next");
    assert!(service.seen(Method::DELETE, &message).is_empty());
}

#[tokio::test]
async fn a_push_that_is_cut_off_or_no_message_is_neither_shown_nor_acknowledged_ua_8188_4_2_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let whole = Push::of(&subscription, "whole");
    let cut = service.accept(&subscription, Push { cut_after: Some(whole.body.len() - 1), ..whole.clone() });
    let error = service.accept(&subscription, Push { status: 503, ..whole.clone() });
    for _ in 0..2 {
        running.event(|e| matches!(e, Event::Refused(_)).then_some(())).await;
    }
    service.accept(&subscription, whole);
    assert_eq!(running.text().await, "whole");
    assert!(running.is_quiet());
    assert!(service.seen(Method::DELETE, &cut).is_empty() && service.seen(Method::DELETE, &error).is_empty());
}

#[tokio::test]
async fn with_wait_0_everything_stored_arrives_even_beyond_the_limit_of_pushes_and_then_it_ends() {
    let service = Service::start().await;
    drain_many(&service).await;
    assert_eq!(service.seen(Method::GET, "/a/").last().unwrap().headers["prefer"], "wait=0");
}
