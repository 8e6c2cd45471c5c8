//! Staying connected: through cut connections, departing and dead services, and subscriptions that end.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::time::Duration;

use doorbell_agent::{Error, Event, Limits, Outcome, Profile, Urgency};
use http::{Method, Response};
use support::app::{Idle, Manner, Running, drain_many};
use support::quick;
use support::service::{Push, Service, State, problem, status};

fn disconnected(event: Event) -> Option<(Error, Duration)> {
    if let Event::Disconnected { why, wait } = event { Some((why, wait)) } else { None }
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_what_came_meanwhile_arrives() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    for round in 0..5 {
        service.until_monitored().await;
        service.cut();
        let text = format!("after cut {round}");
        service.send(&subscription, &text);
        assert_eq!(running.text().await, text);
        running.event(disconnected).await;
    }
}

#[tokio::test]
async fn a_departing_service_is_left_only_when_its_replacement_is_there_ua_8030_7_1_2() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    service.go_away();
    service.until("both connections", |s| s.monitored_on().len() == 2).await;
    let message = service.send(&subscription, "moved");
    assert_eq!(running.text().await, "moved");
    service.until_deleted(&message).await;
    let deletion = service.seen(Method::DELETE, &message).remove(0);
    assert_eq!(deletion.connection, service.seen(Method::GET, "/a/")[1].connection);
}

#[tokio::test]
async fn a_message_on_the_departing_connection_is_acknowledged_on_the_new_one() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let message = service.send(&subscription, "last words");
    service.go_away();
    assert_eq!(running.text().await, "last words");
    service.until_deleted(&message).await;
}

#[tokio::test]
async fn a_get_that_the_service_ends_is_renewed() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    for answer in [200, 204] {
        service.until_monitored().await;
        service.end_monitoring(&status(answer));
        service.until_monitored().await;
    }
    service.send(&subscription, "again");
    assert_eq!(running.text().await, "again");
}

#[tokio::test]
async fn a_peer_that_stops_answering_is_noticed_and_left() {
    let service = Service::start().await;
    let pulse = Duration::from_millis(30);
    let agent = service.agent(Profile::in_memory(), Limits { ping_interval: pulse, ping_timeout: pulse, ..quick() });
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    service.freeze();
    running.event(disconnected).await;
    service.send(&subscription, "alive");
    assert_eq!(running.text().await, "alive");
}

#[tokio::test]
async fn a_peer_that_answers_pings_is_kept() {
    let service = Service::start().await;
    let limits = Limits { ping_interval: Duration::from_millis(1), ..quick() };
    let agent = service.agent(Profile::in_memory(), limits);
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    // Far more than a millisecond of traffic.
    for n in 0..200 {
        service.send(&subscription, &format!("{n}"));
        assert_eq!(running.text().await, format!("{n}"));
    }
    assert_eq!(service.seen(Method::GET, "/a/").len(), 1);
}

#[tokio::test]
async fn a_404_or_410_means_that_the_subscription_is_gone_and_a_new_one_works_ua_8030_7_3_1() {
    for gone in [404, 410] {
        let service = Service::start().await;
        let agent = service.agent(Profile::in_memory(), quick());
        let old = agent.subscribe(None).await.unwrap();
        let mut running = Running::start(agent, Manner::Takes);
        service.until_monitored().await;
        service.end_monitoring(&problem(gone));
        let (agent, outcome) = running.end().await;
        assert_eq!(outcome.unwrap(), Outcome::Gone);
        assert_eq!(agent.subscriptions().len(), 0);
        let new = agent.subscribe(None).await.unwrap();
        assert!(new.endpoint != old.endpoint && new.keys.p256dh != old.keys.p256dh && new.keys.auth != old.keys.auth);
        let mut running = Running::start(agent, Manner::Takes);
        service.send(&new, "new life");
        assert_eq!(running.text().await, "new life");
    }
}

#[tokio::test]
async fn a_404_or_410_that_is_not_the_services_own_ends_nothing_ua_8030_7_3_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let page = |status: u16| Response::builder().status(status).body("404 page not found\n".to_owned()).unwrap();
    let json = |status: u16| Response::builder().status(status).body(r#"{"code":404}"#.to_owned()).unwrap();
    let strange = [page(404), page(410), json(404), status(404)];
    for answer in &strange {
        service.answer_once(Method::GET, "/a/", answer.clone());
    }
    let mut running = Running::start(agent, Manner::Takes);
    for _ in &strange {
        assert!(matches!(running.event(disconnected).await.0, Error::Stranger { .. }));
    }
    service.until_monitored().await;
    assert!(running.is_without(|e| matches!(e, Event::Connected)), "a connection alone is no service that answers");
    service.send(&subscription, "still here");
    assert_eq!(running.text().await, "still here");
    running.event(|e| matches!(e, Event::Connected).then_some(())).await;
    let (agent, _) = running.stop().await;
    assert!(agent.subscriptions()[0].to_push_subscription() == subscription);
}

