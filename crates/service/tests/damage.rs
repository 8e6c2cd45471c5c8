//! Rows of the store that were damaged while the service did not run: what cannot be read is refused or dropped, in the
//! log and in receipts, and the rest continues. And what a crash left of the files with secrets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use doorbell_service::Service;
use http::StatusCode;
use rusqlite::Connection;
use serde_json::json;
use support::chromium::{Device, wrapped};
use support::events::EventStream;
use support::log::Log;
use support::socket::Socket;
use support::{Subscription, TestService, header, path, text};

/// The header record of the oldest message becomes one of a header that does not exist.
const DAMAGE_HEADERS: &str = "UPDATE message SET headers = x'FF00' WHERE id = (SELECT min(id) FROM message)";

/// The urgency of the oldest message becomes an invalid one.
const DAMAGE_URGENCY: &str = "UPDATE message SET urgency = 99 WHERE id = (SELECT min(id) FROM message)";

/// Lengths of damaged keys: that of a point of the curve, and others.
const DAMAGED_KEYS: [usize; 4] = [65, 64, 66, 0];

/// The oldest subscription is restricted to a key that is not a point of the curve.
fn damage_key(length: usize) -> String {
    format!("UPDATE subscription SET vapid_key = zeroblob({length}) WHERE id = (SELECT min(id) FROM subscription)")
}

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

/// Stops the service, changes one row of its database, and starts it again.
async fn damage(service: &mut TestService, sql: &str) {
    Log::collect();
    service
        .restart_after(|dir| {
            let database = Connection::open(dir.join("doorbell.db")).unwrap();
            assert_eq!(database.execute(sql, []).unwrap(), 1);
        })
        .await;
}

/// Sends a message that wants a receipt: its URI and that of the receipt subscription.
async fn send_with_receipt(service: &TestService, to: &Subscription, body: &[u8]) -> (String, String) {
    let headers = [("prefer", "respond-async"), ("content-encoding", "aes128gcm")];
    let answer = service.post(to, &headers, body).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", text(&answer));
    let receipts = header(&answer, "link").split(['<', '>']).nth(1).unwrap().to_owned();
    (header(&answer, "location").to_owned(), receipts)
}

/// The message is over, and its receipt reports that the service gave it up.
async fn is_dropped(service: &TestService, message: &str, receipts: &str) {
    let event = EventStream::open(service.address, receipts, &[]).await.next().await.unwrap();
    assert_eq!(path(event.data["message"].as_str().unwrap()), path(message));
    assert_eq!((&event.data["status"], &event.data["outcome"]), (&json!(410), &json!("dropped")));
    assert_eq!(service.get(message).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.delete(message).await, StatusCode::NOT_FOUND);
    assert!(Log::count("ERROR", "a stored message is damaged") > 0);
    let path = path(message);
    let token = path.rsplit('/').next().unwrap();
    assert_eq!(Log::count("", token), 0, "a capability URL is in the log");
}

/// The application server's view of a subscription that was made at another door.
fn at(push: &str) -> Subscription {
    Subscription { subscription: String::new(), push: push.to_owned(), set: String::new() }
}

#[tokio::test]
async fn a_damaged_message_is_dropped_and_the_others_are_pushed() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let (damaged, receipts) = send_with_receipt(&service, &to, b"damaged").await;
    let (second, third) = (service.send(&to, &[], b"second").await, service.send(&to, &[], b"third").await);
    damage(&mut service, DAMAGE_HEADERS).await;
    let mut agent = service.agent().await;
    let (pushes, status) = agent.fetch(&to.set).await;
    let uris: Vec<_> = pushes.iter().map(|push| push.uri.as_str()).collect();
    assert_eq!((uris, status), (vec![second.as_str(), third.as_str()], StatusCode::OK));
    is_dropped(&service, &damaged, &receipts).await;
    for message in [second, third] {
        assert_eq!(agent.delete(&message).await, StatusCode::NO_CONTENT);
    }
    service.restart().await;
    let (pushes, status) = service.agent().await.fetch(&to.set).await;
    assert_eq!((pushes.len(), status), (0, StatusCode::NO_CONTENT));
}

