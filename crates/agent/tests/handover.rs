//! Between arrival and acknowledgement: nothing is handed over twice, nothing is acknowledged that the app does not have.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::path::Path;

use doorbell_agent::{Error, Event, Limits, Outcome, Profile, ProfileError};
use doorbell_protocol::receipt::OUTCOME;
use http::Method;
use support::app::{Idle, Manner, Running};
use support::quick;
use support::service::{Service, problem, status};

fn agent_in(folder: &Path, service: &Service) -> Idle {
    service.agent(Profile::open(folder).unwrap(), quick())
}

#[tokio::test]
async fn keys_and_subscription_outlive_a_restart() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let subscription = agent_in(folder.path(), &service).subscribe(None).await.unwrap();
    service.send(&subscription, "while away");
    let agent = agent_in(folder.path(), &service);
    assert!(agent.subscriptions()[0].to_push_subscription() == subscription);
    assert_eq!(Running::start(agent, Manner::Takes).text().await, "while away");
    assert_eq!(service.seen(Method::POST, "/subscribe").len(), 1);
}

#[tokio::test]
async fn a_crash_between_hand_over_and_acknowledgement_hands_no_message_over_twice_ua_8030_6_2_2() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = agent_in(folder.path(), &service);
    let subscription = agent.subscribe(None).await.unwrap();
    service.ignore(Some(Method::DELETE));
    let first = service.send(&subscription, "first");
    let mut running = Running::start(agent, Manner::Takes);
    assert_eq!(running.text().await, "first");
    service.until("the DELETE", |s| s.count(&Method::DELETE, &first) == 1).await;
    running.kill().await;

    service.ignore(None);
    service.send(&subscription, "second");
    let mut running = Running::start(agent_in(folder.path(), &service), Manner::Takes);
    assert_eq!(running.text().await, "second");
    service.until_deleted(&first).await;
    assert!(running.is_quiet());
}

#[tokio::test]
async fn a_crash_before_the_hand_over_brings_the_message_again_ua_8030_6_2_2() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = agent_in(folder.path(), &service);
    let subscription = agent.subscribe(None).await.unwrap();
    let message = service.send(&subscription, "important");
    let mut running = Running::start(agent, Manner::Hangs);
    assert_eq!(running.text().await, "important");
    running.kill().await;
    assert!(service.seen(Method::DELETE, &message).is_empty());
    let mut running = Running::start(agent_in(folder.path(), &service), Manner::Takes);
    assert_eq!(running.text().await, "important");
    service.until_deleted(&message).await;
}

#[tokio::test]
async fn an_agent_that_is_stopped_leaves_the_unfinished_message_for_the_next_run() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let message = service.send(&subscription, "unfinished");
    let mut running = Running::start(agent, Manner::Hangs);
    running.message().await;
    let (agent, outcome) = running.stop().await;
    assert_eq!(outcome, Outcome::Stopped);
    assert!(service.seen(Method::DELETE, &message).is_empty());
    assert_eq!(Running::start(agent, Manner::Takes).text().await, "unfinished");
}

#[tokio::test]
async fn a_failing_app_gets_the_message_three_times_and_then_it_is_refused_wa_14() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let message = service.send(&subscription, "too much");
    let mut running = Running::start(agent, Manner::FailsFirst(usize::MAX));
    for last in [false, false, true] {
        assert_eq!(running.text().await, "too much");
        let given_up =
            running.event(|e| if let Event::Failed { given_up, .. } = e { Some(given_up) } else { None }).await;
        assert_eq!(given_up, last);
    }
    service.until_deleted(&message).await;
    assert_eq!(service.seen(Method::DELETE, &message)[0].headers[OUTCOME], "refused", "the app did not take it");
    assert!(running.is_quiet());
}

#[tokio::test]
async fn an_app_that_recovers_loses_nothing_and_is_acknowledged_once_wa_14_wa_15() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let one = service.send(&subscription, "one");
    let two = service.send(&subscription, "two");
    let mut running = Running::start(agent, Manner::FailsFirst(2));
    let mut attempts = running.texts(4).await;
    attempts.dedup();
    assert_eq!(attempts, ["one", "two"]);
    for message in [one, two] {
        service.until_deleted(&message).await;
        let deletions = service.seen(Method::DELETE, &message);
        assert_eq!(deletions.len(), 1);
        assert!(!deletions[0].headers.contains_key(OUTCOME), "it was delivered");
    }
}

