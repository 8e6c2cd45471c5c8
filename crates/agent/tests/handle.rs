//! The handle while the driver receives: subscriptions come and go, and dropped calls leave nothing half-done.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use doorbell_agent::{App, Backoff, Error, Event, Limits, Message, Outcome, Profile, Urgency, Url, app_fn};
use http::Method;
use support::app::{Idle, Manner, Running};
use support::service::{Push, Seen, Service, problem, status};
use support::{quick, soon};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

fn connected(event: Event) -> Option<()> {
    matches!(event, Event::Connected).then_some(())
}

/// Polls a call once, so that it has begun.
async fn begin<T>(call: &mut (impl Future<Output = T> + Unpin)) {
    tokio::select! {
        biased;
        _ = call => panic!("the call is over already"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_driver_that_started_without_a_subscription_receives_for_the_first_one() {
    let service = Service::start().await;
    let mut running = Running::start(service.agent(Profile::in_memory(), quick()), Manner::Takes);
    let subscription = running.agent().subscribe(None).await.unwrap();
    service.until_monitored().await;
    let message = service.send(&subscription, "first");
    assert_eq!(running.text().await, "first");
    service.until_deleted(&message).await;
}

#[tokio::test]
async fn a_subscription_that_joins_a_monitored_set_is_received_on_the_same_get() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let second = running.agent().subscribe(None).await.unwrap();
    service.send(&second, "for the second");
    let message = running.message().await;
    assert_eq!(message.endpoint.as_str(), second.endpoint);
    assert_eq!(service.seen(Method::GET, "/").len(), 1);
}

#[tokio::test]
async fn without_sets_a_new_subscription_is_monitored_at_once_and_a_left_one_no_longer() {
    let service = Service::start().await;
    service.without_sets();
    let agent = service.agent(Profile::in_memory(), quick());
    let first = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    running.event(connected).await;
    let second = running.agent().subscribe(None).await.unwrap();
    service.until("both GETs", |s| s.monitored_on().len() == 2).await;
    service.send(&second, "second");
    assert_eq!(running.text().await, "second");
    assert!(running.agent().unsubscribe(&first.endpoint).await.unwrap());
    service.until("one GET", |s| s.monitored_on().len() == 1).await;
    service.send(&second, "second again");
    assert_eq!(running.text().await, "second again");
    assert_eq!(service.seen(Method::DELETE, "/s/").len(), 1);
    assert_eq!(service.seen(Method::GET, "/s/1").len(), 1, "the GET of the second was not disturbed");
    assert_eq!(service.seen(Method::GET, "/s/2").len(), 1);
}

#[tokio::test]
async fn a_set_without_subscriptions_is_not_monitored_and_a_new_subscription_is_received_again() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let old = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    assert!(running.agent().unsubscribe(&old.endpoint).await.unwrap());
    service.until("the end of the GET", |s| s.monitored_on().is_empty()).await;
    let new = running.agent().subscribe(None).await.unwrap();
    service.until_monitored().await;
    service.send(&new, "new");
    assert_eq!(running.text().await, "new");
}

#[tokio::test]
async fn a_message_that_failed_does_not_come_again_after_its_subscription_was_left() {
    let service = Service::start().await;
    let at_once = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
    let Idle { agent, mut driver } =
        service.agent(Profile::in_memory(), Limits { redeliver: at_once, attempts_max: 1000, ..quick() });
    let (left, kept) = (agent.subscribe(None).await.unwrap(), agent.subscribe(None).await.unwrap());
    service.send(&left, "fails");
    service.send(&kept, "is handled");
    let attempts = Arc::new(AtomicUsize::new(0));
    let (handle, counter) = (agent.clone(), Arc::clone(&attempts));
    let (handled, is_handled) = oneshot::channel();
    let mut handled = Some(handled);
    let app = app_fn(move |message: Message| {
        let (handle, attempt) = (handle.clone(), counter.fetch_add(1, Ordering::Relaxed));
        let handled = handled.take_if(|_| attempt > 0);
        async move {
            let Some(handled) = handled else {
                handle.unsubscribe(message.endpoint.as_str()).await.unwrap();
                return Err("not now");
            };
            let _ = handled.send(message);
            Ok(())
        }
    });
    let stop = async {
        assert_eq!(is_handled.await.unwrap().endpoint.as_str(), kept.endpoint);
    };
    assert_eq!(soon("the end", driver.run(app, stop)).await.unwrap(), Outcome::Stopped);
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_unsubscribe_that_fails_at_the_service_is_repeated_by_the_driver_that_runs() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let (left, kept) = (agent.subscribe(None).await.unwrap(), agent.subscribe(None).await.unwrap());
    let mut running = Running::start(agent, Manner::Takes);
    running.event(connected).await;
    service.answer_once(Method::DELETE, "/s/1", status(503));
    assert!(running.agent().unsubscribe(&left.endpoint).await.unwrap());
    service.until("the second DELETE", |s| s.count(&Method::DELETE, "/s/1") == 2).await;
    service.send(&kept, "kept");
    assert_eq!(running.text().await, "kept");
}

#[tokio::test]
async fn a_message_for_a_subscription_that_was_just_left_is_neither_handed_over_nor_acknowledged() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let (left, kept) = (agent.subscribe(None).await.unwrap(), agent.subscribe(None).await.unwrap());
    let mut running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    service.answer_once(Method::DELETE, "/s/1", status(503));
    assert!(running.agent().unsubscribe(&left.endpoint).await.unwrap());
    let too_long = Push::raw(vec![0; Limits::default().body_bytes_max + 1]);
    let repeated = Push::of(&left, "a header twice").with("content-encoding", "aes128gcm");
    let late = [service.send(&left, "late"), service.accept(&left, too_long), service.accept(&left, repeated)];
    let message = service.send(&kept, "kept");
    assert_eq!(running.text().await, "kept");
    service.until_deleted(&message).await;
    assert!(running.is_without(|event| matches!(event, Event::Discarded(_))));
    for message in late {
        assert!(service.seen(Method::DELETE, &message).is_empty());
    }
}