#[tokio::test]
async fn an_unsubscribe_that_a_proxy_answers_with_404_is_repeated_ua_8030_7_3_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    service.answer_once(Method::DELETE, "/s/1", status(404));
    assert!(agent.unsubscribe(&subscription.endpoint).await.unwrap());
    let running = Running::start(agent, Manner::Takes);
    service.until("the second DELETE", |s| s.count(&Method::DELETE, "/s/1") == 2).await;
    running.stop().await;
}

#[tokio::test]
async fn where_pushes_cannot_pass_messages_come_as_events_and_pushes_are_tried_again() {
    let service = Service::start().await;
    service.without_pushes(true);
    let agent = service.agent(Profile::in_memory(), Limits { pushes_again: Duration::from_millis(300), ..quick() });
    let subscription = agent.subscribe(None).await.unwrap();
    let stored = service.send(&subscription, "stored");
    let mut running = Running::start(agent, Manner::Takes);
    assert_eq!(running.text().await, "stored");
    running.event(|e| matches!(e, Event::WithoutPushes).then_some(())).await;
    service.until_deleted(&stored).await;
    service.until_monitored().await;
    let undecryptable = service.accept(&subscription, Push::raw("plain text"));
    service.until_deleted(&undecryptable).await;
    // More than once pushes are tried in vain, which nothing reports.
    service.until("attempts with pushes", |s| s.count(&Method::GET, "/a/") >= 6).await;
    service.send(&subscription, "as an event");
    assert_eq!(running.text().await, "as an event");
    service.without_pushes(false);
    let last_get = |s: &State| s.seen.iter().rfind(|seen| seen.method == Method::GET).cloned();
    let is_pushed = |s: &State| last_get(s).is_some_and(|seen| !seen.headers.contains_key("accept"));
    service.until("a GET with pushes", |s| !s.monitored_on().is_empty() && is_pushed(s)).await;
    service.send(&subscription, "as a push");
    assert_eq!(running.text().await, "as a push");
    assert!(running.is_without(|e| !matches!(e, Event::Connected | Event::Discarded(_))), "it was reported once");
}

#[tokio::test]
async fn events_that_no_head_begins_do_not_count_as_connected() {
    let service = Service::start().await;
    // A proxy that lets no pushes pass, and whose service is silent.
    service.without_pushes(true);
    service.answer_once(Method::GET, "/a/", problem(406));
    service.ignore(Some(Method::GET));
    // Longer than a GET for pushes must be held to count as accepted.
    let limits = Limits { answer_timeout: Duration::from_millis(1200), ..quick() };
    let agent = service.agent(Profile::in_memory(), limits);
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    assert!(matches!(running.event(disconnected).await.0, Error::Timeout(..)));
    for _ in 0..2 {
        let is_end = |e| matches!(e, Event::Connected | Event::Disconnected { .. }).then_some(e);
        let next = running.event(is_end).await;
        assert!(matches!(next, Event::Disconnected { .. }), "{next:?}");
    }
    service.answer_ignored();
    running.event(|e| matches!(e, Event::Connected).then_some(())).await;
    service.send(&subscription, "still here");
    assert_eq!(running.text().await, "still here");
}

#[tokio::test]
async fn events_that_fall_silent_are_asked_for_again() {
    let service = Service::start().await;
    service.without_pushes(true);
    let limits = Limits { silence_max: Duration::from_millis(50), ..quick() };
    let agent = service.agent(Profile::in_memory(), limits);
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    // PINGs are answered all the time, and nothing comes.
    assert!(matches!(running.event(disconnected).await.0, Error::Lost(_)));
    service.send(&subscription, "still here");
    assert_eq!(running.text().await, "still here");
}

#[tokio::test]
async fn what_is_stored_is_fetched_as_events_too() {
    let service = Service::start().await;
    service.without_pushes(true);
    drain_many(&service).await;
}

#[tokio::test]
async fn a_406_that_is_not_the_services_own_is_an_error_that_may_pass() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    service.answer_once(Method::GET, "/a/", status(406));
    let mut running = Running::start(agent, Manner::Takes);
    assert!(matches!(running.event(disconnected).await.0, Error::Refused { .. }));
    service.until_monitored().await;
    assert!(!service.seen(Method::GET, "/a/")[1].headers.contains_key("accept"));
}

