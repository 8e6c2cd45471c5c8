//! Wall clocks that jump, under the real binary: nothing is lost, nothing is refused for it, and no token is judged for
//! good by a clock that is wrong. Debian's `faketime` moves the wall clock; the monotonic clocks stay right.
//!
//! `DOORBELL_ROUNDS=100` runs more rounds of the crash test than CI has time for.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod doors;
mod rounds;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use doorbell_protocol::problem::errno;
use doorbell_protocol::vapid::sign::SigningKey;
use http::{Method, StatusCode};
use support::clock::{Deadline, Stopwatch, now};
use support::{FalseClock, Peer, Reply, Service};

const JUMPED: &str = "the wall clock has jumped";

async fn push(service: &Service, to: &str, ttl: &str) -> Reply {
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    peer.request(Method::POST, to, &[("ttl", ttl)], b"x").await.unwrap()
}

/// A push with a token that expires in an hour.
async fn signed_push(service: &Service, to: &str) -> Reply {
    let key = SigningKey::generate().unwrap();
    let origin = format!("http://{}", service.authority());
    let token = key.sign(&origin, now().plus(Duration::from_secs(3600)), None).unwrap();
    let credentials = format!("vapid t={token}, k={}", key.public_key().to_base64url());
    let headers = [("ttl", "60"), ("authorization", &*credentials)];
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    peer.request(Method::POST, to, &headers, b"signed").await.unwrap()
}

/// The bodies that wait for a subscription, which are acknowledged.
async fn taken(service: &Service, subscription: &str) -> Vec<String> {
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    let mut pushes = peer.monitor(subscription, false).await.unwrap();
    let mut taken = Vec::new();
    while let Some(push) = pushes.recv().await {
        taken.push(String::from_utf8(push.reply.body.to_vec()).unwrap());
        peer.request(Method::DELETE, &push.path, &[], b"").await.unwrap();
    }
    taken
}

async fn is_there(service: &Service, message: &str) -> bool {
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    peer.request(Method::GET, message, &[], b"").await.unwrap().status == StatusCode::OK
}

#[tokio::test]
async fn a_clock_that_is_set_back_five_minutes_refuses_no_push_and_keeps_no_message_longer_ps_8030_5_2_7_and_8_4_3() {
    let Some(clock) = FalseClock::new() else { return };
    let service = Service::start_by(&clock, &["--rate-per-subscription", "60"]);
    let made = Peer::connect_plain(&service.authority()).await.unwrap().subscribe().await;
    for _ in 0..30 {
        assert_eq!(push(&service, &made.push, "600").await.status, StatusCode::CREATED);
    }
    let short = push(&service, &made.push, "3").await.location();
    let since = Stopwatch::start();
    clock.show("-300");
    assert!(service.prints(JUMPED).contains("WARN"));
    for _ in 0..20 {
        assert_eq!(push(&service, &made.push, "600").await.status, StatusCode::CREATED);
    }
    let deadline = Deadline::soon();
    while is_there(&service, &short).await {
        assert!(!deadline.left().is_zero(), "a message with a TTL of 3 s is still there");
    }
    assert!(since.millis() >= 2_900, "its TTL was not cut");

    // A limit is still one, and what its answer says is true.
    let refused = loop {
        let reply = push(&service, &made.push, "0").await;
        if reply.status != StatusCode::CREATED {
            break reply;
        }
    };
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_clock_that_is_a_hundred_days_ahead_for_some_seconds_deletes_no_agent_and_no_message_ps_8030_7_3_1() {
    let Some(clock) = FalseClock::new() else { return };
    let mut service = Service::start_by(&clock, &[]);
    let made = Peer::connect_plain(&service.authority()).await.unwrap().subscribe().await;
    assert_eq!(push(&service, &made.push, "86400").await.status, StatusCode::CREATED);
    clock.show("+100d");
    service.prints(JUMPED);
    // One that expires meanwhile shows that the sweep has run in these hundred days.
    let short = push(&service, &made.push, "1").await.location();
    let deadline = Deadline::soon();
    while is_there(&service, &short).await {
        assert!(!deadline.left().is_zero(), "TTLs run on");
    }
    let kept = signed_push(&service, &made.push).await;
    assert_eq!(kept.status, StatusCode::TOO_MANY_REQUESTS, "a token is not judged for good by a clock that has jumped");
    clock.show("+0");
    assert_eq!(taken(&service, &made.subscription).await, ["x"]);
    assert_eq!(push(&service, &made.push, "86400").await.status, StatusCode::CREATED);

    service.ends();
    clock.show("+100d");
    service.start_again();
    assert_eq!(taken(&service, &made.subscription).await, ["x"], "the machine has run for a second meanwhile");
}

#[tokio::test]
async fn a_boot_in_1970_loses_nothing_and_no_sender_gives_up_ps_8030_5_2() {
    let Some(clock) = FalseClock::new() else { return };
    let mut service = Service::start_by(&clock, &[]);
    let made = Peer::connect_plain(&service.authority()).await.unwrap().subscribe().await;
    assert_eq!(signed_push(&service, &made.push).await.status, StatusCode::CREATED);
    service.ends();
    clock.show("-56y");
    service.start_again();
    service.prints("the wall clock is wrong");
    let refused = signed_push(&service, &made.push).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "60");
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["errno"], errno::CLOCK, "{problem}");
    assert_eq!(push(&service, &made.push, "600").await.status, StatusCode::CREATED, "without a token");

    clock.show("+0");
    service.prints(JUMPED);
    assert_eq!(signed_push(&service, &made.push).await.status, StatusCode::CREATED);
    service.kill();
    service.start_again();
    let mut all = taken(&service, &made.subscription).await;
    all.sort();
    assert_eq!(all, ["signed", "signed", "x"], "what came before, in 1970 and after it");
}

#[tokio::test]
async fn the_token_of_a_sender_whose_own_clock_is_wrong_is_still_refused_for_good_ps_8292_2_4() {
    let Some(clock) = FalseClock::new() else { return };
    // Our clock is right here: the sender's is a day behind.
    let service = Service::start_by(&clock, &[]);
    let made = Peer::connect_plain(&service.authority()).await.unwrap().subscribe().await;
    let key = SigningKey::generate().unwrap();
    let origin = format!("http://{}", service.authority());
    let token = key.sign(&origin, now().minus(Duration::from_secs(60)), None).unwrap();
    let credentials = format!("vapid t={token}, k={}", key.public_key().to_base64url());
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    let headers = [("ttl", "60"), ("authorization", &*credentials)];
    assert_eq!(peer.request(Method::POST, &made.push, &headers, b"").await.unwrap().status, StatusCode::FORBIDDEN);
}
