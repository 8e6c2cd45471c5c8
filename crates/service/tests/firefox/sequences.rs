//! Random sequences of what a client may do: no panic, no loss, nothing left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use doorbell_protocol::firefox::Version;
use doorbell_service::config::Settings;
use proptest::prelude::*;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::at;
use crate::support::socket::{Notified, Socket};
use crate::support::{TestService, within};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Register(u8),
    Unregister(u8),
    /// The application server of a channel sends, if there is one.
    Send(u8),
    /// Of the notifications that have come and were not acknowledged, the one at this place.
    Acknowledge(usize, u64),
    AcknowledgeNonsense(String),
    Nack(usize),
    /// Long enough for a second offer.
    Wait,
    Ping,
    WebSocketPing,
    Urgency(&'static str),
    Follow,
    /// Text that ends the connection, because it is not a message.
    Garbage(String),
    Binary,
    HelloAgain,
    Cut,
    /// A second connection with the same uaid.
    TakeOver,
    Restart,
}

fn steps() -> impl Strategy<Value = Step> {
    let urgency = prop_oneof![Just("very-low"), Just("normal"), Just("high"), Just("odd")];
    prop_oneof![
        4 => (0u8..4).prop_map(Step::Register),
        2 => (0u8..4).prop_map(Step::Unregister),
        8 => (0u8..4).prop_map(Step::Send),
        6 => (0usize..8, 100u64..103).prop_map(|(place, code)| Step::Acknowledge(place, code)),
        1 => "[A-Za-z0-9_-]{0,12}".prop_map(Step::AcknowledgeNonsense),
        1 => (0usize..8).prop_map(Step::Nack),
        2 => Just(Step::Wait),
        1 => Just(Step::Ping),
        1 => Just(Step::WebSocketPing),
        2 => urgency.prop_map(Step::Urgency),
        1 => Just(Step::Follow),
        1 => r#"\PC{0,20}"#.prop_map(Step::Garbage),
        1 => Just(Step::Binary),
        1 => Just(Step::HelloAgain),
        3 => Just(Step::Cut),
        2 => Just(Step::TakeOver),
        1 => Just(Step::Restart),
    ]
}

fn name(channel: u8) -> String {
    format!("channel-{channel}")
}

/// The client, and the state that the service has to match.
struct Client {
    service: TestService,
    socket: Option<Socket>,
    uaid: Option<String>,
    /// The push resources of the channels that are registered.
    pushes: BTreeMap<u8, String>,
    /// Messages that were accepted and neither acknowledged nor unregistered: channel and text.
    owed: BTreeSet<(String, String)>,
    unacknowledged: Vec<Notified>,
    sent: usize,
}

impl Client {
    async fn socket(&mut self) -> &mut Socket {
        if self.socket.is_none() {
            self.unacknowledged.clear();
            let (socket, uaid) = Socket::hello(self.service.address, self.uaid.as_deref()).await;
            if self.pushes.is_empty() {
                // An agent without a subscription need not be known.
                self.uaid = None;
            }
            assert!(self.uaid.as_ref().is_none_or(|known| *known == uaid), "an agent with subscriptions is known");
            self.uaid = Some(uaid);
            self.socket = Some(socket);
        }
        self.socket.as_mut().unwrap()
    }