#[tokio::test]
async fn an_overloaded_service_is_left_alone_for_as_long_as_it_asks() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    let answer = Response::builder().status(503).header("retry-after", "90").body(String::new()).unwrap();
    service.answer_once(Method::GET, "/a/", answer);
    let mut running = Running::start(agent, Manner::Takes);
    let (why, wait) = running.event(disconnected).await;
    assert!(matches!(why, Error::Refused { status, .. } if status == 503));
    assert_eq!(wait, Duration::from_secs(90));
    running.stop().await;
}

#[tokio::test]
async fn a_redirect_of_the_monitoring_is_not_followed() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    let away = Response::builder().status(307).header("location", "/a/2").body(String::new()).unwrap();
    service.answer_once(Method::GET, "/a/", away);
    let mut running = Running::start(agent, Manner::Takes);
    assert!(matches!(running.event(disconnected).await.0, Error::Refused { .. }));
    service.until_monitored().await;
    assert!(service.seen(Method::GET, "/a/2").is_empty());
}

#[tokio::test]
async fn the_urgency_is_sent_and_a_change_while_receiving_reaches_the_service_at_once_ua_8030_5_3_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    running.agent().set_urgency(Some(Urgency::High));
    service.until("a second GET", |s| s.count(&Method::GET, "/a/") == 2).await;
    running.agent().set_urgency(Some(Urgency::Low));
    service.until("a third GET", |s| s.count(&Method::GET, "/a/") == 3).await;
    let urgencies: Vec<_> =
        service.seen(Method::GET, "/a/").iter().map(|s| s.headers.get("urgency").cloned()).collect();
    assert_eq!(urgencies, [None, Some("high".parse().unwrap()), Some("low".parse().unwrap())]);
    service.send(&subscription, "still there");
    assert_eq!(running.text().await, "still there");
}

#[tokio::test]
async fn many_changes_of_the_urgency_soon_after_connecting_reach_the_service_at_once_ua_8030_5_3_1() {
    let service = Service::start().await;
    let Limits { reconnect, steady_after, .. } = Limits::default();
    let agent = service.agent(Profile::in_memory(), Limits { reconnect, steady_after, ..quick() });
    let subscription = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    // With the waits between failures, the last ones alone would take minutes.
    for n in 1..=12 {
        running.agent().set_urgency(Some(if n % 2 == 0 { Urgency::Low } else { Urgency::High }));
        service.until("another GET", |s| s.count(&Method::GET, "/a/") == n + 1).await;
    }
    service.send(&subscription, "still there");
    assert_eq!(running.text().await, "still there");
    // The changes did not count as failures: the wait after the first failure is that of the first.
    service.cut();
    assert!(running.event(disconnected).await.1 <= reconnect.first);
}

#[tokio::test]
async fn fetching_what_is_stored_fails_when_the_service_does() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    service.answer_once(Method::GET, "/a/", status(503));
    let mut running = Running::drain(agent, Manner::Takes);
    assert!(matches!(running.end().await.1, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn a_service_that_ignores_wait_0_does_not_hold_the_agent_forever() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    service.agent(Profile::open(folder.path()).unwrap(), quick()).subscribe(None).await.unwrap();
    service.ignore(Some(Method::GET));
    let limits = Limits { answer_timeout: Duration::from_millis(20), ..quick() };
    let agent = service.agent(Profile::open(folder.path()).unwrap(), limits);
    let mut running = Running::drain(agent, Manner::Takes);
    assert!(matches!(running.end().await.1, Err(Error::Timeout(..))));
}

#[tokio::test]
async fn without_a_subscription_and_a_handle_that_could_add_one_there_is_nothing_to_receive() {
    let service = Service::start().await;
    let Idle { agent, driver } = service.agent(Profile::in_memory(), quick());
    drop(agent);
    let mut running = Running::start_without_handle(driver, Manner::Takes);
    assert!(matches!(running.outcome().await, Err(Error::NotSubscribed)));
    let mut running = Running::drain(service.agent(Profile::in_memory(), quick()), Manner::Takes);
    assert!(matches!(running.end().await.1, Err(Error::NotSubscribed)));
}

#[tokio::test]
async fn a_full_inbox_is_emptied_over_a_new_connection() {
    let service = Service::start().await;
    let limits = Limits { owed_max: 2, waiting_max: 1, answer_timeout: Duration::from_millis(50), ..quick() };
    let agent = service.agent(Profile::in_memory(), limits);
    let subscription = agent.subscribe(None).await.unwrap();
    service.ignore(Some(Method::DELETE));
    let expected: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
    for text in &expected {
        service.send(&subscription, text);
    }
    let mut running = Running::start(agent, Manner::Takes);
    let mut got = running.texts(2).await;
    service.cut();
    service.until("a second GET", |s| s.count(&Method::GET, "/a/") == 2).await;
    service.answer_ignored();
    got.extend(running.texts(28).await);
    assert_eq!(got, expected);
    service.until("the store to be empty", |s| s.stored() == 0).await;
}
