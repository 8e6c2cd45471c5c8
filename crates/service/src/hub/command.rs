//! The commands of the hub and the subscribers to a shard.

use std::sync::Arc;

use doorbell_mailbox::{Rules, SubscriberId, SubscriberSpec};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::HubError;
use super::message::Submission;
use super::outbox::Outbox;
use crate::counts::AgentDoor;

/// The reply to an application server: the id of its accepted message, or an error.
pub(super) type SubmitReply = oneshot::Sender<Result<MessageId, HubError>>;

/// The reply to a client that settled a message: whether the message existed.
pub(super) type SettleReply = oneshot::Sender<Result<bool, HubError>>;

/// A command for one agent or for the whole shard.
pub(super) enum Command {
    /// For this agent's mailbox, which the shard owns.
    Agent(AgentId, AgentCommand),
    /// Note in the store that connected agents are in use, if the last note is from before `before`.
    TouchConnected { before: UnixMs, done: oneshot::Sender<()> },
    /// Rules for the mailboxes of agents that become active from now on.
    Rules(Rules),
    /// End every subscriber, the present and all later ones.
    Stop,
}

/// An event of one agent.
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
        /// `None`: an acknowledgement on a socket gets no answer.
        reply: Option<SettleReply>,
        permits: SettlePermits,
    },
    /// The agent did not pass a message to its web app. No client waits for an answer.
    NotPassedOn {
        id: MessageId,
        permits: SettlePermits,
    },
    /// A message cannot be delivered, because its stored record is damaged. It is dropped.
    Undeliverable {
        id: MessageId,
    },
    Connect {
        subscriber: SubscriberId,
        door: AgentDoor,
        spec: SubscriberSpec,
        /// It replaces the agent's other subscriber of this kind.
        exclusive: bool,
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

/// The permits that a settlement holds until it is answered.
pub(super) struct SettlePermits {
    /// One of its shard's permits.
    pub(super) _of_shard: OwnedSemaphorePermit,
    /// One of its socket's permits, if it came over a socket.
    pub(super) _of_subscriber: Option<OwnedSemaphorePermit>,
}
