//! The table of shards: which one owns an agent's mailbox, and how to reach it.
//!
//! Every command to a mailbox, and every read of an agent's messages, passes here: only [`Shards::owner`] decides where
//! an agent is served.

use std::sync::Arc;
use std::time::Duration;

use doorbell_mailbox::Rules;
use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Lookup, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::bodies::Bodies;
use super::command::{AgentCommand, Command, SettlePermits, SettleReply};
use super::counters::Counters;
use super::error::HubError;
use super::message::{Message, Submission};
use super::shard::Shard;
use crate::clock::Clock;

/// A store that recovers by itself is read again after this time.
const BETWEEN_READS: Duration = Duration::from_secs(1);

/// All shards. Their tasks end when this is dropped.
pub(super) struct Shards {
    handles: Vec<ShardHandle>,
    store: Store,
    clock: Clock,
    counters: Arc<Counters>,
    /// The bodies of stored messages in memory.
    copies: Arc<Bodies>,
    /// Turns true when a shard has panicked: its mailboxes are lost.
    broken: Arc<watch::Sender<bool>>,
}

/// The connection to one shard.
struct ShardHandle {
    commands: mpsc::UnboundedSender<Command>,
    /// Limits the submissions in progress.
    submissions: Arc<Semaphore>,
    /// Limits the acknowledgements in progress. They are counted separately, because they make room for submissions. An
    /// agent's streams are no limit: it can reset each one right after its request.
    settlements: Arc<Semaphore>,
}

impl Shards {
    /// Starts `count` shards on the current runtime, at least one. Each accepts `permits_max` submissions and as many
    /// settlements at a time; `new_shard` creates one that reads its commands from the given channel.
    pub(super) fn start(
        count: usize,
        permits_max: usize,
        store: Store,
        clock: Clock,
        counters: Arc<Counters>,
        copies: Arc<Bodies>,
        new_shard: impl Fn(mpsc::UnboundedReceiver<Command>) -> Shard,
    ) -> Self {
        let broken = Arc::new(watch::Sender::new(false));
        let start_shard = |_| {
            let (commands, inbox) = mpsc::unbounded_channel();
            tokio::spawn(report_panic(tokio::spawn(new_shard(inbox).run()), broken.clone()));
            let permits = || Arc::new(Semaphore::new(permits_max));
            ShardHandle { commands, submissions: permits(), settlements: permits() }
        };
        let handles = (0..count.max(1)).map(start_shard).collect();
        Self { handles, store, clock, counters, copies, broken }
    }

    /// Sends a command to the agent's mailbox.
    pub(super) fn send(&self, agent: AgentId, command: AgentCommand) {
        self.owner(agent).send(Command::Agent(agent, command));
    }

