//! Devices, names, conversations and voice mails: who may do what, and how much.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use support::{Answer, Browser, PushService, Running};

async fn setting() -> (PushService, Running) {
    let push = PushService::open().await;
    let running = Running::ringing_for(Duration::from_secs(60), &push).await;
    (push, running)
}

#[tokio::test]
async fn another_device_gets_in_by_an_invitation_or_a_passphrase_and_no_other_does() {
    let (_push, Running { demo, .. }) = &setting().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let phone = alice.invites(demo).await;
    assert_eq!(phone.get("overview").await.done()["me"]["name"], "Alice");
    Browser::of(demo).signs_in(json!({ "invitation": "1.9999999999999.AAAA" })).await.refused(404);

    let with = |passphrase: &str| json!({ "name": "Bob", "passphrase": passphrase });
    Browser::of(demo).signs_in(with("open sesame")).await.done();
    Browser::of(demo).signs_in(with("open sesame")).await.done();
    Browser::of(demo).signs_in(with("open sesam")).await.refused(403);
    Browser::of(demo).signs_in(json!({ "name": "Bob" })).await.refused(409);
    Browser::of(demo).signs_in(json!({ "name": "Alice", "passphrase": "guess" })).await.refused(409);
}

#[tokio::test]
async fn an_invitation_is_a_link_and_a_code_and_only_one_for_a_device_signs_in_as_the_person() {
    let (_push, Running { demo, .. }) = &setting().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let for_a_device = alice.post("invitation", json!({ "for": "device" })).await.done();
    let for_a_person = alice.post("invitation", json!({ "for": "person" })).await.done();
    for invitation in [&for_a_device, &for_a_person] {
        assert!(invitation["code"].as_str().unwrap().contains("<svg"), "{invitation}");
        assert_eq!(invitation["hereOnly"], true, "localhost is this machine's own");
    }
    assert!(for_a_device["link"].as_str().unwrap().contains("/#in="));
    assert_eq!(for_a_person["link"], format!("{}/", demo.site()));
    alice.post("invitation", json!({ "for": "everybody" })).await.refused(400);
    Browser::of(demo).post("invitation", json!({ "for": "person" })).await.refused(401);
}

#[tokio::test]
async fn a_browser_that_the_operator_opens_is_one_more_of_the_person_whose_name_it_brings() {
    let (_push, Running { demo, .. }) = &setting().await;
    assert_eq!(demo.link_as("Alice").unwrap(), format!("{}/#name=Alice", demo.site()));
    assert_eq!(demo.link_as("a/b").unwrap(), format!("{}/", demo.site()), "it cannot be a name");
    let alice = Browser::signed_in(demo, "Alice").await;
    let link = demo.link_as("alice").unwrap();
    let (_, invitation) = link.split_once("/#name=alice&in=").expect("an invitation");
    let mut another = Browser::of(demo);
    another.signs_in(json!({ "invitation": invitation })).await.done();
    assert_eq!(another.get("overview").await.done()["me"]["name"], "Alice");
    assert_eq!(alice.get("overview").await.done()["me"]["devices"].as_array().unwrap().len(), 2);
    Browser::of(demo).signs_in(json!({ "invitation": invitation })).await.refused(404);

    Browser::of(demo).signs_in(json!({ "name": "Bob", "passphrase": "open sesame" })).await.done();
    assert_eq!(demo.link_as("Bob").unwrap(), format!("{}/#name=Bob", demo.site()), "the passphrase keeps it");
}

#[tokio::test]
async fn a_demo_that_other_machines_reach_brings_no_browser_in_as_another_person() {
    let push = PushService::open().await;
    let Running { demo, .. } = &Running::on_every_address(&push).await;
    assert!(demo.site().starts_with("http://localhost:"), "{}", demo.site());
    let _alice = Browser::signed_in(demo, "Alice").await;
    assert_eq!(demo.link_as("Alice").unwrap(), format!("{}/#name=Alice", demo.site()));
}

