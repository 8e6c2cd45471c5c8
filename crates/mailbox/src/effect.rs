//! What a mailbox asks of its driver.

use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;

use crate::input::{LinkId, Ticket};

/// Something to do, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Store the message of `ticket`, then feed [`Input::Stored`](crate::Input::Stored) or
    /// [`Input::NotStored`](crate::Input::NotStored). Persists and erases reach the store in the order given.
    Persist {
        /// The application server's request.
        ticket: Ticket,
    },
    /// Answer that the message is accepted (201): it is durable, or it was transient.
    Accept {
        /// The application server's request.
        ticket: Ticket,
    },
    /// Answer that the message is not accepted.
    Reject {
        /// The application server's request.
        ticket: Ticket,
    },
    /// Read a page of what the store holds for the agent and feed [`Input::Loaded`](crate::Input::Loaded). Never two at
    /// a time. A store that cannot be read: disconnect the links, then feed an empty page.
    Load {
        /// Only messages with greater ids.
        after: Option<MessageId>,
    },
    /// Push the message on the link. It occupies one place of the link's window until it is acknowledged, declined,
    /// gone or timed out.
    Send {
        /// The link.
        link: LinkId,
        /// The message.
        id: MessageId,
    },
    /// Everything for this [`Mode::Drain`](crate::Mode::Drain) link has been offered and nothing more will be. The link
    /// still counts as open, so that its unacknowledged messages stay with it, until
    /// [`Input::Disconnect`](crate::Input::Disconnect).
    Drained {
        /// The link.
        link: LinkId,
    },
    /// End the link: the mailbox has forgotten it.
    Close {
        /// The link.
        link: LinkId,
        /// The reason, for the agent.
        why: CloseReason,
    },
    /// Remove the message from the store, answer the ticket with the store's result (it may never have had it), and
    /// feed [`Input::Erased`](crate::Input::Erased).
    Erase {
        /// The message.
        id: MessageId,
        /// The request to answer, if there is one.
        ticket: Option<Ticket>,
        /// The outcome of the [`Input::Ack`](crate::Input::Ack) that asked for this.
        outcome: Outcome,
    },
    /// Answer that the message was settled: it was transient, no store is involved.
    Acked {
        /// The request.
        ticket: Ticket,
    },
    /// The mailbox will not send this message again unless it loads it again: a cached body may be dropped.
    Release {
        /// The message.
        id: MessageId,
    },
}

/// Why a link has to end; the agent's GET is answered 404 (PS-8030-7.3-2, PS-8030-7.3.1-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The one subscription that it carried is removed.
    SubscriptionGone,
    /// The agent (the subscription set) is removed.
    AgentGone,
}