    /// Accepts a message; `Ok` when it is durable, or when a message with TTL 0 was delivered or dropped.
    pub(super) async fn submit(&self, submission: Submission) -> Result<MessageId, HubError> {
        let agent = submission.agent;
        let submissions = self.owner(agent).submissions.clone();
        let permit = submissions.try_acquire_owned().map_err(|_| HubError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        self.send(agent, AgentCommand::Submit { submission, reply, permit });
        answered(answer).await
    }

    /// Settles a message; `Ok` when that is durable. Returns whether the message existed.
    pub(super) async fn settle(&self, agent: AgentId, id: MessageId, outcome: Outcome) -> Result<bool, HubError> {
        let settlements = self.owner(agent).settlements.clone();
        let permit = settlements.try_acquire_owned().map_err(|_| HubError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let permits = SettlePermits { _of_shard: permit, _of_subscriber: None };
        self.send(agent, AgentCommand::Settle { id, outcome, reply: Some(reply), permits });
        answered(answer).await
    }

    /// Settles a message for a socket. Waits for a permit of the shard, but not for the settlement.
    pub(super) async fn begin_to_settle(
        &self,
        agent: AgentId,
        id: MessageId,
        outcome: Outcome,
        reply: Option<SettleReply>,
        of_subscriber: OwnedSemaphorePermit,
    ) {
        let of_shard = acquire(&self.owner(agent).settlements).await;
        let permits = SettlePermits { _of_shard: of_shard, _of_subscriber: Some(of_subscriber) };
        self.send(agent, AgentCommand::Settle { id, outcome, reply, permits });
    }

    /// Reports for a socket that a message was not passed on. Waits for a permit of the shard.
    pub(super) async fn begin_not_passed_on(&self, agent: AgentId, id: MessageId, of_subscriber: OwnedSemaphorePermit) {
        let of_shard = acquire(&self.owner(agent).settlements).await;
        let permits = SettlePermits { _of_shard: of_shard, _of_subscriber: Some(of_subscriber) };
        self.send(agent, AgentCommand::NotPassedOn { id, permits });
    }

    /// Whether a read for a stream that stays open is repeated: then a moment has passed. A store on a database recovers
    /// by itself.
    pub(super) async fn repeats(&self, agent: AgentId, failed: Option<&HubError>) -> bool {
        // In an outage the reads that wait fill their queue.
        let is_away = matches!(failed, Some(HubError::Unavailable | HubError::Overloaded));
        let repeats = is_away && self.store.recovers(agent);
        if repeats {
            self.clock.sleep_until(self.clock.now().plus(BETWEEN_READS)).await;
        }
        repeats
    }

    /// Reads messages of an agent from the store, in the order of `ids`.
    ///
    /// `None`: the message is settled or expired, or it is damaged and its mailbox drops it.
    pub(super) async fn messages(&self, agent: AgentId, ids: Vec<MessageId>) -> Result<Vec<Option<Message>>, HubError> {
        let found = self.store.messages(agent, ids.clone(), self.clock.now()).await?;
        assert_eq!(found.len(), ids.len(), "a store answers for each message");
        let message = |(id, lookup)| {
            let read = match lookup {
                Lookup::Stored(stored) => {
                    Message::from_store(stored).ok().map(|read| Message { body: self.copies.hold(read.body), ..read })
                }
                Lookup::Damaged => None,
                Lookup::Absent => return None,
            };
            if read.is_none() {
                self.on_damaged(agent, id);
            }
            read
        };
        Ok(ids.into_iter().zip(found).map(message).collect())
    }

    #[cfg(test)]
    pub(super) fn copied_bytes(&self) -> usize {
        self.copies.held()
    }

    /// Whether few bodies should be read at a time.
    pub(super) fn is_memory_scarce(&self) -> bool {
        self.copies.is_scarce()
    }

    /// Completes when a shard has panicked.
    pub(super) async fn broken(&self) {
        let waited = self.broken.subscribe().wait_for(|broken| *broken).await.map(drop);
        waited.expect("the sender lives in `self`");
    }

    /// Changes the rules of the mailboxes of agents that become active from now on.
    pub(super) fn set_rules(&self, rules: Rules) {
        self.handles.iter().for_each(|shard| shard.send(Command::Rules(rules)));
    }

    /// Ends every subscriber, the present and all later ones.
    pub(super) fn stop_subscribers(&self) {
        self.handles.iter().for_each(|shard| shard.send(Command::Stop));
    }

    /// Notes in the store that connected agents are in use, if the last note is from before `before`, a time of service.
    pub(super) async fn touch_connected(&self, before: UnixMs) {
        for shard in &self.handles {
            let (done, touched) = oneshot::channel();
            shard.send(Command::TouchConnected { before, done });
            // A shard that has panicked has no subscribers.
            let _ = touched.await;
        }
    }

    /// The time now, by the clock of the shards.
    pub(super) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    fn on_damaged(&self, agent: AgentId, id: MessageId) {
        self.counters.damaged_message();
        self.send(agent, AgentCommand::Undeliverable { id });
    }

    /// The shard that owns the agent's mailbox.
    fn owner(&self, agent: AgentId) -> &ShardHandle {
        // The low bits count within a millisecond, the high bits are the time: the hash mixes them all.
        let mixed = agent.raw().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let place = usize::try_from(mixed).expect("32 bits fit into a usize") % self.handles.len();
        &self.handles[place]
    }
}

impl ShardHandle {
    fn send(&self, command: Command) {
        // A shard ends only with this handle, or by a panic, which `broken` reports. A request in progress then sees
        // its reply dropped.
        let _ = self.commands.send(command);
    }
}

/// Waits for a permit of a semaphore of the hub.
pub(super) async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("the hub closes no semaphore")
}

/// The shard's reply; `Unavailable` when it has panicked.
pub(super) async fn answered<T>(answer: oneshot::Receiver<Result<T, HubError>>) -> Result<T, HubError> {
    answer.await.map_err(|_| HubError::Unavailable)?
}

/// Reports when a shard panics.
async fn report_panic(shard: JoinHandle<()>, broken: Arc<watch::Sender<bool>>) {
    if shard.await.is_err_and(|error| error.is_panic()) {
        broken.send_replace(true);
    }
}
