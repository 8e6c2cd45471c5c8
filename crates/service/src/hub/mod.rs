//! The middle: doors hand messages and links in here, shards own the mailboxes, and the store remembers.
//!
//! Every agent belongs to one shard, so each mailbox has one writer (invariant 4). A message is answered as accepted
//! only when its shard has heard from the store that it is durable (invariant 1).

mod housekeeping;
mod link;
mod message;
mod receipts;
mod resident;
mod shard;
mod tickets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use doorbell_mailbox::{LinkId, Rules};
use doorbell_protocol::id::{AgentId, MessageId, Mint, SubscriptionId};
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::receipt::Outcome;
use doorbell_store::{Lookup, Store, StoreError, Subscription};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) use doorbell_mailbox::{LinkSpec, Mode, Retry, Scope};
pub(crate) use doorbell_store::Receipt;
pub(crate) use link::{Link, LinkEvent};
pub(crate) use message::{Message, NewSubscription, Submission, Subscriber};
pub(crate) use receipts::{ReceiptEvent, ReceiptLink};

use crate::capability::KeyFingerprint;
use crate::clock::Clock;
use crate::config::Limits;
use link::Outbox;
use receipts::Waiters;
use shard::{Command, Shard};
use tickets::Places;

/// What a door may ask for.
pub(crate) struct Hub {
    shards: Vec<ShardHandle>,
    store: Store,
    mint: Arc<Mint>,
    clock: Clock,
    next_link: AtomicU64,
    receipt_waiters: Arc<Waiters>,
    /// Turns true when the service drains.
    stopping: watch::Sender<bool>,
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

/// Why the hub did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HubError {
    /// The subscription, set or message does not exist (any more).
    #[error("there is no such resource")]
    Gone,
    /// The agent has as many messages, octets or subscriptions as it may have.
    #[error("the agent's share is used up")]
    Full,
    /// The agent has another subscription of that name.
    #[error("the name is taken")]
    Taken,
    /// The receipt subscription that was named does not exist (any more).
    #[error("there is no such receipt subscription")]
    NoReceipts,
    /// The receipt subscription has as many receipts as it may have.
    #[error("the receipt subscription's share is used up")]
    ReceiptsFull,
    /// Too much is under way.
    #[error("the service has too much to do")]
    Overloaded,
    /// The store failed, and perhaps kept the message all the same; or the service stops.
    #[error("the service is not available")]
    Unavailable,
}

impl From<StoreError> for HubError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoAgent | StoreError::NoSubscription => Self::Gone,
            StoreError::NoReceiptSubscription => Self::NoReceipts,
            StoreError::ReceiptsFull => Self::ReceiptsFull,
            StoreError::ChannelTaken => Self::Taken,
            StoreError::QuotaExceeded { .. } | StoreError::TooManySubscriptions => Self::Full,
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Unavailable | StoreError::Unknown | StoreError::Damaged | StoreError::IdTaken => {
                Self::Unavailable
            }
        }
    }
}

/// Says so when a shard panics.
async fn watch_over(shard: JoinHandle<()>, broken: Arc<watch::Sender<bool>>) {
    if shard.await.is_err_and(|error| error.is_panic()) {
        broken.send_replace(true);
    }
}

impl Hub {
    /// Starts `shards` shards on the current runtime. They end when the hub is dropped.
    pub(crate) fn start(store: Store, clock: Clock, limits: &Limits, shards: usize) -> Arc<Self> {
        let mint = Arc::new(Mint::new(0, store.greatest_id()));
        let receipt_waiters = Arc::new(Waiters::default());
        let broken = Arc::new(watch::Sender::new(false));
        let ack_timeout_ms = u32::try_from(limits.ack_timeout.as_millis()).unwrap_or(u32::MAX);
        let rules = Rules { ack_timeout_ms, ..Rules::default() };
        let start_shard = |_| {
            let (commands, inbox) = mpsc::unbounded_channel();
            let waiters = receipt_waiters.clone();
            let shard = Shard::new(inbox, store.clone(), clock.clone(), mint.clone(), waiters, rules).run();
            tokio::spawn(watch_over(tokio::spawn(shard), broken.clone()));
            let places = || Arc::new(Semaphore::new(limits.submissions_max));
            ShardHandle { commands, submissions: places(), settlements: places() }
        };
        let shards = (0..shards.max(1)).map(start_shard).collect();
        let (next_link, stopping) = (AtomicU64::new(0), watch::Sender::new(false));
        Arc::new(Self { shards, store, mint, clock, next_link, receipt_waiters, stopping, broken })
    }