/// Drains an agent whose app leaves its only subscription when it has a message; returns the message's path.
async fn drain_and_leave(service: &Service) -> String {
    let Idle { agent, mut driver } = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let message = service.send(&subscription, "the last one");
    let app = app_fn(move |message: Message| {
        let agent = agent.clone();
        async move { agent.unsubscribe(message.endpoint.as_str()).await.map(drop) }
    });
    assert_eq!(soon("the end", driver.drain(app, std::future::pending())).await.unwrap(), Outcome::Drained);
    message
}

#[tokio::test]
async fn an_app_that_leaves_its_last_subscription_while_it_fetches_what_is_stored_comes_to_an_end() {
    let service = Service::start().await;
    let message = drain_and_leave(&service).await;
    assert_eq!(service.seen(Method::DELETE, &message).len(), 1);
    assert_eq!(service.seen(Method::DELETE, "/s/1").len(), 1);
}

#[tokio::test]
async fn it_comes_to_an_end_also_if_the_service_does_not_delete_what_is_owed() {
    let service = Service::start().await;
    service.answer_once(Method::DELETE, "/m/", status(503));
    service.answer_once(Method::DELETE, "/s/1", status(503));
    drain_and_leave(&service).await;
}

#[tokio::test]
async fn the_last_subscription_that_is_left_while_the_service_fails_is_removed_by_the_driver_that_runs() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    let running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    for _ in 0..3 {
        service.answer_once(Method::DELETE, "/s/1", status(503));
    }
    assert!(running.agent().unsubscribe(&subscription.endpoint).await.unwrap());
    service.until("the fourth DELETE", |s| s.count(&Method::DELETE, "/s/1") == 4).await;
}

#[tokio::test]
async fn the_last_subscription_that_was_left_is_removed_by_the_next_process_once() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = service.agent(Profile::open(folder.path()).unwrap(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    service.answer_once(Method::DELETE, "/s/1", status(503));
    assert!(agent.unsubscribe(&subscription.endpoint).await.unwrap());
    drop(agent);
    for expected in [2, 2] {
        let Idle { agent, driver } = service.agent(Profile::open(folder.path()).unwrap(), quick());
        drop(agent);
        let mut running = Running::start_without_handle(driver, Manner::Takes);
        assert!(matches!(running.outcome().await, Err(Error::NotSubscribed)));
        assert_eq!(service.seen(Method::DELETE, "/s/1").len(), expected);
    }
}

#[tokio::test]
async fn the_urgency_counts_for_subscriptions_that_are_added_later_too() {
    let service = Service::start().await;
    service.without_sets();
    let running = Running::start(service.agent(Profile::in_memory(), quick()), Manner::Takes);
    let agent = running.agent();
    agent.set_urgency(Some(Urgency::High));
    assert_eq!(agent.urgency(), Some(Urgency::High));
    agent.subscribe(None).await.unwrap();
    service.until_monitored().await;
    assert_eq!(service.seen(Method::GET, "/s/1")[0].headers["urgency"], "high");
    // Set again to the same, it does not disturb the GET.
    agent.set_urgency(Some(Urgency::High));
    agent.subscribe(None).await.unwrap();
    service.until("the second GET", |s| s.count(&Method::GET, "/s/2") == 1).await;
    assert_eq!(service.seen(Method::GET, "/s/1").len(), 1);
}

#[tokio::test]
async fn an_app_that_goes_on_keeps_receiving_when_the_service_ends_a_subscription() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let old = agent.subscribe(None).await.unwrap();
    let mut running = Running::start(agent, Manner::GoesOn);
    service.until_monitored().await;
    service.end_monitoring(&problem(410));
    let ended: Vec<String> = running.ended().await.into_iter().map(String::from).collect();
    assert_eq!(ended, [old.endpoint]);
    assert!(running.agent().subscriptions().is_empty());
    let new = running.agent().subscribe(None).await.unwrap();
    service.until_monitored().await;
    service.send(&new, "new");
    assert_eq!(running.text().await, "new");
}

