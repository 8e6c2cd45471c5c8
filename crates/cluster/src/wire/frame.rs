//! What nodes send each other, as values.

use bytes::Bytes;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::{Life, NodeId, Slot};

/// One frame. A near node has the socket or the request; the owner has the mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each direction.
    Hello {
        /// The oldest version of the frames that the sender has.
        wire_min: u16,
        /// The newest one.
        wire_max: u16,
        /// The cluster that the sender belongs to: ASCII, at most [`CLUSTER_MAX`](super::CLUSTER_MAX) characters.
        cluster: String,
        /// The sender.
        node: NodeId,
        /// Its life.
        life: Life,
    },
    /// To the owner: store a message and deliver it.
    Submit {
        /// Names the request on this connection, for its [`Frame::Answer`].
        request: u64,
        /// The message may have been stored before, by this owner or another one.
        again: bool,
        /// The message.
        message: Box<Submitted>,
    },
    /// From the owner: the result of a [`Frame::Submit`].
    Answer {
        /// The request.
        request: u64,
        /// The result.
        answer: Answer,
    },
    /// To the owner: open a link, instead of an older opening of it.
    Connect {
        /// Names the link; the sender uses each number for one socket.
        link: u64,
        /// The number of the opening. Frames of an older opening have no effect.
        opening: u64,
        /// Whose mailbox.
        agent: AgentId,
        /// Messages of this subscription only; `None`: of all subscriptions of the agent.
        scope: Option<SubscriptionId>,
        /// The least urgency that the agent wants; `None`: all messages.
        floor: Option<Urgency>,
        /// For how long.
        mode: Mode,
        /// How many messages may be unacknowledged at a time.
        window: u16,
        /// A message that was not acknowledged in time may go again on the same link; `false`: only on a later one.
        retry_same: bool,
        /// It replaces the agent's other subscriber of this kind.
        exclusive: bool,
    },
    /// To the owner: what happened at the socket of a link.
    Tell {
        /// The link.
        link: u64,
        /// The number of its opening.
        opening: u64,
        /// What happened.
        tell: Tell,
    },
    /// From the owner: what to do at the socket of a link.
    Event {
        /// The link.
        link: u64,
        /// The number of its opening.
        opening: u64,
        /// What to do.
        event: Event,
    },
    /// To the holder of a slot: the sender should hold it.
    YieldSlot {
        /// The slot.
        slot: Slot,
    },
    /// To the owner of a receipt subscription: whether a stream of it is open at the sender.
    Listen {
        /// The receipt subscription.
        of: ReceiptSubscriptionId,
        /// Whether one is open.
        on: bool,
    },
    /// New receipts of these receipt subscriptions are in the store: to their owner, and from it to the nodes that sent
    /// [`Frame::Listen`].
    Woke {
        /// The receipt subscriptions.
        of: Vec<ReceiptSubscriptionId>,
    },
    /// What VAPID keys have used at the sender since its last frame of this kind, and which nodes it does not reach.
    Rates {
        /// Each key, as its SHA-256, and how many requests were admitted.
        used: Vec<([u8; 32], u32)>,
        /// The nodes that the sender has no connection to.
        unreachable: Vec<NodeId>,
    },
    /// Asks for a [`Frame::Pong`] with the same number.
    Ping {
        /// The number.
        number: u64,
    },
    /// The answer to a [`Frame::Ping`].
    Pong {
        /// The number of the ping.
        number: u64,
    },
}

/// A message of an application server, parsed and admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its id, which the sender minted.
    pub id: MessageId,
    /// Whom it is for.
    pub agent: AgentId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// How long it is kept, in seconds. Zero: deliver it immediately or never, and do not store it.
    pub ttl_secs: u32,
    /// Its urgency.
    pub urgency: Urgency,
    /// An older message of the subscription with the same topic is replaced.
    pub topic: Option<Topic>,
    /// Where its outcome is reported.
    pub receipt: Option<ReceiptSubscriptionId>,
    /// The headers that describe the body, packed as in the store. The codec does not read them.
    pub headers: Bytes,
    /// The encrypted body.
    pub body: Bytes,
}

/// The result of a [`Frame::Submit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message is durable, or was transient.
    Accepted,
    /// The node does not own the agent's slot. It has not stored the message for this request.
    NotOwner,
    /// The subscription does not exist.
    Gone,
    /// The receipt subscription does not exist.
    NoReceipts,
    /// The receipt subscription has the maximum of receipts.
    ReceiptsFull,
    /// The agent has the maximum of messages or bytes.
    Full,
    /// The database has no room on its disk.
    NoRoom,
    /// The whole store has its maximum.
    StoreFull,
    /// Too many requests are in progress.
    Overloaded,
    /// The store failed and may have kept the message, or the node is stopping.
    Unavailable,
    /// A stored record cannot be read.
    Damaged,
    /// The subscription gets messages too fast.
    TooFast {
        /// After how many milliseconds the next one is admitted.
        retry_after_ms: u32,
    },
}

/// How long a link wants messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What there is now, then [`Event::Drained`].
    Drain,
    /// What there is and what comes.
    Hold,
    /// None: only [`Event::Waiting`] and [`Event::Quiet`].
    Watch,
}

/// What happened at the socket of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The message has ended. The owner answers [`Event::Settled`].
    Settle {
        /// The message.
        id: MessageId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The agent received the message and did not pass it to the web app.
    NotPassedOn {
        /// The message.
        id: MessageId,
    },
    /// The stored record of the message is damaged: drop it.
    Undeliverable {
        /// The message.
        id: MessageId,
    },
    /// The agent refused the message for now: try again later.
    Declined {
        /// The message.
        id: MessageId,
    },
    /// The store does not have the message any more.
    Gone {
        /// The message.
        id: MessageId,
    },
    /// The agent has the message and has not acknowledged it.
    Arrived {
        /// The message.
        id: MessageId,
    },
    /// The least urgency that the agent wants from now on; `None`: all messages.
    SetFloor(Option<Urgency>),
    /// The socket is closed.
    Disconnect,
}

/// What to do at the socket of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link is open.
    Connected,
    /// The node does not own the agent's slot, or no longer owns it: open the link at the owner.
    NotOwner,
    /// Send this message.
    Put {
        /// The message.
        id: MessageId,
        /// Under its second version: the agent did not pass on the first one.
        second: bool,
        /// Its content; `None`: read it from the store.
        message: Option<Box<Body>>,
    },
    /// Do not send this message any more, if that is possible.
    Recall {
        /// The message.
        id: MessageId,
    },
    /// The end of this message is durable.
    Settled {
        /// The message.
        id: MessageId,
    },
    /// Every message of a link with [`Mode::Drain`] was sent.
    Drained,
    /// Messages wait, and the agent does not take them.
    Waiting {
        /// How many.
        messages: u32,
        /// The urgency of the most urgent one.
        urgency: Urgency,
        /// When the oldest one was accepted.
        since: UnixMs,
        /// When the last one of them expires.
        expires: UnixMs,
    },
    /// The last [`Event::Waiting`] no longer holds.
    Quiet,
    /// Close the socket. The owner has closed the link.
    End(EndReason),
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// From this moment on it must not be sent; `None`: it is transient.
    pub expires_at: Option<UnixMs>,
    /// The headers that describe the body, packed as in the store. The codec does not read them.
    pub headers: Bytes,
    /// The encrypted body.
    pub body: Bytes,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The one subscription that it carried is removed.
    SubscriptionGone,
    /// The agent is removed.
    AgentGone,
    /// An exclusive link of the same agent replaces it.
    Superseded,
    /// The owner is stopping.
    Stopping,
}
