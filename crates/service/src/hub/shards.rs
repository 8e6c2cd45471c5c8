//! The table of shards: which one owns an agent's mailbox, and the way to it.
//!
//! Every command to a mailbox, and every read of an agent's messages, goes through here: where an agent is served is
//! decided in [`Shards::owner`] and nowhere else.

use std::sync::Arc;

use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Lookup, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::command::{AgentCommand, Command, SettlePermits, SettleReply};
use super::counters::Counters;
use super::error::HubError;
use super::message::{Message, Submission};
use super::shard::Shard;
use crate::clock::Clock;

/// All shards. Their tasks end when this is dropped.
pub(super) struct Shards {
    handles: Vec<ShardHandle>,
    store: Store,
    clock: Clock,
    counters: Arc<Counters>,
    /// Turns true when a shard has panicked, with which its mailboxes are gone.
    broken: Arc<watch::Sender<bool>>,
}

/// The way to one shard.
struct ShardHandle {
    commands: mpsc::UnboundedSender<Command>,
    /// Bounds what application servers have under way here.
    submissions: Arc<Semaphore>,
    /// The same for acknowledgements, apart from the submissions, which they make room for. An agent's streams do not
    /// bound them: it can reset each as soon as it has asked.
    settlements: Arc<Semaphore>,
}

impl Shards {
    /// Starts `count` shards on the current runtime, one at least. Each takes `permits_max` submissions and as many
    /// settlements at a time; `new_shard` makes one that reads its commands from the given channel.
    pub(super) fn start(
        count: usize,
        permits_max: usize,
        store: Store,
        clock: Clock,
        counters: Arc<Counters>,
        new_shard: impl Fn(mpsc::UnboundedReceiver<Command>) -> Shard,
    ) -> Self {
        let broken = Arc::new(watch::Sender::new(false));
        let start_shard = |_| {
            let (commands, inbox) = mpsc::unbounded_channel();
            tokio::spawn(watch_over(tokio::spawn(new_shard(inbox).run()), broken.clone()));
            let permits = || Arc::new(Semaphore::new(permits_max));
            ShardHandle { commands, submissions: permits(), settlements: permits() }
        };
        let handles = (0..count.max(1)).map(start_shard).collect();
        Self { handles, store, clock, counters, broken }
    }

    /// Sends a command to the agent's mailbox.
    pub(super) fn send(&self, agent: AgentId, command: AgentCommand) {
        self.owner(agent).send(Command::Agent(agent, command));
    }

    /// Takes a message; `Ok` when it is durable, or was delivered or dropped with TTL 0.
    pub(super) async fn submit(&self, submission: Submission) -> Result<MessageId, HubError> {
        let agent = submission.agent;
        let submissions = self.owner(agent).submissions.clone();
        let permit = submissions.try_acquire_owned().map_err(|_| HubError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        self.send(agent, AgentCommand::Submit { submission, reply, permit });
        answered(answer).await
    }

    /// Settles a message; `Ok` when that is durable: whether there was such a message.
    pub(super) async fn settle(&self, agent: AgentId, id: MessageId, outcome: Outcome) -> Result<bool, HubError> {
        let settlements = self.owner(agent).settlements.clone();
        let permit = settlements.try_acquire_owned().map_err(|_| HubError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let permits = SettlePermits { _of_shard: permit, _of_subscriber: None };
        self.send(agent, AgentCommand::Settle { id, outcome, reply: Some(reply), permits });
        answered(answer).await
    }

    /// Settles a message for a socket. Waits for a permit of the shard, and not for the settlement.
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

    /// Reads messages of an agent from the store, in the order of `ids`.
    ///
    /// `None`: the message is settled or has expired; or it is damaged, then its mailbox drops it.
    pub(super) async fn messages(&self, agent: AgentId, ids: Vec<MessageId>) -> Result<Vec<Option<Message>>, HubError> {
        let found = self.store.messages(ids.clone(), self.clock.now()).await?;
        assert_eq!(found.len(), ids.len(), "a store answers for each message");
        let message = |(id, lookup)| {
            let read = match lookup {
                Lookup::Stored(stored) => Message::from_store(stored).ok(),
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

    /// Completes when a shard has panicked, and never otherwise.
    pub(super) async fn broken(&self) {
        let waited = self.broken.subscribe().wait_for(|broken| *broken).await.map(drop);
        waited.expect("the sender lives in `self`");
    }

    /// Ends every subscriber, now and from now on.
    pub(super) fn stop_subscribers(&self) {
        self.handles.iter().for_each(|shard| shard.send(Command::Stop));
    }

    /// Notes in the store that connected agents are in use, where it was last noted before `before`.
    pub(super) async fn touch_connected(&self, before: UnixMs) {
        for shard in &self.handles {
            let (done, touched) = oneshot::channel();
            shard.send(Command::TouchConnected { before, done });
            // A shard that has panicked has no subscribers.
            let _ = touched.await;
        }
    }

    /// The present, by the clock of the shards.
    pub(super) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    fn on_damaged(&self, agent: AgentId, id: MessageId) {
        self.counters.damaged_message();
        self.send(agent, AgentCommand::Undeliverable { id });
    }

    /// The shard that owns the agent's mailbox.
    fn owner(&self, agent: AgentId) -> &ShardHandle {
        // The low bits count within a millisecond, the high ones are the time: mix them all.
        let mixed = agent.raw().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let place = usize::try_from(mixed).expect("32 bits are no more than a usize has") % self.handles.len();
        &self.handles[place]
    }
}

impl ShardHandle {
    fn send(&self, command: Command) {
        // A shard ends only with this handle, or by a panic, which `broken` reports. A request that is under way then
        // learns of it by its dropped reply.
        let _ = self.commands.send(command);
    }
}

/// Waits for a permit of a semaphore of the hub.
pub(super) async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("the hub closes no semaphore")
}

/// What the shard replies; `Unavailable` when it has panicked.
pub(super) async fn answered<T>(answer: oneshot::Receiver<Result<T, HubError>>) -> Result<T, HubError> {
    answer.await.unwrap_or(Err(HubError::Unavailable))
}

/// Reports when a shard panics.
async fn watch_over(shard: JoinHandle<()>, broken: Arc<watch::Sender<bool>>) {
    if shard.await.is_err_and(|error| error.is_panic()) {
        broken.send_replace(true);
    }
}
