//! What a mailbox asks of its driver.

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::input::{RequestId, SubscriberId};

/// Something to do, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Store the message of `request`, then feed [`Input::Stored`](crate::Input::Stored) or
    /// [`Input::NotStored`](crate::Input::NotStored). Persists and erases reach the store in the order given.
    Persist {
        /// The application server's request.
        request: RequestId,
    },
    /// Answer that the message is accepted (201): it is durable, or it was transient.
    Accept {
        /// The application server's request.
        request: RequestId,
    },
    /// Answer that the message is not accepted.
    Reject {
        /// The application server's request.
        request: RequestId,
    },
    /// Read a page of what the store holds for the agent and feed [`Input::Loaded`](crate::Input::Loaded). Never two at
    /// a time. A store that cannot be read: disconnect the subscribers, then feed an empty page.
    Load {
        /// Only messages with greater ids.
        after: Option<MessageId>,
    },
    /// Push the message on the subscriber. It occupies one place of the subscriber's window until it is acknowledged, declined,
    /// gone or timed out.
    Send {
        /// The subscriber.
        subscriber: SubscriberId,
        /// The message.
        id: MessageId,
        /// Under its second version: the agent has seen the first one ([`Input::NotPassedOn`](crate::Input::NotPassedOn)).
        second: bool,
    },
    /// Everything for this [`Mode::Drain`](crate::Mode::Drain) subscriber has been offered and nothing more will be. The subscriber
    /// still counts as open, so that its unacknowledged messages stay with it, until
    /// [`Input::Disconnect`](crate::Input::Disconnect).
    Drained {
        /// The subscriber.
        subscriber: SubscriberId,
    },
    /// Report to this [`Mode::Watch`](crate::Mode::Watch) subscriber that messages wait at or above its floor, and the
    /// agent does not take them: for a grace of a second it has no other subscriber, or for five seconds it has shown
    /// no life on one that was sent a message. Again when a more urgent message comes, and when a subscriber has closed
    /// and left messages behind.
    Waiting {
        /// The watcher.
        subscriber: SubscriberId,
        /// How many wait.
        messages: u32,
        /// The urgency of the most urgent one.
        urgency: Urgency,
        /// When the oldest one was accepted.
        since: UnixMs,
        /// When the last one of them expires.
        expires: UnixMs,
    },
    /// Report to this watcher that the last [`Effect::Waiting`] no longer holds: nothing waits, or the agent is back.
    Quiet {
        /// The watcher.
        subscriber: SubscriberId,
    },
    /// End the subscriber: the mailbox has forgotten it.
    Close {
        /// The subscriber.
        subscriber: SubscriberId,
        /// The reason, for the agent.
        why: CloseReason,
    },
    /// Remove the message from the store, answer the request with the store's result (it may never have had it), and
    /// feed [`Input::Erased`](crate::Input::Erased).
    Erase {
        /// The message.
        id: MessageId,
        /// The request to answer, if there is one.
        request: Option<RequestId>,
        /// The outcome of the [`Input::Ack`](crate::Input::Ack) that asked for this;
        /// [`Outcome::Refused`] if it was an [`Input::NotPassedOn`](crate::Input::NotPassedOn).
        outcome: Outcome,
    },
    /// Answer a request that involves no store: the message was transient, or it is not over yet.
    Acked {
        /// The request.
        request: RequestId,
    },
    /// The mailbox will not send this message again unless it loads it again: a cached body may be dropped.
    Release {
        /// The message.
        id: MessageId,
    },
}

/// Why a subscriber has to end; the agent's GET is answered 404 (PS-8030-7.3-2, PS-8030-7.3.1-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The one subscription that it carried is removed.
    SubscriptionGone,
    /// The agent (the subscription set) is removed.
    AgentGone,
}