#[tokio::test]
async fn guesses_at_a_passphrase_are_slowed_down_and_answered_with_how_long() {
    let (_push, Running { demo, .. }) = &setting().await;
    let mut browser = Browser::of(demo);
    let with = |name: &str, passphrase: &str| json!({ "name": name, "passphrase": passphrase });
    browser.signs_in(with("Alice", "open sesame")).await.done();
    browser.signs_in(with("Bob", "abracadabra")).await.done();
    for guess in 0..10 {
        browser.signs_in(with("Alice", &guess.to_string())).await.refused(403);
    }
    for (name, passphrase) in [("Alice", "10"), ("Alice", "open sesame"), ("Bob", "abracadabra")] {
        let answer = browser.signs_in(with(name, passphrase)).await;
        let wait = answer.head.lines().find_map(|line| line.strip_prefix("retry-after: ")).map(str::to_owned);
        let seconds = wait.and_then(|wait| wait.parse::<u32>().ok()).expect("Retry-After");
        assert!((1..=61).contains(&seconds), "{seconds}");
        assert!(answer.refused(429).contains("too many wrong passphrases"));
    }
    browser.signs_in(json!({ "name": "Carol" })).await.done();
}

#[tokio::test]
async fn a_device_that_signs_out_is_out_and_a_name_without_devices_is_free_again() {
    let (push, Running { demo, .. }) = &setting().await;
    let (alice, bob) = (Browser::signed_in(demo, "Alice").await, Browser::signed_in(demo, "Bob").await);
    let device = alice.subscribes(push).await;
    alice.post("sign-out", json!(null)).await.done();
    alice.get("overview").await.refused(401);
    bob.post("chat/Alice", json!({ "text": "Are you there?" })).await.done();
    assert_eq!(bob.get("overview").await.done()["people"], json!([]));
    Browser::signed_in(demo, "Alice").await;
    assert!(push.waiting(&device).is_empty(), "a device that is signed out receives nothing");
}

#[tokio::test]
async fn a_person_is_reachable_by_push_as_long_as_a_push_service_takes_their_pushes() {
    let (push, Running { demo, .. }) = &setting().await;
    let (alice, mut bob) = (Browser::signed_in(demo, "Alice").await, Browser::signed_in(demo, "Bob").await);
    let device = alice.subscribes(push).await;
    bob.opens_a_page().await;
    let reach = async || bob.get("overview").await.done()["people"][0]["reach"].clone();
    assert_eq!(reach().await, "push");
    push.forgets(&device);
    bob.post("chat/Alice", json!({ "text": "Hello" })).await.done();
    // Every page is notified when the people change, and the first time is the opening of the page.
    while bob.get("overview").await.done()["people"][0]["reach"] != "none" {
        bob.receives("people").await;
    }
    alice.post("trial", json!(null)).await.refused(404);
}

#[tokio::test]
async fn a_push_service_that_is_down_is_a_failed_step_at_once_and_is_tried_again() {
    let (push, Running { demo, .. }) = &setting().await;
    let mut alice = Browser::signed_in(demo, "Alice").await;
    alice.subscribes(push).await;
    alice.opens_a_page().await;
    push.closes().await;
    alice.post("trial", json!(null)).await.done();
    let step = loop {
        let step = alice.receives("step").await;
        if step["kind"] == "retry" {
            break step;
        }
        assert_eq!(step["outcome"], "ok", "{step}");
    };
    assert_eq!((&step["outcome"], &step["what"]), (&json!("failed"), &json!("the push service does not take it yet")));
    let detail = step["detail"].as_str().unwrap();
    assert!(detail.starts_with("no server answers there: is it running?; the next try is in "), "{detail}");
}

#[tokio::test]
async fn a_chromium_that_names_a_host_of_googles_is_reached_at_our_push_service() {
    let (push, Running { demo, .. }) = &setting().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let device = push.subscribe();
    let mut subscription = device.subscription.clone();
    let endpoint = subscription["endpoint"].as_str().unwrap().replace(&push.origin(), "https://jmt17.google.com");
    subscription["endpoint"] = endpoint.into();
    alice.put("device", json!({ "subscription": subscription })).await.done();
    alice.post("trial", json!(null)).await.done();
    push.holds("It works", &device).await;
}