    /// An agent that nobody knows yet: its first subscription makes it one.
    pub(crate) fn new_agent(&self) -> Subscriber {
        Subscriber::New(AgentId::from_raw(self.mint.next(self.clock.now())))
    }

    /// Makes a subscription, and its agent if that is new.
    pub(crate) async fn subscribe(&self, new: NewSubscription) -> Result<SubscriptionId, HubError> {
        let now = self.clock.now();
        let agent = new.subscriber.agent();
        let id = SubscriptionId::from_raw(self.mint.next(now));
        let vapid_key = new.restricted_to.map(|key| *key.as_bytes());
        // Both are queued before either is awaited, so that they share a commit.
        let may_be_new = matches!(new.subscriber, Subscriber::New(_));
        let new_agent = may_be_new.then(|| self.store.create_agent(agent, now));
        let channel = new.channel;
        let subscription = Subscription { id, agent, vapid_key, channel, created: now };
        let new_subscription = self.store.create_subscription(subscription);
        if let Some(answer) = new_agent {
            match answer.await {
                // It has come into being meanwhile, on another connection or by an attempt that failed half-way.
                Err(StoreError::IdTaken) => {}
                made => made?,
            }
        }
        new_subscription.await?;
        Ok(id)
    }

    /// The subscription that the agent calls `channel`, and whom it is restricted to.
    pub(crate) async fn subscription_of_channel(
        &self,
        agent: AgentId,
        channel: &str,
    ) -> Result<Option<(SubscriptionId, Option<KeyFingerprint>)>, HubError> {
        let found = self.store.subscription_of_channel(agent, channel.to_owned()).await?;
        Ok(found.map(|subscription| (subscription.id, fingerprint(&subscription))))
    }

    /// All subscriptions of an agent that it has given names, oldest first.
    pub(crate) async fn channels(&self, agent: AgentId) -> Result<Vec<(SubscriptionId, String)>, HubError> {
        let all = self.store.subscriptions_of(agent).await?;
        Ok(all.into_iter().filter_map(|subscription| Some((subscription.id, subscription.channel?))).collect())
    }

    /// What the agent of a subscription calls it; `None` if there is no such subscription, or it has no name.
    pub(crate) async fn channel(&self, id: SubscriptionId) -> Result<Option<String>, HubError> {
        Ok(self.store.subscription(id).await?.and_then(|subscription| subscription.channel))
    }

    /// Whom a subscription is restricted to; `None` if there is no such subscription.
    pub(crate) async fn restriction(&self, id: SubscriptionId) -> Result<Option<Option<KeyFingerprint>>, HubError> {
        Ok(self.store.subscription(id).await?.map(|subscription| fingerprint(&subscription)))
    }

    /// Takes a message; `Ok` when it is durable, or was delivered or dropped with TTL 0.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<MessageId, HubError> {
        if submission.is_transient() {
            self.check(&submission).await?;
        }
        let shard = self.shard(submission.agent);
        let permit = shard.submissions.clone().try_acquire_owned().map_err(|_| HubError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        self.tell(submission.agent, Command::Submit { submission, reply, permit });
        answer.await.unwrap_or(Err(HubError::Unavailable))
    }

