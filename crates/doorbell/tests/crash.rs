//! Invariant 1 the hard way: `kill -9` while 64 application servers send, again and again on one state directory.
//!
//! Every message that was answered 201 must reach its user agent once the service runs again: nothing is lost, nothing
//! that a user agent has deleted comes back. `cargo xtask crash` runs more rounds than CI has time for.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode};
use support::peer::{Subscribed, tls};
use support::{Peer, Pushed, Service};
use tokio::sync::Notify;
use tokio::task::JoinSet;

const SENDERS: usize = 64;
const ROUNDS_DEFAULT: u32 = 20;

/// How many user agents are connected while the service is killed; the others are away and come back later.
const AGENTS_CONNECTED: usize = 16;

/// How many messages are accepted in a round before the service is killed: never the same number, so that the kill
/// falls on every phase of a commit sooner or later.
fn accepted_before_the_kill(round: u32) -> usize {
    300 + (round as usize * 97) % 500
}

/// PS-8030-5-2, PS-8030-6.2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_the_service_is_killed_under_load() {
    let rounds = std::env::var("DOORBELL_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS_DEFAULT);
    let mut service = Service::start();
    let network = Network::of(&service);
    let mailboxes = subscribe(&network).await;
    let mut tally = Tally::default();
    for round in 1..=rounds {
        let load = Load::start(&network, &mailboxes, round);
        load.reached.notified().await;
        service.kill();
        let mut messages = load.ends().await;
        service.start_again();
        messages.add(drain(&network, &mailboxes).await);
        tally.check(round, &messages);
    }
    writeln!(std::io::stderr(), "crash: {rounds} rounds of kill -9 with {SENDERS} senders: {tally}").ok();
    assert!(tally.accepted > 0 && tally.delivered_after > 0, "{tally}");
}

/// How to reach the service, also while it is down.
#[derive(Clone)]
struct Network {
    origin: String,
    authority: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Network {
    fn of(service: &Service) -> Self {
        Self { origin: service.origin(), authority: service.authority(), tls: tls(service) }
    }

    async fn connect(&self) -> Option<Peer> {
        Peer::connect_with(&self.origin, &self.authority, self.tls.clone()).await.ok()
    }

    fn path(&self, url: &str) -> String {
        url.strip_prefix(&self.origin).unwrap_or(url).to_owned()
    }
}

async fn subscribe(network: &Network) -> Arc<Vec<Subscribed>> {
    let peer = network.connect().await.expect("the service is up");
    let mut mailboxes = Vec::new();
    for _ in 0..SENDERS {
        mailboxes.push(peer.subscribe().await);
    }
    Arc::new(mailboxes)
}

/// What became of the messages of one round, each known by the path of its URL.
#[derive(Default)]
struct Messages {
    /// Answered 201, with their bodies.
    accepted: HashMap<String, Vec<u8>>,
    /// Sent, but the service was killed before it answered.
    unanswered: usize,
    /// Answered with something else than 201.
    refused: Vec<StatusCode>,
    /// Received before the kill, with their bodies.
    before: HashMap<String, Vec<u8>>,
    /// Received after the restart, with their bodies.
    after: HashMap<String, Vec<u8>>,
    /// Received before the kill, and their DELETE was answered 204.
    deleted: HashSet<String>,
}

impl Messages {
    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.unanswered += other.unanswered;
        self.refused.extend(other.refused);
        self.before.extend(other.before);
        self.after.extend(other.after);
        self.deleted.extend(other.deleted);
    }
}

/// 64 senders and some user agents at work, until the service goes away.
struct Load {
    work: JoinSet<Messages>,
    /// Told when enough messages were accepted.
    reached: Arc<Notify>,
}

impl Load {
    fn start(network: &Network, mailboxes: &Arc<Vec<Subscribed>>, round: u32) -> Self {
        let mut work = JoinSet::new();
        let reached = Arc::new(Notify::new());
        let left = Arc::new(AtomicUsize::new(accepted_before_the_kill(round)));
        for n in 0..SENDERS {
            let (network, mailboxes) = (network.clone(), mailboxes.clone());
            let (reached, left) = (reached.clone(), left.clone());
            work.spawn(async move {
                let accepted = || {
                    if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                        reached.notify_one();
                    }
                };
                send_until_killed(&network, &mailboxes[n].push, &format!("{round}/{n}"), accepted).await
            });
        }
        for n in 0..AGENTS_CONNECTED {
            let (network, mailboxes) = (network.clone(), mailboxes.clone());
            work.spawn(async move { listen_until_killed(&network, &mailboxes[n].subscription).await });
        }
        Self { work, reached }
    }

    async fn ends(mut self) -> Messages {
        let mut messages = Messages::default();
        while let Some(part) = self.work.join_next().await {
            messages.add(part.expect("no sender panics"));
        }
        messages
    }
}