#[tokio::test]
async fn what_crashes_left_of_the_files_with_secrets_is_removed_at_the_next_start() {
    let mut service = TestService::start().await;
    let names = [".capability.keys.Abc123", ".capability.keys.000zzz", ".ca.key.Abc123", ".ca.pem.Abc123"];
    service.restart_after(|dir| names.iter().for_each(|name| std::fs::write(dir.join(name), "secret").unwrap())).await;
    let left: Vec<_> = names.iter().filter(|name| service.dir.path().join(name).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(service.dir.path().join("capability.keys").exists());
}

#[tokio::test]
async fn lost_keys_of_the_urls_stop_the_start_instead_of_making_every_url_a_404() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let keys = service.dir.path().join("capability.keys");
    let backup = std::fs::read(&keys).unwrap();
    service.service.take().unwrap().stop().await.unwrap();
    std::fs::remove_file(&keys).unwrap();
    let error = service.try_start().await.err().expect("the start is refused");
    assert!(error.to_string().contains("restore the file from a backup"), "{error}");
    assert!(Service::rotate_capability_key(&service.config(), &service.clock).is_err());
    assert!(!keys.exists(), "a new key would hide the loss");
    doorbell_private_file::create_new(&keys, &backup).unwrap();
    service.service = Some(service.try_start().await.unwrap());
    service.send(&to, &[], b"the URL is valid again").await;
}

#[tokio::test]
async fn a_message_that_the_store_cannot_list_is_dropped_and_the_next_is_pushed() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let (damaged, receipts) = send_with_receipt(&service, &to, b"damaged").await;
    let second = service.send(&to, &[], b"second").await;
    damage(&mut service, DAMAGE_URGENCY).await;
    let (pushes, status) = service.agent().await.fetch(&to.set).await;
    let uris: Vec<_> = pushes.iter().map(|push| push.uri.as_str()).collect();
    assert_eq!((uris, status), (vec![second.as_str()], StatusCode::OK));
    is_dropped(&service, &damaged, &receipts).await;
}

#[tokio::test]
async fn a_damaged_message_does_not_end_a_stream_that_is_held() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let (damaged, receipts) = send_with_receipt(&service, &to, b"damaged").await;
    damage(&mut service, DAMAGE_HEADERS).await;
    let mut agent = service.agent().await;
    let mut monitoring = agent.monitor(&to.set, &[]).await;
    is_dropped(&service, &damaged, &receipts).await;
    let next = service.send(&to, &[], b"next").await;
    assert_eq!(monitoring.push().await.uri, next);
}

#[tokio::test]
async fn a_get_of_a_damaged_message_is_404() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let (damaged, receipts) = send_with_receipt(&service, &to, b"damaged").await;
    damage(&mut service, DAMAGE_HEADERS).await;
    let answer = service.get(&damaged).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{}", text(&answer));
    is_dropped(&service, &damaged, &receipts).await;
    let (pushes, _) = service.agent().await.fetch(&to.set).await;
    assert_eq!(pushes.len(), 0);
}

#[tokio::test]
async fn a_damaged_message_is_dropped_at_the_door_of_firefox() {
    let mut service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let to = at(&socket.register(CHANNEL).await);
    socket.cut();
    let (damaged, receipts) = send_with_receipt(&service, &to, b"damaged").await;
    service.send(&to, &[], b"second").await;
    damage(&mut service, DAMAGE_HEADERS).await;
    let (mut socket, _) = Socket::hello(service.address, Some(&uaid)).await;
    let message = socket.notified().await;
    assert_eq!(message.text, "second");
    socket.ack(&message, 100).await;
    socket.is_answered().await;
    is_dropped(&service, &damaged, &receipts).await;
}

