//! What a driver feeds to a mailbox.

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

/// Names a request that waits for an answer. The driver never uses one twice on the same mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one open delivery stream of the agent: a held GET, a WebSocket. The driver never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

/// What a mailbox knows of a message: everything but its headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id; a greater one is younger.
    pub id: MessageId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// How much it is worth waking the agent for (RFC 8030 s5.3).
    pub urgency: Urgency,
    /// The first moment at which it must not be sent any more (RFC 8030 s5.2).
    pub expires_at: UnixMs,
}

/// Which messages a subscriber carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of every subscription of the agent: a subscription set (RFC 8030 s6.1), a WebSocket.
    Agent,
    /// Those of one subscription (RFC 8030 s6).
    Subscription(SubscriptionId),
}

/// How long a subscriber wants messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What there is now, then [`Effect::Drained`](crate::Effect::Drained) (`Prefer: wait=0`).
    Drain,
    /// What there is and what comes, until it disconnects.
    Hold,
    /// None: it watches, and learns by [`Effect::Waiting`](crate::Effect::Waiting) and
    /// [`Effect::Quiet`](crate::Effect::Quiet) whether messages wait that no other subscriber takes.
    Watch,
}

/// Where a message may go again when it was not acknowledged in time or was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// On the same subscriber, [`Rules::offers_max`](crate::Rules::offers_max) times at most.
    SameSubscriber,
    /// Only once this subscriber is gone: by its silence, or by closing, the agent shows that it will not take it here.
    NextSubscriber,
}

/// What a subscriber carries, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriberSpec {
    /// Which messages.
    pub scope: Scope,
    /// The least urgency that the agent wants now; `None`: all (PS-8030-5.3-5).
    pub floor: Option<Urgency>,
    /// For how long.
    pub mode: Mode,
    /// How many messages may be unacknowledged at a time. Zero carries nothing: a drain of it ends at once.
    pub window: u16,
    /// Where an unacknowledged message goes again.
    pub retry: Retry,
}

impl SubscriberSpec {
    /// A watcher of the whole agent: it is offered nothing.
    pub fn watch(floor: Option<Urgency>) -> Self {
        Self { scope: Scope::Agent, floor, mode: Mode::Watch, window: 0, retry: Retry::NextSubscriber }
    }
}

/// Something that happened. What names a request, subscriber or id that the mailbox does not know is late, and ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An application server's message. Its subscription exists; `entry.id` is new.
    Submit {
        /// The application server's request.
        request: RequestId,
        /// The message.
        entry: Entry,
        /// TTL 0: sent at once to a subscriber with room, or dropped; never stored, whatever its expiry (PS-8030-5.2-9).
        transient: bool,
    },
    /// The store has committed the message of `request`.
    Stored {
        /// From [`Effect::Persist`](crate::Effect::Persist).
        request: RequestId,
        /// The older message with the same topic, which the same commit removed (RFC 8030 s5.4).
        replaced: Option<MessageId>,
    },
    /// The store refused the message of `request`, or it is unknown whether it has it.
    NotStored {
        /// From [`Effect::Persist`](crate::Effect::Persist).
        request: RequestId,
    },
    /// The agent opened a delivery stream.
    Connect {
        /// Its name from now on.
        subscriber: SubscriberId,
        /// What it carries.
        spec: SubscriberSpec,
    },
    /// The agent changed the least urgency that it wants on `subscriber`; what is on its way stays so.
    SetFloor {
        /// The subscriber.
        subscriber: SubscriberId,
        /// The new floor.
        floor: Option<Urgency>,
    },
    /// The stream ended. What was unacknowledged on it is undelivered again; transient messages are dropped.
    Disconnect {
        /// The subscriber.
        subscriber: SubscriberId,
    },
    /// A page of what the store holds for the agent, in the order of ids: the answer to
    /// [`Effect::Load`](crate::Effect::Load).
    Loaded {
        /// The page, read at some moment after the `Load`.
        entries: Vec<Entry>,
        /// Whether the store holds more after it.
        more: bool,
    },
    /// The agent, or another holder of the message's URI, settled the message (RFC 8030 s6.2).
    Ack {
        /// The request to answer, if there is one: a DELETE has one, a WebSocket acknowledgement has none.
        request: Option<RequestId>,
        /// The message.
        id: MessageId,
        /// What a receipt reports of it. The rules do not read it: [`Effect::Erase`](crate::Effect::Erase) returns it.
        outcome: Outcome,
    },
    /// The agent received the message under its first version and did not pass it to the web app. It reports this for a
    /// message that it had before, and also for one that it lost: the message is offered once more, under its second
    /// version. The same report about the second version is an [`Input::Ack`] with [`Outcome::Refused`], and so is this
    /// one if the message was sent more than once.
    NotPassedOn {
        /// The request to answer, if there is one.
        request: Option<RequestId>,
        /// The message.
        id: MessageId,
    },
    /// The store has answered an [`Effect::Erase`](crate::Effect::Erase). If it failed to remove the message, the next
    /// load brings it again.
    Erased {
        /// The message.
        id: MessageId,
    },
    /// The agent refused or reset the push: try again later.
    Declined {
        /// The subscriber that it was sent on.
        subscriber: SubscriberId,
        /// The message.
        id: MessageId,
    },
    /// The agent has the message, as its transport shows, and has not acknowledged it: other messages may go before it
    /// does. Only for a subscriber with [`Retry::NextSubscriber`], on which it would not go again anyway; a transient message keeps
    /// its place, because it has no other.
    Arrived {
        /// The subscriber that it was sent on.
        subscriber: SubscriberId,
        /// The message.
        id: MessageId,
    },
    /// The push could not be made, because the store does not have the message any more.
    Gone {
        /// The subscriber that it was to be sent on.
        subscriber: SubscriberId,
        /// The message.
        id: MessageId,
    },
    /// The store has removed the subscription and its messages (RFC 8030 s7.3).
    Unsubscribed {
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// The store has removed the agent with its subscriptions and messages (RFC 8030 s7.3.1).
    AgentRemoved,
    /// The moment of [`Mailbox::next_deadline`](crate::Mailbox::next_deadline) has come.
    Tick,
}