    /// Sends a message and waits for the answer that `is_answer` accepts; it collects the notifications before it.
    async fn ask(&mut self, message: serde_json::Value, is_answer: impl Fn(&serde_json::Value) -> bool) {
        let socket = self.socket().await;
        socket.send(message).await;
        let mut came = Vec::new();
        loop {
            let received = socket.next().await;
            if is_answer(&received) {
                break;
            }
            came.push(Notified::from(&received));
        }
        self.unacknowledged.extend(came);
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Register(channel) => {
                let socket = self.socket().await;
                socket.send(json!({"messageType": "register", "channelID": name(channel)})).await;
                let mut came = Vec::new();
                let push = loop {
                    let received = socket.next().await;
                    if received["messageType"] == "register" {
                        assert_eq!((&received["status"], &received["channelID"]), (&200.into(), &name(channel).into()));
                        break received["pushEndpoint"].as_str().unwrap().to_owned();
                    }
                    came.push(Notified::from(&received));
                };
                self.unacknowledged.extend(came);
                let known = self.pushes.insert(channel, push.clone());
                assert!(known.is_none_or(|known| known == push), "one channel has one URL");
            }
            Step::Unregister(channel) => {
                let ask = json!({"messageType": "unregister", "channelID": name(channel)});
                self.ask(ask, |received| received["messageType"] == "unregister" && received["status"] == 200).await;
                self.pushes.remove(&channel);
                self.owed.retain(|(of, _)| *of != name(channel));
            }
            Step::Send(channel) => {
                let Some(push) = self.pushes.get(&channel) else { return };
                self.sent += 1;
                let text = self.sent.to_string();
                self.service.send(&at(push), &[("ttl", "86400")], text.as_bytes()).await;
                self.owed.insert((name(channel), text));
            }
            Step::Acknowledge(place, code) => {
                if place < self.unacknowledged.len() {
                    let message = self.unacknowledged.swap_remove(place);
                    self.socket().await.ack(&message, code).await;
                    // Once it is offered again: by the service after a wait, or on the next connection.
                    if code != 102 || Version::from_text(&message.version).unwrap().is_second {
                        self.owed.remove(&(message.channel, message.text));
                    }
                    self.is_answered().await;
                }
            }
            Step::AcknowledgeNonsense(version) => {
                let update = json!({"channelID": "x", "version": version, "code": 100});
                self.socket().await.send(json!({"messageType": "ack", "updates": [update]})).await;
            }
            Step::Nack(place) => {
                let version = self.unacknowledged.get(place).map_or("?", |message| &message.version).to_owned();
                self.socket().await.send(json!({"messageType": "nack", "version": version, "code": 303})).await;
            }
            Step::Wait => {
                self.service.clock.advance(Duration::from_secs(5));
                if self.socket.is_some() {
                    self.is_answered().await;
                }
            }
            Step::Ping => self.is_answered().await,
            Step::WebSocketPing => self.socket().await.frame(Message::Ping("x".into())).await,
            Step::Urgency(word) => {
                let ask = json!({"messageType": "urgency", "min": word});
                self.ask(ask, |received| received["messageType"] == "urgency").await;
            }
            Step::Follow => {
                self.socket().await.send(json!({"messageType": "broadcast_subscribe", "broadcasts": {"a": "1"}})).await;
            }
            Step::Garbage(text) => self.is_disconnected_after(Message::text(format!("!{text}"))).await,
            Step::Binary => self.is_disconnected_after(Message::binary(&b"x"[..])).await,
            Step::HelloAgain => self.is_disconnected_after(Message::text(r#"{"messageType":"hello"}"#)).await,
            Step::Cut => self.socket = None,
            Step::TakeOver => {
                let Some(old) = self.socket.take() else { return };
                self.socket().await;
                if !self.pushes.is_empty() {
                    assert_eq!(old.closed().await, 4774);
                }
            }
            Step::Restart => {
                self.socket = None;
                within(self.service.restart()).await;
            }
        }
    }

    /// The service has handled all that was sent before.
    async fn is_answered(&mut self) {
        self.ask(json!({}), |received| *received == json!({})).await;
    }

    async fn is_disconnected_after(&mut self, frame: Message) {
        self.socket().await.frame(frame).await;
        let socket = self.socket.take().unwrap();
        assert!([1003, 1007, 1008].contains(&socket.closed().await));
    }

    /// A new connection receives everything that is owed, and nothing else.
    async fn receives_what_is_owed(&mut self) {
        self.socket = None;
        self.is_answered().await;
        let mut due = self.owed.clone();
        while !due.is_empty() {
            for message in std::mem::take(&mut self.unacknowledged) {
                assert!(due.remove(&(message.channel.clone(), message.text.clone())), "{message:?} is not due");
            }
            if !due.is_empty() {
                let message = self.socket().await.notified().await;
                self.unacknowledged.push(message);
            }
        }
        self.is_answered().await;
        assert!(self.unacknowledged.is_empty(), "{:?} came twice", self.unacknowledged);
    }

    /// A connection that is left open would keep the service from stopping until the drain time-out.
    async fn leaves_nothing(mut self) {
        self.socket = None;
        let stopped = tokio::time::timeout(Duration::from_secs(20), self.service.service.take().unwrap().stop()).await;
        stopped.expect("no connection is left").expect("the store closes");
    }
}

impl From<&serde_json::Value> for Notified {
    fn from(received: &serde_json::Value) -> Self {
        assert_eq!(received["messageType"], "notification", "{received}");
        let member = |name: &str| received[name].as_str().unwrap().to_owned();
        let text = String::from_utf8(doorbell_protocol::base64url::decode(&member("data")).unwrap()).unwrap();
        Self { channel: member("channelID"), version: member("version"), text }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// PS-8030-6.2-7
    #[test]
    fn whatever_a_client_does_nothing_is_lost_doubled_or_left_behind(steps in prop::collection::vec(steps(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let settings = Settings { drain_timeout_secs: Some(60), ..Settings::default() };
            let service = TestService::with(settings).await;
            let (socket, uaid, unacknowledged) = (None, None, Vec::new());
            let (pushes, owed) = (BTreeMap::new(), BTreeSet::new());
            let mut client = Client { service, socket, uaid, pushes, owed, unacknowledged, sent: 0 };
            for step in steps {
                client.step(step).await;
            }
            client.receives_what_is_owed().await;
            client.leaves_nothing().await;
        });
    }
}