/// Fails until the service has ended the subscription.
struct FailsUntilEnded {
    has_ended: bool,
    attempted: mpsc::UnboundedSender<()>,
    handled: mpsc::UnboundedSender<Message>,
}

impl App for FailsUntilEnded {
    type Failure = &'static str;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, &'static str> {
        let _ = self.attempted.send(());
        if !self.has_ended {
            return Err("not now");
        }
        let _ = self.handled.send(message.clone());
        Ok(ControlFlow::Continue(()))
    }

    fn event(&mut self, _: Event) {}

    fn ended(&mut self, _: &[Url]) -> ControlFlow<()> {
        self.has_ended = true;
        ControlFlow::Continue(())
    }
}

#[tokio::test]
async fn a_message_that_came_before_the_service_ended_its_subscription_is_still_handed_over() {
    let service = Service::start().await;
    let soon_again = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(1) };
    let limits = Limits { redeliver: soon_again, attempts_max: u32::MAX, ..quick() };
    let Idle { agent, mut driver } = service.agent(Profile::in_memory(), limits);
    let subscription = agent.subscribe(None).await.unwrap();
    let (attempted, mut attempts) = mpsc::unbounded_channel();
    let (handled, mut messages) = mpsc::unbounded_channel();
    let app = FailsUntilEnded { has_ended: false, attempted, handled };
    let script = async {
        service.until_monitored().await;
        service.send(&subscription, "last words");
        attempts.recv().await.unwrap();
        service.end_monitoring(&problem(404));
        assert_eq!(messages.recv().await.unwrap().data.as_deref(), Some(b"last words".as_slice()));
    };
    assert_eq!(soon("the end", driver.run(app, script)).await.unwrap(), Outcome::Stopped);
    assert!(agent.subscriptions().is_empty());
}

#[tokio::test]
async fn a_call_from_within_the_app_does_not_wait_for_the_driver() {
    let service = Service::start().await;
    let Idle { agent, mut driver } = service.agent(Profile::in_memory(), quick());
    let first = agent.subscribe(None).await.unwrap();
    service.send(&first, "subscribe once more");
    let (handle, (done, is_done)) = (agent.clone(), oneshot::channel());
    let mut done = Some(done);
    let app = app_fn(move |_: Message| {
        let (handle, done) = (handle.clone(), done.take());
        async move {
            let subscription = handle.subscribe(None).await?;
            let _ = done.expect("one message").send(subscription);
            Ok::<_, Error>(())
        }
    });
    let stop = async {
        assert!(is_done.await.unwrap().endpoint != first.endpoint);
    };
    assert_eq!(soon("the end", driver.run(app, stop)).await.unwrap(), Outcome::Stopped);
    assert_eq!(agent.subscriptions().len(), 2);
}

#[tokio::test]
async fn a_subscribe_that_is_dropped_before_the_service_answers_is_removed_again() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = service.agent(Profile::open(folder.path()).unwrap(), quick());
    service.ignore(Some(Method::POST));
    let mut call = Box::pin(agent.subscribe(None));
    begin(&mut call).await;
    service.until("the POST", |s| s.count(&Method::POST, "/subscribe") == 1).await;
    drop(call);
    service.answer_ignored();
    service.until("the DELETE", |s| s.count(&Method::DELETE, "/s/1") == 1).await;
    assert!(agent.subscriptions().is_empty());
    let kept = agent.subscribe(None).await.unwrap();
    assert_eq!(agent.subscriptions().len(), 1);
    assert!(kept.endpoint.ends_with("/p/2"));
}