async fn send_until_killed(network: &Network, push: &str, name: &str, accepted: impl Fn()) -> Messages {
    let mut messages = Messages::default();
    let Some(peer) = network.connect().await else { return messages };
    for n in 0.. {
        let body = body(name, n);
        match peer.request(Method::POST, push, &[("ttl", "86400")], &body).await {
            Ok(reply) if reply.status == StatusCode::CREATED => {
                let location = reply.headers["location"].to_str().expect("a Location is text");
                messages.accepted.insert(network.path(location), body);
                accepted();
            }
            Ok(reply) => messages.refused.push(reply.status),
            Err(_) => {
                messages.unanswered += 1;
                break;
            }
        }
    }
    messages
}

/// A body that no other message has, of any length up to the maximum.
fn body(name: &str, n: usize) -> Vec<u8> {
    let name = format!("{name}/{n} ");
    let length = name.len() + (n * 613) % (4096 - name.len());
    name.bytes().cycle().take(length).collect()
}

async fn listen_until_killed(network: &Network, subscription: &str) -> Messages {
    let mut messages = Messages::default();
    let Some(peer) = network.connect().await else { return messages };
    let Ok(mut pushes) = peer.monitor(subscription, true).await else { return messages };
    while let Some(push) = pushes.recv().await {
        if delete(&peer, &push).await {
            messages.deleted.insert(push.path.clone());
        }
        messages.before.insert(push.path, push.reply.body.to_vec());
    }
    messages
}

/// Everything that the service still has for any mailbox.
async fn drain(network: &Network, mailboxes: &[Subscribed]) -> Messages {
    let peer = network.connect().await.expect("the service is up again");
    let mut messages = Messages::default();
    for mailbox in mailboxes {
        loop {
            let mut pushes = peer.monitor(&mailbox.subscription, false).await.expect("the service is up again");
            let mut came = 0;
            while let Some(push) = pushes.recv().await {
                came += 1;
                assert!(delete(&peer, &push).await, "a message that was just pushed can be deleted");
                messages.after.insert(push.path, push.reply.body.to_vec());
            }
            if came == 0 {
                break;
            }
        }
    }
    messages
}

async fn delete(peer: &Peer, push: &Pushed) -> bool {
    let reply = peer.request(Method::DELETE, &push.path, &[], b"").await;
    reply.is_ok_and(|reply| reply.status == StatusCode::NO_CONTENT)
}

/// The sums over all rounds.
#[derive(Default)]
struct Tally {
    accepted: usize,
    delivered_before: usize,
    delivered_after: usize,
    unanswered: usize,
    unanswered_delivered: usize,
    refused: usize,
}

impl Tally {
    fn check(&mut self, round: u32, messages: &Messages) {
        let received = |path: &String| messages.after.get(path).or_else(|| messages.before.get(path));
        let lost: Vec<&String> = messages.accepted.keys().filter(|path| received(path).is_none()).collect();
        assert!(lost.is_empty(), "round {round}: lost {} of {}: {lost:?}", lost.len(), messages.accepted.len());
        for (path, body) in &messages.accepted {
            assert_eq!(received(path), Some(body), "round {round}: {path} arrived changed");
        }
        let back: Vec<&String> = messages.deleted.iter().filter(|path| messages.after.contains_key(*path)).collect();
        assert!(
            back.is_empty(),
            "round {round}: {} came back after their DELETE was answered 204: {back:?}",
            back.len()
        );

        let all: HashSet<&String> = messages.after.keys().chain(messages.before.keys()).collect();
        self.accepted += messages.accepted.len();
        self.delivered_after += messages.accepted.keys().filter(|path| messages.after.contains_key(*path)).count();
        self.delivered_before += messages.accepted.keys().filter(|path| !messages.after.contains_key(*path)).count();
        self.unanswered += messages.unanswered;
        self.unanswered_delivered += all.iter().filter(|path| !messages.accepted.contains_key(**path)).count();
        self.refused += messages.refused.len();
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let delivered = self.delivered_before + self.delivered_after;
        write!(f, "{} accepted, {delivered} delivered ", self.accepted)?;
        write!(f, "({} before a kill, {} after the restart), ", self.delivered_before, self.delivered_after)?;
        write!(f, "{} lost; ", self.accepted - delivered)?;
        write!(f, "{} unanswered at a kill, {} of them delivered; ", self.unanswered, self.unanswered_delivered)?;
        write!(f, "{} refused", self.refused)
    }
}
