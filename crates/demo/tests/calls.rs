//! What rings, what stops ringing, and who may act for whom: without a browser, against a push service of paper.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Browser, PushService, Running};

const LONG: Duration = Duration::from_secs(60);

async fn setting(rings_for: Duration) -> (PushService, Running) {
    let push = PushService::open().await;
    let running = Running::ringing_for(rings_for, &push).await;
    (push, running)
}

fn id(call: &serde_json::Value) -> String {
    call["id"].as_str().expect("a call").to_owned()
}

#[tokio::test]
async fn a_call_rings_on_every_device_urgently_briefly_and_under_one_topic() {
    let (push, Running { demo, .. }) = &setting(LONG).await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let laptop = alice.subscribes(push).await;
    let phone = alice.invites(demo).await.subscribes(push).await;
    let mut mom = Browser::signed_in(demo, "Mom").await;
    mom.opens_a_page().await;
    let call = id(&mom.calls("alice").await.done());
    for device in [&laptop, &phone] {
        let mail = &push.holds("Mom is calling", device).await[0];
        assert_eq!((mail.headers["urgency"].as_str(), mail.headers["ttl"].as_str()), ("high", "60"));
        assert_eq!(mail.headers["topic"], call);
        assert_eq!(mail.message["notification"]["data"]["call"], call);
    }
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_waits_nowhere_so_that_a_late_device_does_not_ring() {
    let (push, Running { demo, .. }) = &setting(LONG).await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let device = alice.subscribes(push).await;
    let mut mom = Browser::signed_in(demo, "Mom").await;
    mom.opens_a_page().await;
    let call = id(&mom.calls("Alice").await.done());
    push.holds("Mom is calling", &device).await;
    mom.ends(&call).await.done();
    let waiting = push.holds("Missed call from Mom", &device).await;
    assert_eq!(waiting.len(), 1, "the missed call is in the ring's place: {waiting:?}");
    mom.ends(&call).await.refused(410);
}

#[tokio::test]
async fn a_call_without_an_answer_becomes_a_missed_call_by_itself() {
    let (push, Running { demo, .. }) = &setting(Duration::from_millis(300)).await;
    let mut alice = Browser::signed_in(demo, "Alice").await;
    let device = alice.subscribes(push).await;
    let mut mom = Browser::signed_in(demo, "Mom").await;
    mom.opens_a_page().await;
    alice.opens_a_page().await;
    let call = id(&mom.calls("Alice").await.done());
    let over = mom.receives("over").await;
    assert_eq!((&over["how"], &over["call"]["id"]), (&json!("unanswered"), &json!(call)));
    assert_eq!(push.holds("Missed call from Mom", &device).await.len(), 1);
    alice.answers(&call).await.refused(410);
}

#[tokio::test]
async fn when_one_device_answers_the_others_stop_and_signals_go_between_the_two_pages_only() {
    let (push, Running { demo, .. }) = &setting(LONG).await;
    let mut laptop = Browser::signed_in(demo, "Alice").await;
    let mut tablet = laptop.invites(demo).await;
    let (on_laptop, on_tablet) = (laptop.subscribes(push).await, tablet.subscribes(push).await);
    let mut mom = Browser::signed_in(demo, "Mom").await;
    for browser in [&mut laptop, &mut tablet, &mut mom] {
        browser.opens_a_page().await;
    }
    let call = id(&mom.calls("Alice").await.done());
    push.holds("Mom is calling", &on_tablet).await;
    push.holds("Mom is calling", &on_laptop).await;
    laptop.answers(&call).await.done();

    let shown = push.holds("Mom called", &on_tablet).await;
    assert_eq!(shown.len(), 1, "it is in the ring's place: {shown:?}");
    assert_eq!(shown[0].message["notification"]["body"], "You answered on another device.");
    assert_eq!(push.waiting(&on_laptop)[0].title(), "Mom is calling", "the device that answered is not notified");
    tablet.answers(&call).await.refused(410);

    mom.signals(&call, json!("offer")).await;
    assert_eq!(laptop.receives("signal").await["signal"], "offer");
    tablet.signals(&call, json!("intrusion")).await;
    laptop.signals(&call, json!("answer")).await;
    assert_eq!(mom.receives("signal").await["signal"], "answer");
    mom.signals(&call, json!("candidate")).await;
    assert_eq!(laptop.receives("signal").await["signal"], "candidate", "nothing came in between");
}

#[tokio::test]
async fn declining_on_one_device_ends_the_call_on_all() {
    let (push, Running { demo, .. }) = &setting(LONG).await;
    let laptop = Browser::signed_in(demo, "Alice").await;
    let phone = laptop.invites(demo).await;
    let on_phone = phone.subscribes(push).await;
    let mut mom = Browser::signed_in(demo, "Mom").await;
    mom.opens_a_page().await;
    let call = id(&mom.calls("Alice").await.done());
    laptop.ends(&call).await.done();
    assert_eq!(mom.receives("over").await["how"], "declined");
    let shown = push.holds("Mom called", &on_phone).await;
    assert_eq!(shown[0].message["notification"]["body"], "You declined on another device.");
}

#[tokio::test]
async fn a_spoofed_name_is_refused() {
    let (push, Running { demo, .. }) = &setting(LONG).await;
    let mut alice = Browser::signed_in(demo, "Alice").await;
    alice.opens_a_page().await;
    let device = alice.subscribes(push).await;
    let mom = Browser::signed_in(demo, "Mom").await;
    let mut mallory = Browser::signed_in(demo, "Mallory").await;
    mallory.opens_a_page().await;

    let as_mom = json!({ "to": "Alice", "from": "Mom", "media": "audio", "page": mallory.page() });
    mallory.post("calls", as_mom).await.refused(403);
    mallory.post("chat/Alice", json!({ "text": "It is me", "from": "Mom" })).await.refused(403);
    let from_alices_page = json!({ "to": "Mom", "media": "audio", "page": alice.page() });
    mallory.post("calls", from_alices_page).await.refused(403);
    for name in ["Mom", "mom", " MOM "] {
        Browser::of(demo).signs_in(json!({ "name": name })).await.refused(409);
    }
    // The second letter is Cyrillic.
    Browser::of(demo).signs_in(json!({ "name": "M\u{43e}m" })).await.refused(400);

    let mut forger = Browser::of(demo);
    let (mom_id, mallory_id) = (mom.cookie.clone().unwrap(), mallory.cookie.clone().unwrap());
    let (_, claims_of_mom) = mom_id.split_once('=').unwrap();
    let (_, seal_of_mallory) = mallory_id.rsplit_once('.').unwrap();
    let (claims, _) = claims_of_mom.rsplit_once('.').unwrap();
    forger.cookie = Some(format!("doorbell_demo={claims}.{seal_of_mallory}"));
    forger.get("overview").await.refused(401);

    // A page of another site, in a browser that is signed in here.
    let text = json!({ "text": "Send money" }).to_string();
    let from_elsewhere = "Origin: https://evil.example\r\n";
    let answer = mom.asks("POST", "chat/Alice", "text/plain", text.as_bytes(), from_elsewhere).await;
    answer.refused(403);

    mallory.post("chat/Alice", json!({ "text": "It is only me" })).await.done();
    let arrived = push.holds("Mallory", &device).await;
    assert_eq!(arrived.len(), 1, "nothing else came: {arrived:?}");
}

#[tokio::test]
async fn a_person_who_has_only_signed_in_is_called_on_the_page() {
    let (_push, Running { demo, .. }) = &setting(LONG).await;
    let (mut alice, mut mom) = (Browser::signed_in(demo, "Alice").await, Browser::of(demo));
    mom.signs_in(json!({ "name": "Mom" })).await.done();
    for browser in [&mut alice, &mut mom] {
        browser.opens_a_page().await;
    }
    alice.calls("Mom").await.done();
    assert_eq!(mom.receives("call").await["call"]["from"], "Alice");
}

#[tokio::test]
async fn a_person_who_is_away_or_busy_is_not_rung_and_the_caller_reads_what_to_do() {
    let (push, Running { demo, .. }) = &setting(LONG).await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let device = alice.subscribes(push).await;
    let (mut mom, mut bob) = (Browser::signed_in(demo, "Mom").await, Browser::signed_in(demo, "Bob").await);
    mom.opens_a_page().await;
    bob.opens_a_page().await;
    alice.put("device", json!({ "available": false })).await.done();
    assert_eq!(mom.calls("Alice").await.refused(409), "Alice takes no calls now");
    assert!(push.waiting(&device).is_empty());
    alice.put("device", json!({ "available": true })).await.done();
    mom.calls("Alice").await.done();
    assert_eq!(bob.calls("Alice").await.refused(409), "Alice is in another call");
    bob.calls("Nobody").await.refused(404);
}