#[tokio::test]
async fn a_subscription_cannot_point_at_another_server_on_this_machine() {
    let (_push, Running { demo, .. }) = &setting().await;
    let other = PushService::open().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let subscription = |endpoint: String| {
        let mut subscription = other.subscribe().subscription;
        subscription["endpoint"] = endpoint.into();
        json!({ "subscription": subscription })
    };
    for endpoint in [format!("{}/p/0", other.origin()), "http://localhost:1/".into(), "https://[::1]/".into()] {
        let answer = alice.put("device", subscription(endpoint.clone())).await;
        assert!(answer.refused(400).contains("is not the push service of this demo"), "{endpoint}");
    }
    for endpoint in ["http://10.0.0.1/", "file:///etc/passwd", "no URL"] {
        alice.put("device", subscription(endpoint.to_owned())).await.refused(400);
    }
    alice.put("device", json!({ "subscription": "{}" })).await.refused(400);
}

#[tokio::test]
async fn a_voice_mail_is_bounded_and_for_its_recipient_only() {
    let (push, Running { demo, .. }) = &setting().await;
    let (alice, bob) = (Browser::signed_in(demo, "Alice").await, Browser::signed_in(demo, "Bob").await);
    let device = alice.subscribes(push).await;
    let leaves = async |kind: &str, bytes: usize| bob.asks("POST", "voice/to/Alice", kind, &vec![7; bytes], "").await;
    let mail = leaves("audio/ogg;codecs=opus", 1 << 20).await.done()["id"].clone();
    leaves("audio/ogg", (1 << 20) + 1).await.refused(413);
    leaves("text/html", 10).await.refused(400);
    leaves("audio/ogg", 0).await.refused(400);

    push.holds("Voice mail from Bob", &device).await;
    let played = alice.get(&format!("voice/{mail}")).await;
    assert_eq!((played.status, played.body.len()), (200, 1 << 20));
    assert!(played.head.contains("content-type: audio/ogg\r\n") && played.head.contains("nosniff"), "{}", played.head);
    bob.get(&format!("voice/{mail}")).await.refused(404);
    let waiting = alice.get("overview").await.done()["voiceMails"].clone();
    assert_eq!((&waiting[0]["from"], &waiting[0]["playedAt"]), (&json!("Bob"), &json!(null)));

    for _ in 1..8 {
        leaves("audio/ogg", 1).await.done();
    }
    leaves("audio/ogg", 1).await.refused(429);
    assert_eq!(alice.get("overview").await.done()["voiceMailsFull"], false, "others still have room");
    alice.asks("DELETE", &format!("voice/{mail}"), "", &[], "").await.done();
    leaves("audio/ogg", 1).await.done();
}

#[tokio::test]
async fn a_message_is_bounded_accepted_and_seen() {
    let (push, Running { demo, .. }) = &setting().await;
    let (alice, mut bob) = (Browser::signed_in(demo, "Alice").await, Browser::signed_in(demo, "Bob").await);
    let device = alice.subscribes(push).await;
    bob.opens_a_page().await;
    bob.post("chat/Alice", json!({ "text": "x".repeat(1501) })).await.refused(413);
    bob.post("chat/Alice", json!({ "text": " " })).await.refused(400);
    bob.post("chat/Bob", json!({ "text": "me" })).await.refused(400);
    bob.post("chat/Alice", json!({ "text": "x".repeat(20_000) })).await.refused(413);
    bob.post("chat/Alice", json!({ "text": "x".repeat(1500) })).await.done();
    push.holds("Bob", &device).await;
    bob.receives("chat").await;
    let message = async || bob.get("chat/Alice").await.done()["messages"][0].clone();
    assert!(message().await["acceptedAt"].is_i64());
    assert_eq!(message().await["seenAt"], json!(null));
    assert_eq!(alice.get("overview").await.done()["people"][0]["unseen"], 1);
    alice.post("chat/Bob/seen", json!(null)).await.done();
    assert!(message().await["seenAt"].is_i64());
    assert_eq!(alice.get("overview").await.done()["people"][0]["unseen"], 0);
}