    /// What the store checks of a message that it stores; one with TTL 0 it never sees.
    async fn check(&self, submission: &Submission) -> Result<(), HubError> {
        if self.store.subscription(submission.subscription).await?.is_none() {
            return Err(HubError::Gone);
        }
        match submission.receipt {
            Some(id) if !self.store.receipt_subscription_exists(id).await? => Err(HubError::NoReceipts),
            _ => Ok(()),
        }
    }

    /// Opens a delivery stream to the agent, beside those that are open.
    pub(crate) async fn connect(self: &Arc<Self>, agent: AgentId, spec: LinkSpec) -> Result<Link, HubError> {
        self.open_link(agent, spec, false).await
    }

    /// Opens the agent's one socket: an older one, which may be dead without anybody knowing, hears
    /// [`LinkEvent::Superseded`], and what was unacknowledged on it comes on this one.
    pub(crate) async fn take_over(self: &Arc<Self>, agent: AgentId, spec: LinkSpec) -> Result<Link, HubError> {
        self.open_link(agent, spec, true).await
    }

    /// The same for an agent that may not have come into being yet, whose first subscription is made on another
    /// connection: the link is there when it is.
    pub(crate) fn take_over_early(self: &Arc<Self>, agent: AgentId, spec: LinkSpec) -> Link {
        self.new_link(agent, spec, true)
    }

    fn new_link(self: &Arc<Self>, agent: AgentId, spec: LinkSpec, only: bool) -> Link {
        let id = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(Outbox::default());
        self.tell(agent, Command::Connect { agent, link: id, spec, only, outbox: outbox.clone() });
        Link::new(self.clone(), agent, id, outbox)
    }

    async fn open_link(self: &Arc<Self>, agent: AgentId, spec: LinkSpec, only: bool) -> Result<Link, HubError> {
        let link = self.new_link(agent, spec, only);
        // Looked up after connecting: a removal in between is then seen here, or told to the link.
        self.check_scope(agent, spec.scope).await?;
        Ok(link)
    }

    /// `Gone` when what a stream would be about does not exist.
    pub(crate) async fn check_scope(&self, agent: AgentId, scope: Scope) -> Result<(), HubError> {
        let exists = match scope {
            Scope::Agent => self.store.agent_exists(agent).await?,
            Scope::Subscription(id) => self.store.subscription(id).await?.is_some(),
        };
        if exists { Ok(()) } else { Err(HubError::Gone) }
    }

