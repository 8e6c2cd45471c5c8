//! Messages in a tight series, from one moment to another: whatever happens in between, some of them meet it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::receipt::Outcome;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, ClientConfig};
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::receipts::book::ReceiptBook;
use doorbell_sender::receipts::follower::{Follower, ReceiptEvent};
use doorbell_sender::request::{Message, Options, ReceiptWish};
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Duration, interval};

use super::app_server::AppServer;
use super::clock::Deadline;
use super::service::Service;

/// So many are on their way at any moment, whether the browser is quick or slow.
const ON_THEIR_WAY: usize = 6;
const PACE: Duration = Duration::from_millis(10);
const TTL_SECS: u32 = 600;

/// Messages that are being sent.
pub struct Series {
    state: Arc<State>,
    /// The texts, with the URLs of the messages.
    sending: JoinHandle<Vec<(String, String)>>,
}

#[derive(Default)]
struct State {
    sent: AtomicUsize,
    ends: AtomicBool,
    /// What became of the messages, by their URLs.
    outcomes: Mutex<HashMap<String, Outcome>>,
}

impl Series {
    /// Begins one of `shop`: `NAME 1`, `NAME 2` and so on.
    pub fn begin(name: &'static str, shop: &AppServer, subscription: &Value, service: &Service) -> Self {
        let subscription = Subscription::from_json(&subscription.to_string()).expect("a subscription");
        let extra_ca_pem = std::fs::read(service.ca()).expect("the service's CA");
        let addresses = AddressPolicy::public().allow_loopback();
        let config = ClientConfig { addresses, extra_ca_pem, ..ClientConfig::default() };
        let client = Client::new(config).expect("a client");
        let state = Arc::new(State::default());
        let sending = tokio::spawn(send(name, client, shop.signer(), subscription, Arc::clone(&state)));
        Self { state, sending }
    }

    /// How many messages the service has accepted so far.
    pub fn sent(&self) -> usize {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Ends it: the texts of all messages, each of which the browser has passed to its service worker.
    pub async fn ends_delivered(self) -> Vec<String> {
        self.state.ends.store(true, Ordering::Relaxed);
        let messages = self.sending.await.expect("the series ends in order");
        let (deadline, mut pace) = (Deadline::soon(), interval(PACE));
        while self.state.settled() < messages.len() {
            pace.tick().await;
            let settled = self.state.settled();
            assert!(!deadline.left().is_zero(), "there are {settled} receipts of {}", messages.len());
        }
        let outcomes = self.state.outcomes.lock().expect("no follower panics with it");
        let is_lost = |(_, message): &&(String, String)| outcomes.get(message) != Some(&Outcome::Delivered);
        let lost: Vec<_> = messages.iter().filter(is_lost).map(|(text, _)| text).collect();
        assert!(lost.is_empty(), "of {} messages these are lost: {lost:?}", messages.len());
        messages.into_iter().map(|(text, _)| text).collect()
    }
}

impl State {
    fn settled(&self) -> usize {
        self.outcomes.lock().expect("no follower panics with it").len()
    }
}

async fn send(
    name: &'static str,
    client: Client,
    signer: Signer,
    subscription: Subscription,
    state: Arc<State>,
) -> Vec<(String, String)> {
    let (book, options) = (ReceiptBook::new(), Options::new(Ttl::from_secs(TTL_SECS)));
    let (mut messages, mut follows, mut pace) = (Vec::new(), None, interval(PACE));
    while !state.ends.load(Ordering::Relaxed) || messages.is_empty() {
        pace.tick().await;
        if messages.len() >= state.settled() + ON_THEIR_WAY {
            continue;
        }
        let text = format!("{name} {}", messages.len() + 1);
        let (payload, receipt) = (text.as_bytes(), ReceiptWish::Book(&book));
        let message = Message { subscription: &subscription, payload, options: &options, signer: &signer, receipt };
        let reply = client.send(&message).await.expect("an answer");
        let Answer::Accepted(Accepted { message: Some(message), receipt: Some(receipts), .. }) = reply.answer else {
            panic!("{reply:?}");
        };
        messages.push((text, message));
        state.sent.fetch_add(1, Ordering::Relaxed);
        follows.get_or_insert_with(|| {
            let receipts = Endpoint::parse(&receipts).expect("a URL");
            tokio::spawn(follow(Follower::new(&client, receipts), Arc::clone(&state)))
        });
    }
    messages
}

async fn follow(mut follower: Follower, state: Arc<State>) {
    while let Ok(ReceiptEvent::Receipt(receipt)) = follower.next().await {
        state.outcomes.lock().expect("no test panics with it").insert(receipt.message, receipt.outcome);
    }
}
