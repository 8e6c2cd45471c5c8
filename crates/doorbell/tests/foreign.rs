//! The outside judges: senders and user agents that are not ours, against the real service and the real agent.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use doorbell_protocol::vapid::sign::SigningKey;
use http::Method;
use serde_json::{Value, json};
use support::front::Faults;
use support::{
    Browser, Chromium, Front, Listener, NodeAgent, Peer, Runtime, RustSender, Sender, Service, Site, nghttp,
};

/// How often a user agent that resets pushes may have to come back for ten messages.
const VISITS_MAX: usize = 10;

/// Every value of a byte, so that a body that comes back identical proves something.
fn every_byte() -> Vec<u8> {
    (0..=255).cycle().take(4096).collect()
}

/// All but Bun verify the CA that a service makes for itself: Bun knows no CA that may sign only for some addresses.
const AT_OUR_CA: [Runtime; 3] = [Runtime::Node, Runtime::Deno, Runtime::Python];

/// Each sends a text of its own, all at once: what arrives.
fn all_send(senders: &[Sender], words: &str, subscription: &Value, ca: &Path) -> Vec<String> {
    let text = |sender: &Sender| format!("{words} {sender} ☎");
    thread::scope(|scope| {
        for sender in senders {
            scope.spawn(move || {
                let answer = sender.send(&text(sender), subscription, ca);
                assert_eq!(answer["status"], 201, "{sender}: {answer}");
                let location = answer["location"].as_str();
                assert_eq!(location.is_some(), sender.returns_location(), "{sender}: {answer}");
            });
        }
    });
    senders.iter().map(|sender| sender.payload(&text(sender))).collect()
}

/// PS-8292-L-1, PS-8292-2-4, PS-8292-3-1, CR-aesgcm-1, CR-aesgcm-5, PS-8030-4-5
#[test]
fn doorbell_listen_prints_what_each_foreign_sender_sends() {
    let service = Service::start();
    let listener = Listener::of(&service);
    let senders = Sender::on(&AT_OUR_CA);
    listener.prints_all(all_send(&senders, "Grüße von", &listener.subscription(), &service.ca()));
}

/// PS-8030-6-8, PS-8030-7.2-2
#[test]
fn doorbell_listen_gets_what_foreign_senders_sent_while_it_was_away() {
    let service = Service::start();
    let mut listener = Listener::of(&service);
    let subscription = listener.subscription();
    listener.goes_away();
    let sent = all_send(&Sender::on(&AT_OUR_CA), "stored for", &subscription, &service.ca());
    listener.comes_back(&service);
    listener.prints_all(sent);
}

/// PS-8292-L-1, PS-8292-3-1, CR-aesgcm-1
#[tokio::test(flavor = "multi_thread")]
async fn bun_sends_through_a_proxy_with_a_certificate_like_those_of_public_cas() {
    let senders = Sender::on(&[Runtime::Bun]);
    if senders.is_empty() {
        return;
    }
    let front = Front::with(Faults::default()).await;
    let listener = Listener::behind(&front);
    listener.prints_all(all_send(&senders, "Grüße von", &listener.subscription(), &front.ca()));
}

/// The page's origin is not the service's: each request needs the service's permission (CORS).
/// PS-8292-L-1, PS-8292-3-1, CR-aesgcm-1
#[test]
fn a_page_of_another_site_sends_with_libraries_from_npm() {
    let senders = Sender::on(&[Runtime::Page]);
    if senders.is_empty() || !Chromium::is_here() {
        return;
    }
    let (service, site) = (Service::start(), Site::open());
    let listener = Listener::of(&service);
    let mut chromium = Chromium::prepared_for(&service, &site);
    chromium.visits(&site.url_of_sender());
    let key = SigningKey::generate().unwrap();
    for sender in senders {
        let text = format!("Grüße von {sender} ☎");
        let job = sender.job(&key, &json!({ "text": text }), &listener.subscription());
        let answers = chromium.runs("return sends(...arguments)", json!([job, sender.script]));
        assert_eq!(answers[0]["status"], 201, "{sender}: {answers}");
        assert!(answers[0]["location"].is_string(), "{sender} may read the message's URL: {answers}");
        listener.prints(&sender.payload(&text));
    }
}

/// The foreign crates name the audience without its port: accepted, and logged once per key, without the key.
/// PS-8292-2-4
#[test]
fn programs_against_web_push_and_web_push_native_and_our_library_do_the_same() {
    if !RustSender::are_here() {
        return;
    }
    let service = Service::start();
    let listener = Listener::of(&service);
    let key = SigningKey::generate().unwrap();
    for round in ["first", "second"] {
        for sender in RustSender::ALL {
            let text = format!("Grüße von {sender:?}, {round} ☎");
            let (outcome, detail) = sender.send(&key, &text, &listener.subscription(), &service);
            assert_eq!(outcome, "accepted", "{sender:?}: {detail}");
            listener.prints(&text);
        }
    }
    let mut gone = listener.subscription();
    gone["endpoint"] = json!(format!("{}/p/unknown", service.origin()));
    for sender in RustSender::ALL {
        assert_eq!(sender.send(&key, "ding", &gone, &service).0, "gone", "{sender:?}");
    }
    let log = service.output();
    assert_eq!(log.matches("without the port").count(), 1, "{log}");
    assert!(!log.contains(&key.public_key().to_base64url()));
}

