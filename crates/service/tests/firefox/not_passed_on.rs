//! Code 102: the client received a message and did not pass it to the web app. Firefox loses a message in this way that
//! arrives while its first window opens, so the message is offered once more.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::at;
use crate::support::events::EventStream;
use crate::support::socket::{Notified, Socket};
use crate::support::{Subscription, TestService, header, text, within};
use crate::{CHANNEL, OTHER_CHANNEL};

const DAY: (&str, &str) = ("ttl", "86400");

/// A browser with two subscriptions, the sender's view of them, and where the receipts of the first one come.
struct Scene {
    service: TestService,
    socket: Socket,
    uaid: String,
    to: Subscription,
    other: Subscription,
    receipts: Option<String>,
}

impl Scene {
    async fn new() -> Self {
        let service = TestService::start().await;
        let (mut socket, uaid) = Socket::hello(service.address, None).await;
        let to = at(&socket.register(CHANNEL).await);
        let other = at(&socket.register(OTHER_CHANNEL).await);
        Self { service, socket, uaid, to, other, receipts: None }
    }

    /// Sends a message that asks for a receipt; its URI.
    async fn send(&mut self, headers: &[(&str, &str)], body: &str) -> String {
        let link = self.receipts.as_ref().map(|uri| format!("<{uri}>; rel=\"urn:ietf:params:push:receipt\""));
        let named: Vec<_> = link.iter().map(|link| ("link", link.as_str())).collect();
        let headers = [&named[..], &[("prefer", "respond-async")], headers].concat();
        let answer = self.service.post(&self.to, &headers, body.as_bytes()).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", text(&answer));
        let link = header(&answer, "link");
        self.receipts = Some(link[1..link.find('>').unwrap()].to_owned());
        header(&answer, "location").to_owned()
    }

    /// The next message, whose text is this, is acknowledged with this code.
    async fn acknowledged(&mut self, body: &str, code: u64) -> Notified {
        let message = self.socket.notified().await;
        assert_eq!(message.text, body);
        self.acknowledge(&message, code).await;
        message
    }

    async fn acknowledge(&mut self, message: &Notified, code: u64) {
        self.socket.ack(message, code).await;
        self.socket.is_answered().await;
    }

    /// The next message; the clock moves until it comes.
    async fn in_time(&mut self) -> Notified {
        within(async {
            loop {
                let step = tokio::time::timeout(Duration::from_millis(20), self.socket.notified());
                match step.await {
                    Ok(message) => return message,
                    Err(_) => self.service.clock.advance(Duration::from_secs(1)),
                }
            }
        })
        .await
    }

    /// Nothing comes for an hour but a message that is sent then.
    async fn is_silent(&mut self) {
        self.service.clock.advance(Duration::from_secs(3_600));
        self.service.send(&self.other, &[DAY], b"other").await;
        self.acknowledged("other", 100).await;
    }

    async fn reconnect(&mut self) {
        let (socket, same) = Socket::hello(self.service.address, Some(&self.uaid)).await;
        assert_eq!(same, self.uaid);
        std::mem::replace(&mut self.socket, socket).cut();
    }

    /// The receipts say this, in order.
    async fn receipts(&self, expected: &[&str]) {
        let mut events = EventStream::open(self.service.address, self.receipts.as_ref().unwrap(), &[]).await;
        for outcome in expected {
            assert_eq!(events.next().await.unwrap().data["outcome"], *outcome);
        }
    }
}

#[tokio::test]
async fn what_was_not_passed_on_comes_once_more_under_another_version_after_some_seconds_fx_6() {
    let mut scene = Scene::new().await;
    scene.send(&[DAY], "ring").await;
    let first = scene.acknowledged("ring", 102).await;
    scene.service.send(&scene.other, &[DAY], b"other").await;
    scene.acknowledged("other", 100).await;
    let start = scene.service.clock.now();
    let second = scene.in_time().await;
    assert!(scene.service.clock.now().since(start) >= Duration::from_secs(4), "not at once");
    assert_eq!((&second.text, &second.channel), (&first.text, &first.channel));
    assert_ne!(second.version, first.version, "the client remembers the first one");
    scene.acknowledge(&first, 102).await;
    scene.acknowledge(&second, 100).await;
    scene.receipts(&["delivered"]).await;
    scene.is_silent().await;
    scene.reconnect().await;
    scene.is_silent().await;
}

#[tokio::test]
async fn a_second_report_of_the_same_is_the_end_fx_6_ps_8030_6_3_3() {
    let mut scene = Scene::new().await;
    let uri = scene.send(&[DAY], "ring").await;
    scene.acknowledged("ring", 102).await;
    let second = scene.in_time().await;
    assert_eq!(scene.service.get(&uri).await.status(), StatusCode::OK, "it waits for the answer");
    scene.acknowledge(&second, 102).await;
    scene.receipts(&["refused"]).await;
    assert_eq!(scene.service.get(&uri).await.status(), StatusCode::NOT_FOUND);
    scene.is_silent().await;
    scene.reconnect().await;
    scene.is_silent().await;
}

/// The client remembers the first version, and the service no longer knows how often it sent it.
#[tokio::test]
async fn a_restart_before_the_second_offer_loses_nothing_fx_6() {
    let mut scene = Scene::new().await;
    scene.send(&[DAY], "ring").await;
    let first = scene.acknowledged("ring", 102).await;
    scene.service.restart().await;
    scene.reconnect().await;
    let again = scene.acknowledged("ring", 102).await;
    assert_eq!(again.version, first.version);
    let second = scene.in_time().await;
    assert_ne!(second.version, first.version);
    scene.acknowledge(&second, 100).await;
    scene.receipts(&["delivered"]).await;
    scene.is_silent().await;
}

#[tokio::test]
async fn what_is_over_while_it_waits_is_not_offered_again_fx_6_ps_8030_5_2_7_and_5_4_2() {
    let mut scene = Scene::new().await;
    scene.send(&[("ttl", "3")], "short").await;
    scene.acknowledged("short", 102).await;
    scene.send(&[("ttl", "86400"), ("topic", "t")], "old").await;
    scene.acknowledged("old", 102).await;
    scene.send(&[("ttl", "86400"), ("topic", "t")], "new").await;
    scene.acknowledged("new", 100).await;
    let withdrawn = scene.send(&[DAY], "withdrawn").await;
    scene.acknowledged("withdrawn", 102).await;
    assert_eq!(scene.service.delete(&withdrawn).await, StatusCode::NO_CONTENT);
    scene.send(&[("ttl", "0")], "now or never").await;
    scene.acknowledged("now or never", 102).await;
    scene.is_silent().await;
}

/// A hostile client: neither a flood of reports nor those about what it never received end or repeat anything.
#[tokio::test]
async fn reports_about_nothing_and_a_flood_of_them_change_nothing_fx_6() {
    let mut scene = Scene::new().await;
    scene.send(&[DAY], "ring").await;
    let first = scene.acknowledged("ring", 102).await;
    let update = json!({"channelID": CHANNEL, "version": first.version, "code": 102});
    let unknown = json!({"channelID": CHANNEL, "version": "AAAAAAAAAAc", "code": 102});
    for _ in 0..20 {
        let updates: Vec<_> = (0..100).flat_map(|_| [update.clone(), unknown.clone()]).collect();
        scene.socket.send(json!({"messageType": "ack", "updates": updates})).await;
    }
    scene.socket.is_answered().await;
    let second = scene.in_time().await;
    assert_eq!(second.text, "ring");
    scene.acknowledge(&second, 100).await;
    scene.receipts(&["delivered"]).await;
    scene.is_silent().await;
}
