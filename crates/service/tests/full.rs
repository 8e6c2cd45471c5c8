//! A store that is full, or whose disk is, or that cannot be read: what clients are answered. `crates/store` tests the
//! disks themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use doorbell_service::config::Settings;
use http::{Request, StatusCode};
use rusqlite::Connection;
use serde_json::json;
use support::log::Log;
use support::socket::Socket;
use support::{Answer, Subscription, TestService, header, path, raw, text, within};

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

/// More room than any disk has.
const HUGE: u64 = 1 << 60;

async fn try_subscribe(service: &TestService) -> Answer {
    service.ask(Request::post(service.origin() + "/subscribe").body(Bytes::new()).unwrap()).await
}

/// 429 with a time, and a body that programs and people understand.
fn assert_refused(answer: &Answer, errno: u16) {
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{}", text(answer));
    assert!(header(answer, "retry-after").parse::<u32>().unwrap() >= 1);
    assert!(text(answer).contains(&format!("\"errno\":{errno}")), "{}", text(answer));
}

#[tokio::test]
async fn below_the_floor_of_free_disk_growth_is_429_and_what_frees_room_is_done() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let (kept, gone) = (service.send(&to, &[], b"x").await, service.subscribe().await);
    let with_receipt = service.post(&to, &[("prefer", "respond-async")], b"x").await;
    let receipts = header(&with_receipt, "link").to_owned();
    service.reconfigure(|settings| settings.disk_floor_bytes = Some(HUGE)).await;

    assert_refused(&try_subscribe(&service).await, 1014);
    assert_refused(&service.post(&to, &[], b"x").await, 1014);
    let headers = [("prefer", "respond-async")];
    assert_refused(&service.post(&to, &headers, b"x").await, 1014);
    let known = [("ttl", "0"), ("prefer", "respond-async"), ("link", &receipts)];
    assert_refused(&service.post(&to, &known, b"x").await, 1014);
    assert_eq!(service.post(&to, &[("ttl", "0")], b"x").await.status(), StatusCode::CREATED, "it needs no room");
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let answer = socket.ask(json!({"messageType": "register", "channelID": CHANNEL})).await;
    assert_eq!(answer["status"], 429, "{answer}");
    assert_eq!(service.get(&kept).await.status(), StatusCode::OK);
    assert_eq!(service.delete(&kept).await, StatusCode::NO_CONTENT);
    assert_eq!(service.delete(&gone.subscription).await, StatusCode::NO_CONTENT);

    service.reconfigure(|settings| settings.disk_floor_bytes = None).await;
    service.send(&to, &[], b"x").await;
    service.subscribe().await;
}

#[tokio::test]
async fn a_store_with_as_much_as_it_may_hold_answers_429_until_something_is_removed_and_warns() {
    // No other test here reaches these bounds.
    Log::collect();
    let bounds = Settings {
        agents_max: Some(2),
        stored_bytes_max: Some(600),
        receipt_subscriptions_max: Some(1),
        ..Settings::default()
    };
    let mut service = TestService::with(bounds).await;
    let (to, other) = (service.subscribe().await, service.subscribe().await);
    assert_refused(&try_subscribe(&service).await, 1014);
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let answer = socket.ask(json!({"messageType": "register", "channelID": CHANNEL})).await;
    assert_eq!(answer["status"], 429, "{answer}");
    assert_eq!(service.delete(&other.set).await, StatusCode::NO_CONTENT);
    let other = service.subscribe().await;

    let (first, _) = (service.send(&to, &[], b"x").await, service.send(&to, &[], b"x").await);
    assert_refused(&service.post(&other, &[], b"x").await, 1014);
    assert_eq!(service.delete(&first).await, StatusCode::NO_CONTENT);
    let headers = [("prefer", "respond-async")];
    let with_receipt = service.post(&other, &headers, b"x").await;
    assert_eq!(with_receipt.status(), StatusCode::ACCEPTED, "{}", text(&with_receipt));
    let refused = service.post(&other, &headers, b"x").await;
    assert_refused(&refused, 1014);
    assert!(text(&refused).contains("Link field"), "{}", text(&refused));
    let link = header(&with_receipt, "link");
    let known = [("ttl", "0"), ("prefer", "respond-async"), ("link", link)];
    assert_refused(&service.post(&other, &known, b"x").await, 1014);
    assert_eq!(service.delete(header(&with_receipt, "location")).await, StatusCode::NO_CONTENT);
    assert_eq!(service.post(&other, &known, b"x").await.status(), StatusCode::ACCEPTED);

    for settings in ["raise agents_max", "raise stored_bytes_max", "raise receipt_subscriptions_max"] {
        assert_eq!(Log::count("WARN", settings), 1, "{settings}: once a minute");
    }
    assert_eq!(Log::count("WARN", "raise it"), 0);
    service.reconfigure(|_| {}).await;
    for bound in ["as agents_max allows", "as receipt_subscriptions_max allows"] {
        assert_eq!(Log::count("WARN", bound), 1, "{bound}: at the start");
    }
}

