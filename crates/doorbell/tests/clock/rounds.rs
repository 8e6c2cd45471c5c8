//! `kill -9` under load, again and again on one state directory, while the wall clock jumps: before the kill, and again
//! before the service is back. Every message that was accepted reaches its agent, over each of the three doors.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::doors::{Agent, Door, wrapped};
use crate::support::clock::Deadline;
use crate::support::{FalseClock, Peer, Service};

/// Agents behind each door; the even ones are connected while the service is killed.
const AGENTS: usize = 6;
const ROUNDS_DEFAULT: usize = 6;

/// What the wall clock shows in turn. The kill falls on each of them, and so does each start.
const OFFSETS: [&str; 7] = ["+0", "-300", "+100d", "+0", "-56y", "+3600", "-2d"];

/// The messages of one round: accepted, and received before the kill.
#[derive(Default)]
struct Seen {
    accepted: Mutex<HashMap<usize, HashSet<String>>>,
    received: Mutex<HashSet<String>>,
    refused: AtomicUsize,
    left: AtomicUsize,
    reached: Notify,
}

/// PS-8030-5-2, PS-8030-5.2-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_over_any_door_when_the_service_is_killed_and_the_clock_jumps() {
    let Some(clock) = FalseClock::new() else { return };
    let rounds = std::env::var("DOORBELL_ROUNDS").ok().map(|rounds| rounds.parse().expect("a number of rounds"));
    let rounds = rounds.unwrap_or(ROUNDS_DEFAULT);
    let mut service = Service::start_by(&clock, &["--rate-per-subscription", "0"]);
    let authority = service.authority();
    let mut agents = Vec::new();
    for door in Door::ALL {
        for _ in 0..AGENTS {
            agents.push(Agent::subscribe(door, &authority).await);
        }
    }
    let agents = Arc::new(agents);
    let (mut accepted, mut before, mut refused) = (0, 0, 0);
    for round in 0..rounds {
        let seen = Arc::new(Seen { left: AtomicUsize::new(100 + round * 97 % 300), ..Seen::default() });
        let mut work = start(&agents, &authority, &seen, round);
        clock.show(OFFSETS[round % OFFSETS.len()]);
        timeout(Deadline::soon().left(), seen.reached.notified()).await.expect("enough messages are accepted");
        service.kill();
        while let Some(done) = work.join_next().await {
            done.expect("no task panics");
        }
        clock.show(OFFSETS[(3 * round + 1) % OFFSETS.len()]);
        service.start_again();
        for (n, missing) in seen.missing() {
            let receives = agents[n].receives(&authority, missing.clone());
            let lost = timeout(Deadline::soon().left(), receives).await;
            assert!(lost.is_ok_and(|lost| lost.is_empty()), "round {round}: some of {missing:?} are lost");
        }
        accepted += seen.accepted.lock().unwrap().values().map(HashSet::len).sum::<usize>();
        before += seen.received.lock().unwrap().len();
        refused += seen.refused.load(Ordering::Relaxed);
    }
    let summary = format!(
        "clock: {rounds} rounds of kill -9 with jumps of the wall clock over three doors: {accepted} accepted, 0 lost; \
         {before} received before a kill; {refused} refused"
    );
    writeln!(std::io::stderr(), "{summary}").ok();
    assert!(accepted > before && before > 0, "{summary}");
}

/// A sender for each agent, and half of the agents, until the service goes away.
fn start(agents: &Arc<Vec<Agent>>, authority: &str, seen: &Arc<Seen>, round: usize) -> JoinSet<()> {
    let mut work = JoinSet::new();
    for n in 0..agents.len() {
        let (all, to, noted) = (agents.clone(), authority.to_owned(), seen.clone());
        work.spawn(async move { send(&all[n], &to, &noted, (round, n)).await });
        if n % 2 == 0 {
            let (all, to, noted) = (agents.clone(), authority.to_owned(), seen.clone());
            work.spawn(async move {
                let take = |body| {
                    noted.received.lock().unwrap().insert(body);
                    false
                };
                // It ends with the service.
                let _ = all[n].receive(&to, take).await;
            });
        }
    }
    work
}

async fn send(agent: &Agent, authority: &str, seen: &Seen, (round, n): (usize, usize)) {
    let Ok(peer) = Peer::connect_plain(authority).await else { return };
    for message in 0.. {
        let body = format!("{round}/{n}/{message}");
        let headers = [("ttl", "86400"), ("content-encoding", "aes128gcm")];
        match peer.request(Method::POST, &agent.push, &headers, &wrapped(&body)).await {
            Ok(reply) if reply.status == StatusCode::CREATED => {
                seen.accepted.lock().unwrap().entry(n).or_default().insert(body);
                if seen.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    seen.reached.notify_one();
                }
            }
            Ok(_) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                // Its mailbox is full; the others go on.
                return;
            }
            Err(_) => return,
        }
    }
}

impl Seen {
    /// What was accepted and not received, for each agent.
    fn missing(&self) -> Vec<(usize, HashSet<String>)> {
        let received = self.received.lock().unwrap();
        let accepted = self.accepted.lock().unwrap();
        let missing = |all: &HashSet<String>| all.difference(&received).cloned().collect();
        accepted.iter().map(|(n, all)| (*n, missing(all))).collect()
    }
}
