//! A subscriber: one open delivery stream between an agent's mailbox and a door.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use doorbell_mailbox::SubscriberId;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::receipt::Outcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::command::{AgentCommand, SettleReply};
use super::error::HubError;
use super::message::Message;
use super::outbox::{Next, Outbox, SubscriberEvent};
use super::shards::{Shards, acquire, answered};

/// Settlements of one socket in progress: enough to share commits, and few enough to leave room for others.
const SETTLING_MAX: usize = 64;

/// A door's end of a delivery stream. Dropping it disconnects: unacknowledged messages count as undelivered again.
pub(crate) struct Subscriber {
    shards: Arc<Shards>,
    agent: AgentId,
    id: SubscriberId,
    outbox: Arc<Outbox>,
    /// Created for the first settlement, which for most agents comes late.
    settling: OnceLock<Arc<Semaphore>>,
}

impl Subscriber {
    /// The door's end of `outbox`; the shard of `agent` knows it by `id`.
    pub(super) fn new(shards: Arc<Shards>, agent: AgentId, id: SubscriberId, outbox: Arc<Outbox>) -> Self {
        Self { shards, agent, id, outbox, settling: OnceLock::new() }
    }

    /// The agent whose messages it gets.
    pub(crate) fn agent(&self) -> AgentId {
        self.agent
    }

    /// Waits for the next event. Giving up the wait loses nothing.
    pub(crate) async fn next(&mut self) -> SubscriberEvent {
        loop {
            poll_fn(|cx| self.poll_ready(cx)).await;
            // On the heap: a subscriber that waits does not need this memory.
            if let Some(event) = Box::pin(self.try_next()).await {
                return event;
            }
        }
    }

    /// Waits until there may be an event.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.outbox.poll_ready(cx)
    }

    /// The next event, if there is one. It may be read from the store, but the call does not wait for a new one. Giving
    /// up loses nothing.
    pub(crate) async fn try_next(&mut self) -> Option<SubscriberEvent> {
        loop {
            match self.outbox.next(self.shards.is_memory_scarce())? {
                Next::Stored(ids) => {
                    if let Err(error) = self.fetch(ids).await {
                        return Some(SubscriberEvent::Failed(error));
                    }
                }
                Next::Event(SubscriberEvent::Message(late)) if self.is_late(&late) => self.gone(late.id),
                Next::Event(event) => return Some(event),
            }
        }
    }

    /// The next event of a watcher, if there is one: none of them is in the store.
    pub(crate) fn try_event(&self) -> Option<SubscriberEvent> {
        match self.outbox.next(false)? {
            Next::Event(event) => Some(event),
            Next::Stored(ids) => {
                debug_assert!(false, "a watcher is sent no message, and not {ids:?}");
                None
            }
        }
    }

    /// The next event of the subscriber, if there is one; otherwise it waits forever.
    pub(crate) async fn next_of(subscriber: &mut Option<Self>) -> SubscriberEvent {
        match subscriber {
            Some(subscriber) => subscriber.next().await,
            None => std::future::pending().await,
        }
    }

    /// The client refused or reset the push.
    pub(crate) fn declined(&self, id: MessageId) {
        self.send(AgentCommand::Declined { subscriber: self.id, id });
    }

    /// The client acknowledged the message. Waits while too many settlements are in progress, but not for this one.
    pub(crate) async fn settle(&self, id: MessageId, outcome: Outcome) {
        self.begin_to_settle(id, outcome, None).await;
    }

    /// The client received the message under its first version and did not pass it on. Waits like
    /// [`settle`](Self::settle).
    pub(crate) async fn not_passed_on(&self, id: MessageId) {
        let of_subscriber = self.permit().await;
        self.shards.begin_not_passed_on(self.agent, id, of_subscriber).await;
    }

    /// The client reported that it has the message. Waits until the settlement is durable: after it the message cannot
    /// arrive again, even after a crash. Returns whether the message existed.
    pub(crate) async fn settle_for_good(&self, id: MessageId, outcome: Outcome) -> Result<bool, HubError> {
        let (reply, answer) = oneshot::channel();
        self.begin_to_settle(id, outcome, Some(reply)).await;
        answered(answer).await
    }

    async fn begin_to_settle(&self, id: MessageId, outcome: Outcome, reply: Option<SettleReply>) {
        let of_subscriber = self.permit().await;
        self.shards.begin_to_settle(self.agent, id, outcome, reply, of_subscriber).await;
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        acquire(self.settling.get_or_init(|| Arc::new(Semaphore::new(SETTLING_MAX)))).await
    }

    /// The client has the message and has not acknowledged it: the window does not wait for it any longer.
    pub(crate) fn arrived(&self, id: MessageId) {
        self.send(AgentCommand::Arrived { subscriber: self.id, id });
    }

    /// The least urgency that the client wants from now on.
    pub(crate) fn set_floor(&self, floor: Option<Urgency>) {
        self.send(AgentCommand::SetFloor { subscriber: self.id, floor });
    }

    /// The message no longer exists.
    pub(crate) fn gone(&self, id: MessageId) {
        self.send(AgentCommand::Gone { subscriber: self.id, id });
    }

    /// The message cannot be sent, because its stored record is damaged ([`HubError::Damaged`]): it is dropped.
    pub(crate) fn undeliverable(&self, id: MessageId) {
        self.send(AgentCommand::Undeliverable { id });
    }

    fn send(&self, command: AgentCommand) {
        self.shards.send(self.agent, command);
    }

    /// Whether it expired while the client's window was closed (PS-8030-5.2-7).
    fn is_late(&self, message: &Message) -> bool {
        message.expires_at.is_some_and(|at| at <= self.shards.now())
    }

    /// Reads the next messages together.
    async fn fetch(&self, ids: Vec<MessageId>) -> Result<(), HubError> {
        let found = loop {
            let found = self.shards.messages(self.agent, ids.clone()).await;
            if !self.shards.repeats(self.agent, found.as_ref().err()).await {
                break found?;
            }
        };
        for (id, message) in ids.into_iter().zip(found) {
            match message {
                Some(message) => self.outbox.fill(message),
                None => {
                    self.outbox.recall(id);
                    self.gone(id);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.outbox.forget_waker();
        self.send(AgentCommand::Disconnect { subscriber: self.id });
    }
}
