//! The application servers' end: posts messages on a few connections, several at a time, to one agent after the other.

mod http1;
mod http2;

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::agents::{Address, Agents};
use super::body::Stamp;
use super::clock;
use super::job::{Mix, Plan};
use super::ledger::Post;
use super::pace::Pace;
use super::world::World;

/// Messages that are under way at the same time on one HTTP/2 connection. Services allow a hundred streams and more.
const IN_FLIGHT: usize = 32;

/// An hour: a message that is not delivered at once is stored.
const DURABLE_SECS: u32 = 3600;

/// One message, ready to go.
pub(super) struct Message<'a> {
    to: &'a Address,
    ttl_secs: u32,
    urgency: Option<&'static str>,
    topic: u8,
    body: Bytes,
}

/// A way to send, on which there is one message at a time.
enum Line {
    Http1(http1::Line),
    Http2(http2::Line),
}

/// Sends what the plan says and waits for the answers.
pub(super) async fn send(world: &Rc<World>, agents: &Rc<Agents>, plan: &Plan) -> Result<()> {
    ensure!(agents.subscribed() > 0, "there is nobody to send to");
    let mut lines = Vec::new();
    for _ in 0..world.job.senders {
        if world.job.http1 {
            lines.push(Line::Http1(http1::Line::open(world).await?));
        } else {
            let line = http2::Line::open(world).await?;
            lines.extend((0..IN_FLIGHT).map(|_| Line::Http2(line.clone())));
        }
    }
    let (world, agents, pace) = (world.clone(), agents.clone(), Pace::start(plan)?);
    let sender = Rc::new(Sender { world, agents, pace, mix: plan.mix, turn: Cell::new(0) });
    let mut tasks = JoinSet::new();
    for line in lines {
        tasks.spawn_local(sender.clone().work(line));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// What all lines share.
struct Sender {
    world: Rc<World>,
    agents: Rc<Agents>,
    pace: Pace,
    mix: Mix,
    /// How many messages there were.
    turn: Cell<usize>,
}

impl Sender {
    async fn work(self: Rc<Self>, mut line: Line) -> Result<()> {
        while let Some(due) = self.pace.next().await {
            self.post(&mut line, due).await.context("a sender's connection broke")?;
        }
        Ok(())
    }

    async fn post(&self, line: &mut Line, due: u64) -> Result<()> {
        let turn = self.turn.replace(self.turn.get() + 1);
        let Some((number, to)) = self.agents.addressed(turn) else { return Ok(()) };
        let (post, urgency) = wishes(self.mix, u32::try_from(number)?);
        let world = &self.world;
        let sent = clock::now();
        let serial = world.ledger.borrow_mut().send(post, sent);
        let body = world.bodies.stamped(Stamp { intended: due, run: world.run, serial });
        let message = Message { to, ttl_secs: post.ttl_secs, urgency, topic: post.topic, body };
        let status = match line {
            Line::Http1(line) => line.post(world, &message).await?,
            Line::Http2(line) => line.post(&message).await?,
        };
        let answered = clock::now();
        let is_accepted = matches!(status, 201 | 202);
        if is_accepted {
            world.ledger.borrow_mut().accept(serial, answered);
            world.progress(|progress| progress.accepted += 1);
        }
        world.note(|outcome| {
            outcome.slips.record(sent.saturating_sub(due));
            if is_accepted {
                outcome.accepted += 1;
                outcome.answers.record(answered.saturating_sub(due));
            } else {
                *outcome.refused.entry(status).or_default() += 1;
            }
        });
        Ok(())
    }
}

/// What goes with a message to agent `agent`.
fn wishes(mix: Mix, agent: u32) -> (Post, Option<&'static str>) {
    match mix {
        Mix::Plain => (Post { agent, ttl_secs: DURABLE_SECS, topic: 0 }, None),
        Mix::Day => {
            let ttl_secs = match fastrand::u8(..10) {
                0 => 0,
                1 | 2 => fastrand::u32(1..=3),
                _ => DURABLE_SECS,
            };
            // One in five has a topic.
            let topic = fastrand::u8(..5 * TOPICS);
            let topic = if topic < TOPICS { topic + 1 } else { 0 };
            (Post { agent, ttl_secs, topic }, fastrand::choice(URGENCIES).flatten())
        }
    }
}

/// How many topics there are.
const TOPICS: u8 = 4;

/// The urgencies of RFC 8030 s5.3, and none.
const URGENCIES: [Option<&str>; 5] = [None, Some("very-low"), Some("low"), Some("normal"), Some("high")];