    /// Removes a message for good, with what became of it; whether it was there.
    pub(crate) async fn settle(&self, agent: AgentId, id: MessageId, outcome: Outcome) -> Result<bool, HubError> {
        let settlements = self.shard(agent).settlements.clone();
        let permit = settlements.try_acquire_owned().map_err(|_| HubError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let places = Places { _of_shard: permit, _of_link: None };
        self.tell(agent, Command::Settle { agent, id, outcome, reply: Some(reply), places });
        answer.await.unwrap_or(Err(HubError::Unavailable))
    }

    /// An outstanding message.
    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<Message>, HubError> {
        let found = self.store.messages(vec![id], self.clock.now()).await?;
        match found.into_iter().next() {
            Some(Lookup::Stored(message)) => Ok(Some(Message::from(message))),
            Some(Lookup::Absent) | None => Ok(None),
            Some(Lookup::Damaged) => Err(StoreError::Damaged.into()),
        }
    }

    /// Removes a subscription or a whole agent, with what was stored for it.
    pub(crate) async fn remove(self: &Arc<Self>, agent: AgentId, what: Scope) -> Result<(), HubError> {
        let now = self.clock.now();
        let (removal, command) = match what {
            Scope::Agent => (self.store.delete_agent(agent, now), Command::AgentRemoved { agent }),
            Scope::Subscription(subscription) => {
                let command = Command::Unsubscribed { agent, subscription };
                (self.store.delete_subscription(agent, subscription, now), command)
            }
        };
        let hub = self.clone();
        // A task of its own: whoever asks may go away meanwhile, and the links have to hear of it all the same.
        let removed = tokio::spawn(async move {
            let removed = removal.await?;
            if !removed.existed {
                return Err(HubError::Gone);
            }
            removed.receipts.into_iter().for_each(|id| hub.receipt_waiters.wake(id));
            hub.tell(agent, command);
            Ok(())
        });
        removed.await.unwrap_or(Err(HubError::Unavailable))
    }

    /// Completes when a shard has panicked, and never otherwise.
    pub(crate) async fn broken(&self) {
        // The sender lives in `self`.
        let _ = self.broken.subscribe().wait_for(|broken| *broken).await;
    }

    /// Ends every link, now and from now on: the service drains.
    pub(crate) fn stop_links(&self) {
        self.stopping.send_replace(true);
        for shard in &self.shards {
            // A shard that is gone has no links.
            let _ = shard.commands.send(Command::Stop);
        }
    }

    fn tell(&self, agent: AgentId, command: Command) {
        // A shard ends only with the hub; a request that is under way then is answered by its dropped reply.
        let _ = self.shard(agent).commands.send(command);
    }

    fn shard(&self, agent: AgentId) -> &ShardHandle {
        // The low bits count within a millisecond, the high ones are the time: mix them all.
        let mixed = agent.raw().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let place = usize::try_from(mixed).unwrap_or(0) % self.shards.len();
        &self.shards[place]
    }
}

fn fingerprint(subscription: &Subscription) -> Option<KeyFingerprint> {
    let key = subscription.vapid_key.and_then(|key| PublicKey::from_bytes(&key).ok());
    key.map(|key| key.fingerprint())
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::time::UnixMs;
    use futures_util::FutureExt;

    use super::*;
    use crate::config::{Config, Settings};

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

    fn limits() -> Limits {
        let state_dir = Some("not used".into());
        Config::from_settings(Settings { state_dir, ..Settings::default() }).unwrap().limits
    }

    fn hub() -> (Arc<Hub>, Store) {
        let store = Store::open_memory(doorbell_store::Limits::default()).unwrap();
        (Hub::start(store.clone(), Clock::manual(NOW), &limits(), 1), store)
    }

    /// A link without the look into the store that a door's has to pass.
    fn link(hub: &Arc<Hub>, agent: AgentId, mode: Mode) -> Link {
        let spec = LinkSpec { scope: Scope::Agent, floor: None, mode, window: 10, retry: Retry::SameLink };
        let id = LinkId(hub.next_link.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(Outbox::default());
        hub.tell(agent, Command::Connect { agent, link: id, spec, only: false, outbox: outbox.clone() });
        Link::new(hub.clone(), agent, id, outbox)
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_read_is_never_taken_for_an_empty_one_ps_8030_6_7() {
        let (hub, store) = hub();
        store.close().await.unwrap();
        let agent = AgentId::from_raw(1);
        let mut first = link(&hub, agent, Mode::Hold);
        assert!(matches!(first.next().await, LinkEvent::Failed(HubError::Unavailable)));
        // The first one is still there: its client takes its time.
        let mut second = link(&hub, agent, Mode::Drain);
        assert!(matches!(second.next().await, LinkEvent::Failed(HubError::Unavailable)));
    }

    #[tokio::test]
    async fn acknowledgements_under_way_are_bounded() {
        let (hub, _store) = hub();
        let max = limits().submissions_max;
        let settle = |n| Box::pin(hub.settle(AgentId::from_raw(1), MessageId::from_raw(n), Outcome::Delivered));
        // The shard does not run before this test waits for something.
        let mut under_way: Vec<_> = (0..max as i64).map(settle).collect();
        for one in &mut under_way {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert_eq!(settle(-1).await, Err(HubError::Overloaded));
        for one in under_way {
            assert_eq!(one.await, Ok(false));
        }
        assert_eq!(settle(-1).await, Ok(false));
    }
}