#[tokio::test]
async fn an_acknowledgement_that_fails_is_sent_again_ua_8030_6_2_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    for answer in [503, 429, 500, 404, 410] {
        service.answer_once(Method::DELETE, "/m/", status(answer));
    }
    let message = service.send(&subscription, "once");
    let mut running = Running::start(agent, Manner::Takes);
    assert_eq!(running.text().await, "once");
    service.until_deleted(&message).await;
    assert_eq!(service.seen(Method::DELETE, &message).len(), 6, "a 404 of a proxy is no answer of the service");
    assert!(running.is_quiet());
}

#[tokio::test]
async fn no_404_of_a_proxy_settles_an_acknowledgement_while_the_service_is_away_ua_8030_6_2_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), Limits { doubts_max: 5, ..quick() });
    let subscription = agent.subscribe(None).await.unwrap();
    service.ignore(Some(Method::DELETE));
    let message = service.send(&subscription, "once");
    let mut running = Running::start(agent, Manner::Takes);
    assert_eq!(running.text().await, "once");
    service.until("a DELETE", |s| s.count(&Method::DELETE, &message) == 1).await;
    for _ in 0..100 {
        service.answer_once(Method::GET, "/a/", status(404));
    }
    for _ in 0..20 {
        service.answer_once(Method::DELETE, "/m/", status(404));
    }
    service.cut();
    service.until("many 404s", |s| s.count(&Method::DELETE, &message) > 20).await;
    service.answer_ignored();
    service.until_deleted(&message).await;
}

#[tokio::test]
async fn the_old_keys_go_only_when_a_new_subscription_takes_their_place() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = agent_in(folder.path(), &service);
    let old = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    service.end_monitoring(&problem(404));
    let (agent, outcome) = running.end().await;
    assert_eq!(outcome.unwrap(), Outcome::Gone);
    drop((agent, running));

    // The process ended before it had a new one.
    let agent = agent_in(folder.path(), &service);
    assert!(agent.subscriptions()[0].to_push_subscription() == old);
    service.answer_once(Method::GET, "/a/", problem(410));
    let (agent, outcome) = Running::start(agent, Manner::Takes).end().await;
    assert_eq!(outcome.unwrap(), Outcome::Gone);
    service.answer_once(Method::POST, "/subscribe", status(503));
    assert!(agent.subscribe(None).await.is_err());
    let new = agent.subscribe(None).await.unwrap();
    drop(agent);
    let kept: Vec<_> = agent_in(folder.path(), &service).subscriptions().iter().map(|s| s.endpoint().clone()).collect();
    assert_eq!(kept, [new.endpoint.parse().unwrap()]);
}

#[tokio::test]
async fn a_redelivery_over_a_new_connection_is_not_handed_over_but_acknowledged_again() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    service.answer_once(Method::DELETE, "/m/", status(204));
    let message = service.send(&subscription, "shown once");
    let mut running = Running::start(agent, Manner::Takes);
    assert_eq!(running.text().await, "shown once");
    service.until("the DELETE", |s| s.count(&Method::DELETE, &message) == 1).await;
    service.cut();
    service.until_deleted(&message).await;
    assert!(running.is_quiet());
}

#[tokio::test]
async fn an_app_that_has_enough_ends_it_with_everything_acknowledged() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    for text in ["1", "2", "3"] {
        service.send(&subscription, text);
    }
    let mut running = Running::start(agent, Manner::TakesOnly(2));
    let (_, outcome) = running.end().await;
    assert_eq!(outcome.unwrap(), Outcome::Enough);
    assert_eq!(running.texts(2).await, ["1", "2"]);
    assert_eq!(service.seen(Method::DELETE, "/m/").len(), 2);
}

#[tokio::test]
async fn an_unsubscribe_that_fails_at_the_service_is_repeated_by_the_next_run_wa_11() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = agent_in(folder.path(), &service);
    let old = agent.subscribe(None).await.unwrap();
    agent.subscribe(None).await.unwrap();
    service.answer_once(Method::DELETE, "/s/1", status(503));
    assert!(agent.unsubscribe(&old.endpoint).await.unwrap());
    drop(agent);
    let running = Running::start(agent_in(folder.path(), &service), Manner::Takes);
    service.until("the second DELETE", |s| s.count(&Method::DELETE, "/s/1") == 2).await;
    running.stop().await;
}

#[tokio::test]
async fn a_profile_that_cannot_be_written_ends_it_before_anything_is_acknowledged() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = agent_in(folder.path(), &service);
    let subscription = agent.subscribe(None).await.unwrap();
    // A folder in the file's place stops even root from writing.
    let file = folder.path().join("profile.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let message = service.send(&subscription, "not kept");
    let mut running = Running::start(agent, Manner::Takes);
    let (_, outcome) = running.end().await;
    assert!(matches!(outcome, Err(Error::Profile(ProfileError::Io { .. }))));
    assert!(service.seen(Method::DELETE, &message).is_empty());
}
