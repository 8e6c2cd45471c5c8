//! 64 senders, some user agents and some readers of receipts at work, until the service goes away; and what the service
//! still has when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorbell_protocol::headers::link::REL_PUSH_RECEIPT;
use doorbell_protocol::receipt::OUTCOME;
use http::{Method, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::SENDERS;
use crate::letter::Letter;
use crate::network::{Mailbox, Network};
use crate::round::{Arrival, Round};
use crate::support::peer::BoxError;
use crate::support::{Peer, Pushed, Reply};

/// How many user agents are connected while the service is killed; the others are away and come back later.
const AGENTS_CONNECTED: usize = 16;

/// The work of one round.
pub(crate) struct Load {
    work: JoinSet<Round>,
    /// What those saw who are done.
    done: Round,
    /// Notified when enough messages were accepted.
    reached: Arc<Notify>,
}

/// Counts the messages that were accepted, up to a number.
#[derive(Clone)]
struct Countdown {
    left: Arc<AtomicUsize>,
    reached: Arc<Notify>,
}

impl Load {
    /// Sends until `enough` messages are accepted, and goes on until the service goes away.
    pub(crate) fn start(network: &Network, mailboxes: &Arc<Vec<Mailbox>>, round: u32, enough: usize) -> Self {
        let mut work = JoinSet::new();
        let reached = Arc::new(Notify::new());
        let countdown = Countdown { left: Arc::new(AtomicUsize::new(enough)), reached: reached.clone() };
        for n in 0..SENDERS {
            let (network, mailboxes, countdown) = (network.clone(), mailboxes.clone(), countdown.clone());
            work.spawn(async move {
                let Some(peer) = network.connect().await else { return Round::default() };
                let sends = send_until_killed(&network, &peer, &mailboxes[n], (round, n), &countdown);
                // Every other application server listens for receipts while it sends; the rest fetch them later.
                if n % 2 == 1 {
                    return sends.await;
                }
                let mut reader = mailboxes[n].reader.lock().await;
                let follows = reader.follow(&network, &peer, &mailboxes[n].receipts);
                let (mut sent, receipts) = tokio::join!(sends, follows);
                sent.receipts_before = receipts;
                sent
            });
        }
        for n in 0..AGENTS_CONNECTED {
            let (network, mailboxes) = (network.clone(), mailboxes.clone());
            work.spawn(async move { listen_until_killed(&network, &mailboxes[n].subscription).await });
        }
        Self { work, done: Round::default(), reached }
    }

    /// Waits until enough messages were accepted.
    pub(crate) async fn is_enough(&mut self) {
        loop {
            tokio::select! {
                () = self.reached.notified() => return,
                part = self.work.join_next() => {
                    let part = part.expect("the service stays until it is killed");
                    self.done.add(part.expect("no sender panics"));
                }
            }
        }
    }

    /// Waits until everybody has noticed that the service is gone.
    pub(crate) async fn ends(mut self) -> Round {
        let mut round = self.done;
        while let Some(part) = self.work.join_next().await {
            round.add(part.expect("no sender panics"));
        }
        round
    }
}

impl Countdown {
    fn accepted(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.reached.notify_one();
        }
    }
}

async fn send_until_killed(
    network: &Network,
    peer: &Peer,
    mailbox: &Mailbox,
    (round, sender): (u32, usize),
    countdown: &Countdown,
) -> Round {
    let mut sent = Round::default();
    for n in 0.. {
        let letters = Letter::nth(round, sender, n);
        // Twins are on their way at the same time.
        let replies = match &letters[..] {
            [a, b] => Vec::from(<[_; 2]>::from(tokio::join!(send(peer, mailbox, a), send(peer, mailbox, b)))),
            letters => vec![send(peer, mailbox, &letters[0]).await],
        };
        for (letter, reply) in letters.into_iter().zip(replies) {
            let promised = if letter.wants_receipt() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
            match reply {
                Ok(reply) if reply.status == promised => {
                    sent.accepted.insert(network.path(&reply.location()), letter);
                    countdown.accepted();
                }
                Ok(reply) => sent.refused.push(reply.status),
                Err(_) => sent.unanswered += 1,
            }
        }
        if sent.unanswered > 0 {
            break;
        }
    }
    sent
}

async fn send(peer: &Peer, mailbox: &Mailbox, letter: &Letter) -> Result<Reply, BoxError> {
    let (link, topic) = (format!("<{}>;rel=\"{REL_PUSH_RECEIPT}\"", mailbox.receipts), letter.topic());
    let mut headers = vec![("ttl", "86400")];
    headers.extend(topic.as_deref().map(|topic| ("topic", topic)));
    if letter.wants_receipt() {
        headers.extend([("prefer", "respond-async"), ("link", &link)]);
    }
    peer.request(Method::POST, &mailbox.push, &headers, &letter.body()).await
}

async fn listen_until_killed(network: &Network, subscription: &str) -> Round {
    let mut round = Round::default();
    let Some(peer) = network.connect().await else { return round };
    let Ok(mut pushes) = peer.monitor(subscription, true).await else { return round };
    while let Some(push) = pushes.recv().await {
        let deleted = delete(&peer, &push).await;
        round.before.insert(push.path, Arrival { body: push.reply.body, deleted });
    }
    round
}

/// Everything that the service still has for any mailbox, and the receipts that came of it or were there before.
pub(crate) async fn drain(network: &Network, mailboxes: &[Mailbox]) -> Round {
    let peer = network.connect().await.expect("the service is up again");
    let mut round = Round::default();
    for mailbox in mailboxes {
        loop {
            let mut pushes = peer.monitor(&mailbox.subscription, false).await.expect("the service is up again");
            let mut came = 0;
            while let Some(push) = pushes.recv().await {
                came += 1;
                let deleted = delete(&peer, &push).await;
                assert_eq!(deleted, Some(StatusCode::NO_CONTENT), "a message that was just pushed can be deleted");
                round.after.insert(push.path, Arrival { body: push.reply.body, deleted });
            }
            if came == 0 {
                break;
            }
        }
        let mut reader = mailbox.reader.lock().await;
        round.receipts_after.extend(reader.catch_up(network, &peer, &mailbox.receipts).await);
    }
    round
}

/// What was accepted has ended by now, and its URL with it: also of a message that was replaced by its twin.
pub(crate) async fn nothing_is_left(network: &Network, round: &Round) {
    let peer = network.connect().await.expect("the service is up again");
    for (path, letter) in &round.accepted {
        let reply = peer.request(Method::GET, path, &[], b"").await.expect("an answer");
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{letter:?} is still there");
    }
}

/// What the service answers; `None` if it was killed before it did.
async fn delete(peer: &Peer, push: &Pushed) -> Option<StatusCode> {
    let (name, outcome) = (OUTCOME, Letter::of(&push.reply.body).outcome());
    let headers = [(name.as_str(), outcome.as_str())];
    peer.request(Method::DELETE, &push.path, &headers, b"").await.ok().map(|reply| reply.status)
}
