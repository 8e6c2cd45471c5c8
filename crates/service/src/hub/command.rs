//! What the hub and the subscribers ask a shard to do.

use std::sync::Arc;

use doorbell_mailbox::{SubscriberId, SubscriberSpec};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::HubError;
use super::message::Submission;
use super::outbox::Outbox;

/// Answers an application server: the id of its accepted message, or why there is none.
pub(super) type SubmitReply = oneshot::Sender<Result<MessageId, HubError>>;

/// Answers a client that settled a message: whether there was such a message.
pub(super) type SettleReply = oneshot::Sender<Result<bool, HubError>>;

/// Something to do for one agent or for the whole shard.
pub(super) enum Command {
    /// For the mailbox of this agent, which the shard owns.
    Agent(AgentId, AgentCommand),
    /// Note in the store that connected agents are in use, where it was last noted before `before`.
    TouchConnected { before: UnixMs, done: oneshot::Sender<()> },
    /// End every subscriber, now and from now on.
    Stop,
}

/// Something that happened to one agent.
pub(super) enum AgentCommand {
    /// An application server's message, parsed and admitted.
    Submit {
        submission: Submission,
        reply: SubmitReply,
        permit: OwnedSemaphorePermit,
    },
    /// A message is over.
    Settle {
        id: MessageId,
        outcome: Outcome,
        /// `None`: an acknowledgement on a socket has no answer.
        reply: Option<SettleReply>,
        permits: SettlePermits,
    },
    /// A message cannot be delivered, because what is stored about it is damaged. It is dropped.
    Undeliverable {
        id: MessageId,
    },
    Connect {
        subscriber: SubscriberId,
        spec: SubscriberSpec,
        /// It takes the place of the agent's other subscriber of this kind.
        only: bool,
        outbox: Arc<Outbox>,
    },
    Disconnect {
        subscriber: SubscriberId,
    },
    Declined {
        subscriber: SubscriberId,
        id: MessageId,
    },
    Gone {
        subscriber: SubscriberId,
        id: MessageId,
    },
    Arrived {
        subscriber: SubscriberId,
        id: MessageId,
    },
    SetFloor {
        subscriber: SubscriberId,
        floor: Option<Urgency>,
    },
    Unsubscribed {
        subscription: SubscriptionId,
    },
    Removed,
}

/// What a settlement occupies until it is answered.
pub(super) struct SettlePermits {
    /// Its place among those of its shard.
    pub(super) _of_shard: OwnedSemaphorePermit,
    /// Its place among those of its socket, if it came over one.
    pub(super) _of_subscriber: Option<OwnedSemaphorePermit>,
}