#[tokio::test]
async fn a_damaged_message_is_dropped_at_the_door_of_chromium() {
    let mut service = TestService::start().await;
    let device = Device::new(&service).await;
    let to = device.subscribe(&service).await;
    let (damaged, receipts) = send_with_receipt(&service, &to, &wrapped(b"damaged")).await;
    service.send(&to, &[], b"second").await;
    damage(&mut service, DAMAGE_HEADERS).await;
    let mut chromium = device.connect(&service).await;
    assert_eq!(chromium.message().await.body(), "second");
    chromium.is_answered().await;
    is_dropped(&service, &damaged, &receipts).await;
}

#[tokio::test]
async fn no_push_names_an_open_push_resource_because_the_key_is_damaged() {
    for length in DAMAGED_KEYS {
        no_push_names_an_open_push_resource(length).await;
    }
}

async fn no_push_names_an_open_push_resource(length: usize) {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let other = service.join(&to).await;
    let (dropped, receipts) = send_with_receipt(&service, &to, b"its push resource cannot be named").await;
    let next = service.send(&other, &[], b"next").await;
    damage(&mut service, &damage_key(length)).await;
    let (pushes, status) = service.agent().await.fetch(&to.set).await;
    let uris: Vec<_> = pushes.iter().map(|push| push.uri.as_str()).collect();
    assert_eq!((uris, status), (vec![next.as_str()], StatusCode::OK));
    let event = EventStream::open(service.address, &receipts, &[]).await.next().await.unwrap();
    assert_eq!(path(event.data["message"].as_str().unwrap()), path(&dropped));
    assert_eq!(event.data["outcome"], "dropped");

    let (_, receipts) = send_with_receipt(&service, &to, b"once more, as events").await;
    let mut events = EventStream::open(service.address, &to.set, &[]).await;
    let event = events.next().await.unwrap();
    assert_eq!(path(event.data["message"].as_str().unwrap()), path(&next));
    let event = EventStream::open(service.address, &receipts, &[]).await.next().await.unwrap();
    assert_eq!(event.data["outcome"], "dropped");
    assert!(Log::count("ERROR", "the stored key of a subscription is damaged") > 0);
}

#[tokio::test]
async fn a_channel_with_a_damaged_key_is_not_opened_to_every_sender_and_can_be_removed() {
    for length in DAMAGED_KEYS {
        a_channel_with_a_damaged_key(length).await;
    }
}

async fn a_channel_with_a_damaged_key(length: usize) {
    let mut service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let to = at(&socket.register(CHANNEL).await);
    socket.cut();
    damage(&mut service, &damage_key(length)).await;
    let (mut socket, _) = Socket::hello(service.address, Some(&uaid)).await;
    let refused = socket.ask(json!({"messageType": "register", "channelID": CHANNEL})).await;
    assert_eq!(refused["status"], 503, "{refused}");
    service.send(&to, &[], b"a notification does not name the key").await;
    let message = socket.notified().await;
    assert_eq!(message.text, "a notification does not name the key");
    socket.ack(&message, 100).await;
    service.send(&to, &[("ttl", "0")], b"with TTL 0 too").await;
    assert_eq!(socket.notified().await.text, "with TTL 0 too");
    socket.unregister(CHANNEL).await;
    assert_ne!(socket.register(CHANNEL).await, to.push);
}

#[tokio::test]
async fn a_page_of_chromium_with_a_damaged_key_receives_and_registers_again() {
    for length in DAMAGED_KEYS {
        let mut service = TestService::start().await;
        let device = Device::new(&service).await;
        let to = device.subscribe(&service).await;
        service.send(&to, &[], b"sent before").await;
        damage(&mut service, &damage_key(length)).await;
        let mut chromium = device.connect(&service).await;
        assert_eq!(chromium.message().await.body(), "sent before");
        let again = device.subscribe(&service).await;
        service.send(&again, &[("ttl", "0")], b"sent after").await;
        assert_eq!(chromium.message().await.body(), "sent after");
    }
}