/// The reason names the audience that came and the one that is wanted. PS-8292-2-4, PS-8292-4.2-3
#[test]
fn a_strict_service_rejects_an_audience_without_its_port() {
    if !RustSender::are_here() {
        return;
    }
    let service = Service::start_with(&["--strict-audience"]);
    let listener = Listener::of(&service);
    let key = SigningKey::generate().unwrap();
    for sender in RustSender::FOREIGN {
        let (outcome, detail) = sender.send(&key, "ding", &listener.subscription(), &service);
        assert_eq!(outcome, "unauthorized", "{sender:?}: {detail}");
        let named = ["https://127.0.0.1\\\"", &service.origin()];
        assert!(named.iter().all(|origin| detail.contains(origin)), "{sender:?}: {detail}");
    }
    let (outcome, detail) = RustSender::Doorbell.send(&key, "dong", &listener.subscription(), &service);
    assert_eq!(outcome, "accepted", "{detail}");
    listener.prints("dong");
}

/// PS-8030-5-3, PS-8030-6-1, PS-8030-6-2, PS-8030-6-4
#[tokio::test(flavor = "multi_thread")]
async fn node_receives_a_push_on_a_held_request_byte_for_byte() {
    if !NodeAgent::is_here() {
        return;
    }
    let service = Service::start();
    let peer = Peer::connect(&service).await.unwrap();
    let subscribed = peer.subscribe().await;
    let mut agent = NodeAgent::holding(&subscribed.subscription, 2, &service);
    let headers = [("ttl", "60"), ("content-type", "application/x-bell"), ("content-encoding", "aes128gcm")];
    for body in [every_byte(), Vec::new()] {
        let reply = peer.request(Method::POST, &subscribed.push, &headers, &body).await.unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
        let push = agent.receives();
        assert_eq!(push.body, body);
        assert!(reply.headers["location"].to_str().unwrap().ends_with(&push.path), "{reply:?} {push:?}");
        assert_eq!(push.headers["content-type"], "application/x-bell");
        assert_eq!(push.headers["content-encoding"], "aes128gcm");
        assert_eq!(agent.deletes(), 204);
    }
    agent.leaves();
}

/// PS-8030-6-6, PS-8030-6-7, PS-8030-6.2-6
#[tokio::test(flavor = "multi_thread")]
async fn node_drains_what_was_stored_and_finds_nothing_after_deleting_it() {
    if !NodeAgent::is_here() {
        return;
    }
    let service = Service::start();
    let peer = Peer::connect(&service).await.unwrap();
    let subscribed = peer.subscribe().await;
    for n in 0..20u8 {
        let reply = peer.request(Method::POST, &subscribed.push, &[("ttl", "60")], &[n]).await.unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let mut agent = NodeAgent::draining(&subscribed.subscription, &service);
    let mut received: Vec<Vec<u8>> = (0..20).map(|_| agent.receives().body).collect();
    received.sort();
    assert_eq!(received, (0..20u8).map(|n| vec![n]).collect::<Vec<_>>());
    assert!((0..20).all(|_| agent.deletes() == 204));
    assert_eq!(agent.is_answered(), 200);
    agent.leaves();

    let mut again = NodeAgent::draining(&subscribed.subscription, &service);
    assert_eq!(again.is_answered(), 204);
    again.leaves();
}

/// Node counts its own requests towards the limit that it announces for pushes, so that with a limit of 2 it resets
/// many of them (ENHANCE_YOUR_CALM), often after all of the push was sent: then only the missing DELETE shows it. A reset
/// that comes between promise and answer makes the h2 crate end the connection; then the agent comes back.
/// PS-8030-6-11, PS-8030-6.2-3
#[tokio::test(flavor = "multi_thread")]
async fn node_resets_pushes_and_gets_them_all_in_the_end() {
    if !NodeAgent::is_here() {
        return;
    }
    let service = Service::start_with(&["--ack-timeout-secs", "1"]);
    let peer = Peer::connect(&service).await.unwrap();
    let subscribed = peer.subscribe().await;
    let mut missing: BTreeSet<Vec<u8>> = (0..10u8).map(|n| vec![n]).collect();
    for body in &missing {
        let reply = peer.request(Method::POST, &subscribed.push, &[("ttl", "600")], body).await.unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    for _visit in 0..VISITS_MAX {
        let agent = NodeAgent::draining_narrowly(&subscribed.subscription, 2, &service);
        for push in agent.ends() {
            missing.remove(&push.body);
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("{} messages are lost", missing.len());
}

/// PS-8030-6-1, PS-8030-6-2, PS-8030-6-6
#[tokio::test(flavor = "multi_thread")]
async fn nghttp_receives_pushes() {
    let service = Service::start();
    let peer = Peer::connect(&service).await.unwrap();
    let subscribed = peer.subscribe().await;
    let mut locations = Vec::new();
    for body in ["the first bell rings", "the second bell rings"] {
        let headers = [("ttl", "60"), ("content-encoding", "aes128gcm")];
        let reply = peer.request(Method::POST, &subscribed.push, &headers, body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
        locations.push(reply.headers["location"].to_str().unwrap().to_owned());
    }
    let url = if subscribed.subscription.starts_with('/') {
        format!("{}{}", service.origin(), subscribed.subscription)
    } else {
        subscribed.subscription
    };
    let Some(output) = nghttp(&url, &["prefer: wait=0"]) else { return };
    assert_eq!(output.matches("recv PUSH_PROMISE frame").count(), 2, "{output}");
    for (location, body) in locations.iter().zip(["the first bell rings", "the second bell rings"]) {
        let path = location.strip_prefix(&service.origin()).unwrap_or(location);
        assert!(output.contains(&format!(":path: {path}")), "{path} in {output}");
        assert!(output.contains(body), "{body} in {output}");
    }
}
