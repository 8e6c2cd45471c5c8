//! The middle layer: doors submit messages and subscribe here, shards own the mailboxes, and the store keeps the
//! records.
//!
//! Every agent belongs to one shard, so each mailbox has one writer (invariant 4). A message is accepted only after the
//! store has reported to its shard that it is durable (invariant 1). Files here import only files that come later in
//! this list: `housekeeping`, `subscriber`, `shards`, `shard`, `resident`, `requests`, `command`, `outbox`, `receipts`,
//! `message`, `subscription`, `detached`, `bodies`, `counters`, `error`.

mod bodies;
mod command;
mod counters;
mod detached;
mod error;
mod housekeeping;
mod message;
mod outbox;
mod receipts;
mod requests;
mod resident;
mod shard;
mod shards;
mod subscriber;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use doorbell_mailbox::{Rules, SubscriberId};
use doorbell_protocol::id::{AgentId, MessageId, Mint, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_store::{Answer, Store, StoreError, Subscription};

pub(crate) use doorbell_mailbox::{Mode, Retry, Scope, SubscriberSpec};
pub(crate) use doorbell_store::{Receipt, ReceiptPosition};
pub(crate) use error::HubError;
pub(crate) use housekeeping::Housekeeper;
pub(crate) use message::{Message, Submission};
pub(crate) use outbox::{SubscriberEvent, Waiting};
pub(crate) use receipts::{ReceiptEvent, ReceiptStream, Receipts};
pub(crate) use subscriber::Subscriber;
pub(crate) use subscription::{Agent, NewSubscription};

use crate::capability::KeyFingerprint;
use crate::clock::Clock;
use crate::config::{Limits, Live};
use crate::counts::{AgentDoor, Counts};
use bodies::{Bodies, Memory};
use command::AgentCommand;
use counters::{Bounded, Counters};
use detached::detached;
use outbox::Outbox;
use shard::{Shard, Shared};
use shards::Shards;
use subscription::Restriction;

/// The interface for the doors.
pub(crate) struct Hub {
    shards: Arc<Shards>,
    store: Store,
    mint: Arc<Mint>,
    clock: Clock,
    next_subscriber: AtomicU64,
    receipts: Arc<Receipts>,
    counters: Arc<Counters>,
}

impl Hub {
    /// Starts `shards` shards on the current runtime. They end when the hub and its subscribers are dropped.
    pub(crate) fn start(store: Store, clock: Clock, limits: &Limits, shards: usize, counts: Arc<Counts>) -> Self {
        let mint = Arc::new(Mint::new(0, store.greatest_id()));
        let counters = Arc::new(Counters::new(clock.clone(), counts));
        let receipts = Arc::new(Receipts::new(store.clone(), mint.clone(), clock.clone(), counters.clone()));
        let rules = rules(limits);
        let (transients, copies) = (Bodies::new(limits.transient_bytes_max), Bodies::new(limits.copied_bytes_max));
        let memory = Memory { transients, copies };
        let (copied, counted) = (memory.copies.clone(), counters.clone());
        let shared = Shared {
            store: store.clone(),
            clock: clock.clone(),
            mint: mint.clone(),
            receipts: receipts.clone(),
            counters: counters.clone(),
            memory,
        };
        let new_shard = |inbox| Shard::new(inbox, shared.clone(), rules);
        let permits_max = limits.submissions_max;
        let shards = Shards::start(shards, permits_max, store.clone(), clock.clone(), counted, copied, new_shard);
        let (shards, next_subscriber) = (Arc::new(shards), AtomicU64::new(0));
        Self { shards, store, mint, clock, next_subscriber, receipts, counters }
    }

    /// Takes over other limits. An agent's time-out for acknowledgements changes when it connects the next time.
    pub(crate) fn reload(&self, limits: &Limits) {
        self.shards.set_rules(rules(limits));
    }

    /// A new agent: its first subscription creates it.
    pub(crate) fn new_agent(&self) -> Agent {
        Agent::New(AgentId::from_raw(self.mint.next(self.clock.now())))
    }

    /// Creates a subscription, and its agent if that is new.
    pub(crate) async fn subscribe(&self, new: NewSubscription) -> Result<SubscriptionId, HubError> {
        let now = self.clock.now();
        let agent = new.agent.id();
        let id = SubscriptionId::from_raw(self.mint.next(now));
        let vapid_key = new.restricted_to.map(|key| key.as_bytes().to_vec());
        // Both are queued before either is awaited, so that they share a commit.
        let may_be_new = matches!(new.agent, Agent::New(_));
        let new_agent = may_be_new.then(|| self.store.create_agent(agent, self.clock.served()));
        let channel = new.channel;
        let subscription = Subscription { id, agent, vapid_key, channel, created: now };
        let new_subscription = self.store.create_subscription(subscription);
        let refused = |error| self.counters.refused(Bounded::Subscriptions, error);
        if let Some(answer) = new_agent {
            match answer.await {
                // Another connection, or an attempt that failed half-way, has created it.
                Err(StoreError::IdTaken) => {}
                made => made.map_err(refused)?,
            }
        }
        new_subscription.await.map_err(refused)?;
        Ok(id)
    }

    /// The agent's subscription with this channel, and the key that it is restricted to. The key is a separate result,
    /// because a subscription with a damaged key can still be removed.
    pub(crate) async fn subscription_of_channel(
        &self,
        agent: AgentId,
        channel: &str,
    ) -> Result<Option<(SubscriptionId, Restriction)>, HubError> {
        let found = self.store.subscription_of_channel(agent, channel.to_owned()).await?;
        Ok(found.map(|found| (found.id, subscription::restriction(&found, &self.counters))))
    }

    /// All subscriptions that the agent has named, oldest first.
    pub(crate) async fn channels(&self, agent: AgentId) -> Result<Vec<(SubscriptionId, String)>, HubError> {
        let all = self.store.subscriptions_of(agent).await?;
        Ok(all.into_iter().filter_map(|subscription| Some((subscription.id, subscription.channel?))).collect())
    }

    /// The agent's name for a subscription; `None` if the subscription does not exist or has no name. Waits for a store
    /// that recovers by itself: a stream asks.
    pub(crate) async fn channel(&self, agent: AgentId, id: SubscriptionId) -> Result<Option<String>, HubError> {
        let found = loop {
            let found = self.store.subscription(agent, id).await.map_err(HubError::from);
            if !self.shards.repeats(agent, found.as_ref().err()).await {
                break found?;
            }
        };
        Ok(found.and_then(|found| found.channel))
    }

    /// The key that a subscription is restricted to, if any; `None` if the subscription does not exist.
    ///
    /// # Errors
    /// [`HubError::Damaged`] if the stored key cannot be read.
    pub(crate) async fn restriction(
        &self,
        agent: AgentId,
        id: SubscriptionId,
    ) -> Result<Option<Option<KeyFingerprint>>, HubError> {
        let found = self.store.subscription(agent, id).await?;
        found.map(|found| subscription::restriction(&found, &self.counters)).transpose()
    }

    /// Accepts a message; `Ok` when it is durable, or when a message with TTL 0 was delivered or dropped.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<MessageId, HubError> {
        if submission.is_transient() {
            self.check(&submission).await?;
        } else if let Some(id) = submission.receipt
            && let Some(joined) = self.store.join_receipts(submission.agent, id, self.clock.served())
        {
            joined.await.map_err(|error| self.counters.refused(Bounded::ReceiptSubscriptions, error))?;
        }
        self.shards.submit(submission).await
    }

    /// Checks a message with TTL 0 as the store checks the others: the store never sees it.
    async fn check(&self, submission: &Submission) -> Result<(), HubError> {
        if self.store.subscription(submission.agent, submission.subscription).await?.is_none() {
            return Err(HubError::Gone);
        }
        let Some(id) = submission.receipt else { return Ok(()) };
        if !self.store.receipt_subscription_exists(id).await? {
            return Err(HubError::NoReceipts);
        }
        self.store.receipt_room_of(id).map_err(|error| self.counters.refused(Bounded::Bytes, error))
    }

    /// Opens a delivery stream to the agent; other streams stay open.
    pub(crate) async fn connect(
        &self,
        agent: AgentId,
        door: AgentDoor,
        spec: SubscriberSpec,
    ) -> Result<Subscriber, HubError> {
        self.open(agent, door, spec, false).await
    }

    /// Opens the agent's one socket. An older one, which may be dead without a sign, receives
    /// [`SubscriberEvent::Superseded`], and its unacknowledged messages go to the new one.
    pub(crate) async fn take_over(
        &self,
        agent: AgentId,
        door: AgentDoor,
        spec: SubscriberSpec,
    ) -> Result<Subscriber, HubError> {
        self.open(agent, door, spec, true).await
    }

    /// The same for an agent that may not exist yet, because another connection creates its first subscription: the
    /// subscriber is ready before the agent.
    pub(crate) fn take_over_early(&self, agent: AgentId, door: AgentDoor, spec: SubscriberSpec) -> Subscriber {
        self.new_subscriber(agent, door, spec, true)
    }

    /// [`Hub::connect`] for such an agent.
    pub(crate) fn connect_early(&self, agent: AgentId, door: AgentDoor, spec: SubscriberSpec) -> Subscriber {
        self.new_subscriber(agent, door, spec, false)
    }

    fn new_subscriber(&self, agent: AgentId, door: AgentDoor, spec: SubscriberSpec, exclusive: bool) -> Subscriber {
        let id = SubscriberId(self.next_subscriber.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(Outbox::default());
        let connect = AgentCommand::Connect { subscriber: id, door, spec, exclusive, outbox: outbox.clone() };
        self.shards.send(agent, connect);
        Subscriber::new(self.shards.clone(), agent, id, outbox)
    }

    async fn open(
        &self,
        agent: AgentId,
        door: AgentDoor,
        spec: SubscriberSpec,
        exclusive: bool,
    ) -> Result<Subscriber, HubError> {
        let subscriber = self.new_subscriber(agent, door, spec, exclusive);
        // Checked after connecting: a removal in between is then visible here, or reaches the subscriber.
        self.check_scope(agent, spec.scope).await?;
        Ok(subscriber)
    }

    /// `Gone` if the scope of a stream does not exist.
    pub(crate) async fn check_scope(&self, agent: AgentId, scope: Scope) -> Result<(), HubError> {
        let exists = match scope {
            Scope::Agent => self.store.agent_exists(agent).await?,
            Scope::Subscription(id) => self.store.subscription(agent, id).await?.is_some(),
        };
        if exists { Ok(()) } else { Err(HubError::Gone) }
    }

    /// Settles a message durably with its outcome; returns whether it existed.
    pub(crate) async fn settle(&self, agent: AgentId, id: MessageId, outcome: Outcome) -> Result<bool, HubError> {
        self.shards.settle(agent, id, outcome).await
    }

    /// An outstanding message of the agent. A damaged one is dropped, and counts as gone from then on.
    pub(crate) async fn message(&self, agent: AgentId, id: MessageId) -> Result<Option<Message>, HubError> {
        let found = self.shards.messages(agent, vec![id]).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// Removes a subscription or a whole agent, with its stored records.
    pub(crate) async fn remove(&self, agent: AgentId, what: Scope) -> Result<(), HubError> {
        let now = self.clock.now();
        let (removal, command) = match what {
            Scope::Agent => (self.store.delete_agent(agent, now), AgentCommand::Removed),
            Scope::Subscription(subscription) => {
                let command = AgentCommand::Unsubscribed { subscription };
                (self.store.delete_subscription(agent, subscription, now, self.clock.served()), command)
            }
        };
        let (shards, receipts) = (self.shards.clone(), self.receipts.clone());
        // The client may leave meanwhile, and the subscribers still have to end.
        detached(async move {
            let removed = removal.await?;
            if !removed.existed {
                return Err(HubError::Gone);
            }
            removed.receipts.into_iter().for_each(|id| receipts.wake(id));
            shards.send(agent, command);
            Ok(())
        })
        .await
    }

    /// The receipt subscriptions.
    pub(crate) fn receipts(&self) -> &Arc<Receipts> {
        &self.receipts
    }

    /// Records the clock in the store, so that it continues there after a restart.
    pub(crate) async fn note_clock(&self) -> Result<(), StoreError> {
        self.store.note_clock(self.clock.record()).await
    }

    /// The same in each cell of the store.
    pub(crate) fn note_clock_in_each(&self) -> Vec<Answer<()>> {
        self.store.note_clock_in_each(&self.clock.record())
    }

    /// The task that removes expired messages and idle agents.
    pub(crate) fn housekeeper(&self, config: Arc<Live>) -> Housekeeper {
        let (shards, receipts) = (self.shards.clone(), self.receipts.clone());
        Housekeeper::new(shards, self.store.clone(), self.clock.clone(), receipts, config)
    }

    /// The counts since the start.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Completes when a shard has panicked.
    pub(crate) async fn broken(&self) {
        self.shards.broken().await;
    }

    /// Ends every subscriber and every receipt stream, the present and all later ones: the service drains.
    pub(crate) fn stop(&self) {
        self.receipts.stop();
        self.shards.stop_subscribers();
    }
}

fn rules(limits: &Limits) -> Rules {
    // A longer time-out is 49 days: no stream stays open that long.
    let ack_timeout_ms = u32::try_from(limits.ack_timeout.as_millis()).unwrap_or(u32::MAX);
    Rules { ack_timeout_ms, ..Rules::default() }
}
