//! The application servers: send messages on a few connections, several at a time, to one agent after the other.

mod http1;
mod http2;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::agents::{Address, Agents};
use crate::body::Stamp;
use crate::clock;
use crate::context::Context;
use crate::error::{Blame, LoadError, Result};
use crate::job::{Mix, Plan};
use crate::ledger::Envelope;
use crate::pace::Pace;

/// Messages that are under way at the same time on one HTTP/2 connection. Services allow a hundred streams and more.
const IN_FLIGHT: usize = 32;

/// An hour: a message that is not delivered at once is stored.
const DURABLE_SECS: u32 = 3600;

/// One message, ready to be sent.
pub(super) struct Message<'a> {
    to: &'a Address,
    ttl_secs: u32,
    urgency: Option<&'static str>,
    topic: u8,
    body: Bytes,
}

/// One message at a time on a connection.
enum Connection {
    Http1(http1::Connection),
    Http2(http2::Connection),
}

/// Sends the messages of the plan and waits for the answers.
pub(super) async fn send(context: &Rc<Context>, agents: &Rc<Agents>, plan: &Plan) -> Result<()> {
    if agents.subscribed() == 0 {
        return Err(LoadError::Usage("there is no agent to send to".to_owned()));
    }
    let refused = "a sender cannot connect";
    let mut connections = Vec::new();
    for _ in 0..context.job.senders {
        if context.job.http1 {
            let connection = http1::Connection::open(context).await.blame_service(refused)?;
            connections.push(Connection::Http1(connection));
        } else {
            let connection = http2::Connection::open(context).await.blame_service(refused)?;
            connections.extend((0..IN_FLIGHT).map(|_| Connection::Http2(connection.clone())));
        }
    }
    let (context, agents, pace) = (context.clone(), agents.clone(), Pace::start(plan)?);
    let sender = Rc::new(Sender { context, agents, pace, mix: plan.mix, turn: Cell::new(0) });
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn_local(sender.clone().work(connection));
    }
    while let Some(done) = tasks.join_next().await {
        done.blame_generator("a task failed")??;
    }
    Ok(())
}

/// What all connections share.
struct Sender {
    context: Rc<Context>,
    agents: Rc<Agents>,
    pace: Pace,
    mix: Mix,
    /// How many messages there were.
    turn: Cell<usize>,
}

impl Sender {
    async fn work(self: Rc<Self>, mut connection: Connection) -> Result<()> {
        while let Some(due) = self.pace.next().await {
            self.post(&mut connection, due).await.blame_service("a sender's connection broke")?;
        }
        Ok(())
    }

    async fn post(&self, connection: &mut Connection, due: u64) -> Result<()> {
        let turn = self.turn.replace(self.turn.get() + 1);
        let Some((number, to)) = self.agents.addressed(turn) else { return Ok(()) };
        let number = u32::try_from(number).blame_usage("there are too many agents")?;
        let (envelope, urgency) = envelope(self.mix, number);
        let context = &self.context;
        let sent = clock::now();
        let serial = context.ledger.borrow_mut().send(envelope, sent);
        let body = context.bodies.stamped(Stamp { intended: due, worker: context.worker, serial });
        let message = Message { to, ttl_secs: envelope.ttl_secs, urgency, topic: envelope.topic, body };
        let status = match connection {
            Connection::Http1(connection) => connection.post(context, &message).await?,
            Connection::Http2(connection) => connection.post(&message).await?,
        };
        let answered = clock::now();
        let is_accepted = matches!(status, 201 | 202);
        if is_accepted {
            context.ledger.borrow_mut().accept(serial, answered);
            context.progress(|progress| progress.accepted += 1);
        }
        context.note(|outcome| {
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

/// The header fields of a message to agent `agent`.
fn envelope(mix: Mix, agent: u32) -> (Envelope, Option<&'static str>) {
    match mix {
        Mix::Plain => (Envelope { agent, ttl_secs: DURABLE_SECS, topic: 0 }, None),
        Mix::Day => {
            let ttl_secs = match fastrand::u8(..10) {
                0 => 0,
                1 | 2 => fastrand::u32(1..=3),
                _ => DURABLE_SECS,
            };
            // One in five has a topic.
            let topic = fastrand::u8(..5 * TOPICS);
            let topic = if topic < TOPICS { topic + 1 } else { 0 };
            (Envelope { agent, ttl_secs, topic }, fastrand::choice(URGENCIES).flatten())
        }
    }
}

/// How many topics there are.
const TOPICS: u8 = 4;

/// The urgencies of RFC 8030 s5.3, and none.
const URGENCIES: [Option<&str>; 5] = [None, Some("very-low"), Some("low"), Some("normal"), Some("high")];