#[tokio::test]
async fn new_agents_and_receipt_subscriptions_have_a_rate_for_the_whole_service() {
    let rates = Settings {
        new_agents_per_minute: Some(2),
        new_receipt_subscriptions_per_minute: Some(1),
        ..Settings::default()
    };
    let service = TestService::with(rates).await;
    let to = service.subscribe().await;
    service.subscribe().await;
    let refused = try_subscribe(&service).await;
    assert_refused(&refused, 1009);
    service.join(&to).await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let answer = socket.ask(json!({"messageType": "register", "channelID": CHANNEL})).await;
    assert_eq!(answer["status"], 429, "{answer}");

    let headers = [("prefer", "respond-async")];
    assert_eq!(service.post(&to, &headers, b"x").await.status(), StatusCode::ACCEPTED);
    let too_many = service.post(&to, &headers, b"x").await;
    assert_refused(&too_many, 1009);
    assert!(text(&too_many).contains("Link field"), "{}", text(&too_many));
    let wait = header(&refused, "retry-after").parse().unwrap();
    service.clock.advance(std::time::Duration::from_secs(wait));
    service.subscribe().await;
}

/// The body of an event stream up to the end of its connection, and whether it came to its end.
async fn events_until_the_end(service: &TestService, uri: &str) -> (String, bool) {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/event-stream\r\nPrefer: wait=0\r\n\r\n",
        path(uri)
    );
    let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(within(raw::until_closed(&mut stream)).await).unwrap();
    // A connection that is cut may lose the head too.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ended = answer.ends_with("\r\n0\r\n\r\n");
    (answer, ended)
}

/// Makes the pages of some tables and indexes unreadable while the service runs: its readers have not read them yet.
async fn break_reads(service: &mut TestService, names: &[&str]) {
    let mut pages = Vec::new();
    service
        .restart_after(|dir| {
            let database = Connection::open(dir.join("doorbell.db")).unwrap();
            for name in names {
                let page = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
                pages.push(database.query_row(page, [name], |row| row.get::<_, u32>(0)).unwrap());
            }
        })
        .await;
    let file = std::fs::File::options().write(true).open(service.dir.path().join("doorbell.db")).unwrap();
    for page in pages {
        file.write_all_at(&[0xff; 4096], u64::from(page - 1) * 4096).unwrap();
    }
}

#[tokio::test]
async fn a_read_error_during_wait_0_does_not_look_like_the_end() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    service.send(&to, &[], b"x").await;
    let (answer, ended) = events_until_the_end(&service, &to.set).await;
    assert!(ended && answer.contains("event: message"), "{answer}");

    break_reads(&mut service, &["message_by_agent"]).await;
    let (answer, ended) = events_until_the_end(&service, &to.set).await;
    assert!(!ended && !answer.contains("event: message"), "{answer}");
}

#[tokio::test]
async fn a_read_error_during_the_events_of_receipts_does_not_look_like_the_end_either() {
    let mut service = TestService::start().await;
    let to: Subscription = service.subscribe().await;
    let accepted = service.post(&to, &[("prefer", "respond-async")], b"x").await;
    let receipts = header(&accepted, "link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(service.delete(header(&accepted, "location")).await, StatusCode::NO_CONTENT);
    let (answer, ended) = events_until_the_end(&service, &receipts).await;
    assert!(ended && answer.contains("event: receipt"), "{answer}");

    break_reads(&mut service, &["receipt_by_subscription"]).await;
    let (answer, ended) = events_until_the_end(&service, &receipts).await;
    assert!(!ended && !answer.contains("event: receipt"), "{answer}");
}