#[tokio::test]
async fn of_too_many_devices_the_oldest_is_signed_out() {
    let (_push, Running { demo, .. }) = &setting().await;
    let first = Browser::signed_in(demo, "Alice").await;
    let mut newest = first.invites(demo).await;
    for _ in 0..6 {
        newest = newest.invites(demo).await;
    }
    first.get("overview").await.done();
    newest.invites(demo).await;
    first.get("overview").await.refused(401);
    newest.get("overview").await.done();
}

#[tokio::test]
async fn an_invitation_for_a_device_works_once() {
    let (_push, Running { demo, .. }) = &setting().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let link = alice.post("invitation", json!({ "for": "device" })).await.done()["link"].clone();
    let invitation = link.as_str().unwrap().split_once("#in=").unwrap().1;
    let comes_in = async || Browser::of(demo).signs_in(json!({ "invitation": invitation })).await.status;
    let statuses: Vec<u16> = join_all((0..8).map(|_| comes_in())).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    Browser::of(demo).signs_in(json!({ "invitation": invitation })).await.refused(404);
    assert_eq!(alice.get("overview").await.done()["me"]["devices"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn one_source_takes_some_names_and_is_refused_further_ones_while_those_who_have_one_get_in() {
    let (_push, Running { demo, .. }) = &setting().await;
    let mut names = 0;
    let refused = loop {
        let answer = Browser::of(demo).signs_in(json!({ "name": format!("Person {names}") })).await;
        if answer.status != 200 {
            break answer;
        }
        names += 1;
    };
    assert_eq!(names, 30);
    let wait = refused.head.lines().find_map(|line| line.strip_prefix("retry-after: ")).map(str::to_owned);
    assert!((1..=61).contains(&wait.and_then(|wait| wait.parse::<u32>().ok()).expect("Retry-After")));
    refused.refused(429);
    Browser::of(demo).signs_in(json!({ "name": "Person 1" })).await.refused(409);
}

#[tokio::test]
async fn a_class_with_passphrases_gets_in_although_they_are_hashed_a_few_at_a_time() {
    let (_push, Running { demo, .. }) = &setting().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let comes = async |number: usize| {
        let name = format!("Pupil {number}");
        Browser::of(demo).signs_in(json!({ "name": name, "passphrase": "open sesame" })).await
    };
    // Together with Alice, as many as may take a name from one source at once.
    let answers = join_all((0..29).map(&comes)).await;
    alice.get("overview").await.done();
    for (number, answer) in answers.into_iter().enumerate().filter(|(_, answer)| answer.status != 200) {
        assert!(answer.head.contains("retry-after: "), "{}", answer.head);
        answer.refused(429);
        comes(number).await.done();
    }
}

#[tokio::test]
async fn a_person_who_changes_things_without_end_is_slowed_down() {
    let (_push, Running { demo, .. }) = &setting().await;
    let (alice, bob) = (Browser::signed_in(demo, "Alice").await, Browser::signed_in(demo, "Bob").await);
    let refused = refused_in_the_end(async || alice.put("device", json!({ "available": true })).await).await;
    refused.refused(429);
    alice.get("overview").await.done();
    bob.post("chat/Alice", json!({ "text": "Hello" })).await.done();
}

/// The first answer of many that is 429.
async fn refused_in_the_end(asks: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..10_000 {
        let answer = asks().await;
        if answer.status == 429 {
            return answer;
        }
        answer.done();
    }
    panic!("there is no bound")
}

#[tokio::test]
async fn a_flood_of_messages_takes_nothing_from_its_victim_who_can_always_hang_up_and_sign_out() {
    let (_push, Running { demo, .. }) = &setting().await;
    let (mut alice, mut bob) = (Browser::signed_in(demo, "Alice").await, Browser::signed_in(demo, "Bob").await);
    alice.opens_a_page().await;
    bob.opens_a_page().await;
    let report = json!({ "from": "Bob", "story": "message-1", "what": "shown", "afterMs": 1 });
    refused_in_the_end(async || alice.post("reports", report.clone()).await).await;
    refused_in_the_end(async || alice.post("chat/Bob/seen", json!(null)).await).await;
    let call = bob.calls("Alice").await.done()["id"].as_str().unwrap().to_owned();
    alice.answers(&call).await.done();
    refused_in_the_end(async || alice.put("device", json!({ "available": false })).await).await;
    alice.ends(&call).await.done();
    alice.post("sign-out", json!(null)).await.done();
}

#[tokio::test]
async fn a_page_under_another_name_or_of_another_site_reaches_nothing() {
    let (_push, Running { demo, .. }) = &setting().await;
    let alice = Browser::signed_in(demo, "Alice").await;
    let port = demo.address().port();
    let foreign = format!("evil.example:{port}");
    for (method, path) in [("GET", "/"), ("GET", "/api/overview"), ("POST", "/api/sign-in"), ("GET", "/api/live")] {
        let answer = alice.asks_as(&foreign, method, path, "application/json", b"{}", "").await;
        assert!(answer.refused(421).contains("does not answer under this name"), "{method} {path}");
    }
    let own = format!("localhost:{port}");
    assert_eq!(alice.asks_as(&own, "GET", "/api/overview", "", &[], "").await.done()["me"]["name"], "Alice");
    let page = "live?page=AAAAAAAAAAAAAAAAAAAAAA";
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for origin in ["http://evil.example", &format!("http://{foreign}"), "null"] {
        let further = format!("{upgrade}Origin: {origin}\r\n");
        alice.asks("GET", page, "", &[], &further).await.refused(403);
        alice.asks("PUT", "device", "", b"{}", &format!("Origin: {origin}\r\n")).await.refused(403);
    }
    alice.asks("GET", "overview", "", &[], "Sec-Fetch-Site: cross-site\r\n").await.refused(403);
    alice.asks("PUT", "device", "", b"{}", &format!("Origin: http://{own}\r\n")).await.done();
}

#[tokio::test]
async fn where_an_invitation_is_needed_a_stranger_takes_no_name_and_each_invitation_brings_one_person() {
    let push = PushService::open().await;
    let Running { demo, .. } = &Running::for_invited_people(&push).await;
    let guest = |link: &str| link.split_once("#guest=").expect("an invitation").1.to_owned();
    let takes = async |name: &str, guest: &str| {
        let mut browser = Browser::of(demo);
        let answer = browser.signs_in(json!({ "name": name, "guest": guest })).await;
        (browser, answer)
    };
    Browser::of(demo).signs_in(json!({ "name": "Mallory" })).await.refused(403);
    takes("Mallory", "0.AAAAAAAAAAAAAAAAAAAAAA.9999999999999.AAAA").await.1.refused(404);
    let first = guest(&demo.guest_link().unwrap());
    let (alice, answer) = takes("Alice", &first).await;
    answer.done();
    takes("Mallory", &first).await.1.refused(404);
    let link = alice.post("invitation", json!({ "for": "person" })).await.done()["link"].clone();
    let second = guest(link.as_str().unwrap());
    takes("Alice", &second).await.1.refused(409);
    takes("Mom", &second).await.1.done();
    takes("Mallory", &second).await.1.refused(404);
    assert_eq!(alice.invites(demo).await.get("overview").await.done()["people"][0]["name"], "Mom");
}

#[tokio::test]
async fn where_an_invitation_is_needed_a_name_that_is_free_again_needs_one_too() {
    let push = PushService::open().await;
    let Running { demo, .. } = &Running::for_invited_people(&push).await;
    let guest = || demo.guest_link().unwrap().split_once("#guest=").expect("an invitation").1.to_owned();
    let comes = async |guest: Option<&str>| {
        let mut browser = Browser::of(demo);
        let answer = browser.signs_in(json!({ "name": "Alice", "guest": guest })).await;
        (browser, answer)
    };
    let (first, second) = (guest(), guest());
    let (alice, answer) = comes(Some(&first)).await;
    answer.done();
    alice.post("sign-out", json!(null)).await.done();
    assert!(comes(None).await.1.refused(403).contains("a name needs an invitation"));
    comes(Some("0.AAAAAAAAAAAAAAAAAAAAAA.9999999999999.AAAA")).await.1.refused(404);
    comes(Some(&first)).await.1.refused(404);
    let (alice, answer) = comes(Some(&second)).await;
    answer.done();
    alice.post("sign-out", json!(null)).await.done();
    comes(Some(&second)).await.1.refused(404);
}
