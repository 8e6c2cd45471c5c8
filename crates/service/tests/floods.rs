//! What a client causes as often as it likes has one line a minute in the log, with the count. A test binary of its own,
//! because it counts the lines of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use doorbell_service::config::Settings;
use http::StatusCode;
use rusqlite::Connection;
use serde_json::json;
use support::log::Log;
use support::socket::Socket;
use support::{Subscription, TestService};

/// Requests of one kind.
const FLOOD: usize = 30;

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

/// A service in whose store every key of a subscription is damaged, every header record of a message, and every urgency.
async fn damaged() -> (TestService, Subscription, String) {
    let mut service = TestService::with(Settings { new_agents_per_source: Some(2), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    socket.register(CHANNEL).await;
    socket.cut();
    for _ in 0..2 {
        service.send(&to, &[], b"x").await;
    }
    service
        .restart_after(|dir| {
            let database = Connection::open(dir.join("doorbell.db")).unwrap();
            database.execute("UPDATE subscription SET vapid_key = zeroblob(64)", []).unwrap();
            database.execute("UPDATE message SET urgency = 99", []).unwrap();
        })
        .await;
    (service, to, uaid)
}

#[tokio::test]
async fn each_kind_of_flood_has_one_line_a_minute_with_its_count() {
    Log::collect();
    let (service, to, uaid) = damaged().await;
    let kinds = [
        ("WARN", "too many are created"),
        ("ERROR", "the stored key of a subscription is damaged"),
        ("ERROR", "the service could not do its work"),
        ("ERROR", "a read left out damaged rows"),
    ];
    let mut agent = service.agent().await;
    for minute in 1..=2 {
        for _ in 0..FLOOD {
            // A bound on what anybody may create.
            while service
                .ask(http::Request::post(format!("{}/subscribe", service.origin())).body("".into()).unwrap())
                .await
                .status()
                != StatusCode::TOO_MANY_REQUESTS
            {}
            // A record that cannot be read, at two doors.
            service.post(&to, &[], b"to a damaged subscription").await;
            let (mut socket, _) = Socket::hello(service.address, Some(&uaid)).await;
            let register = json!({"messageType": "register", "channelID": CHANNEL});
            assert_eq!(socket.ask(register).await["status"], 503);
            socket.cut();
            // Rows that the store leaves out of what it reads.
            agent.fetch(&to.set).await;
        }
        for (level, words) in kinds {
            // The store counts by its own clock, which a test cannot move.
            let lines = if words.starts_with("a read") { 1 } else { minute };
            assert_eq!(Log::count(level, words), lines, "{words}: minute {minute}");
        }
        service.clock.advance(Duration::from_secs(61));
    }
    assert!(Log::count("ERROR", "the service could not do its work id=") > 0);
}