#[tokio::test]
async fn a_subscribe_that_is_dropped_after_it_was_granted_is_removed_again() {
    let service = Service::start().await;
    let running = Running::start(service.agent(Profile::in_memory(), quick()), Manner::Takes);
    let agent = running.agent();
    let mut call = Box::pin(agent.subscribe(None));
    begin(&mut call).await;
    // The driver monitors it: it is granted and in the profile, and its caller has not looked yet.
    service.until_monitored().await;
    assert_eq!(agent.subscriptions().len(), 1);
    drop(call);
    service.until("the DELETE", |s| s.count(&Method::DELETE, "/s/1") == 1).await;
    assert!(agent.subscriptions().is_empty());
    service.until("the end of the GET", |s| s.monitored_on().is_empty()).await;
}

#[tokio::test]
async fn an_unsubscribe_that_is_dropped_is_carried_out() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    service.ignore(Some(Method::DELETE));
    let mut call = Box::pin(agent.unsubscribe(&subscription.endpoint));
    begin(&mut call).await;
    assert!(agent.subscriptions().is_empty(), "at once");
    drop(call);
    service.until("the DELETE", |s| s.count(&Method::DELETE, "/s/1") == 1).await;
}

#[tokio::test]
async fn subscriptions_at_the_same_time_go_into_one_set_and_keep_the_bound() {
    let service = Service::start().await;
    let limits = Limits { subscriptions_max: 3, ..quick() };
    let agent = service.agent(Profile::in_memory(), limits);
    let calls = (0..4).map(|_| {
        let agent = agent.agent.clone();
        async move { agent.subscribe(None).await }
    });
    let results: Vec<_> = calls.collect::<JoinSet<_>>().join_all().await;
    assert_eq!(results.iter().filter(|r| matches!(r, Err(Error::TooManySubscriptions(3)))).count(), 1);
    let named = |s: &Seen| s.headers.contains_key("link");
    assert_eq!(service.seen(Method::POST, "/subscribe").iter().filter(|s| named(s)).count(), 2);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_written_down_is_removed_at_the_service() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = service.agent(Profile::open(folder.path()).unwrap(), quick());
    // A folder in the file's place stops even root from writing.
    std::fs::create_dir(folder.path().join("profile.json")).unwrap();
    assert!(matches!(agent.subscribe(None).await, Err(Error::Profile(_))));
    assert!(agent.subscriptions().is_empty());
    service.until("the DELETE", |s| s.count(&Method::DELETE, "/s/1") == 1).await;
}

#[tokio::test]
async fn with_too_many_deletions_outstanding_nothing_is_subscribed() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), Limits { owed_max: 1, ..quick() });
    let subscription = agent.subscribe(None).await.unwrap();
    service.answer_once(Method::DELETE, "/s/1", status(503));
    assert!(agent.unsubscribe(&subscription.endpoint).await.unwrap());
    assert!(matches!(agent.subscribe(None).await, Err(Error::TooManyDeletions(1))));
}

#[tokio::test]
async fn after_the_driver_has_ended_calls_work_and_the_next_run_receives() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let first = agent.subscribe(None).await.unwrap();
    let running = Running::start(agent, Manner::Takes);
    service.until_monitored().await;
    let (agent, outcome) = running.stop().await;
    assert_eq!(outcome, Outcome::Stopped);
    let second = agent.subscribe(None).await.unwrap();
    assert!(agent.unsubscribe(&first.endpoint).await.unwrap());
    service.send(&second, "while no driver ran");
    let mut running = Running::start(agent, Manner::Takes);
    assert_eq!(running.text().await, "while no driver ran");
}

#[tokio::test]
async fn without_a_driver_a_subscription_is_kept_for_the_next_process() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let Idle { agent, driver } = service.agent(Profile::open(folder.path()).unwrap(), quick());
    drop(driver);
    let subscription = agent.subscribe(None).await.unwrap();
    drop(agent);
    service.send(&subscription, "for the next process");
    let mut running = Running::start(service.agent(Profile::open(folder.path()).unwrap(), quick()), Manner::Takes);
    assert_eq!(running.text().await, "for the next process");
}

#[tokio::test]
async fn a_driver_whose_last_handle_is_dropped_receives_for_what_is_subscribed() {
    let service = Service::start().await;
    let Idle { agent, driver } = service.agent(Profile::in_memory(), quick());
    let subscription = agent.subscribe(None).await.unwrap();
    drop(agent);
    let mut running = Running::start_without_handle(driver, Manner::Takes);
    service.until_monitored().await;
    service.send(&subscription, "still there");
    assert_eq!(running.text().await, "still there");
}
