//! One open delivery stream of the agent.

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::SubscriptionId;

use crate::input::{Mode, Scope, SubscriberId, SubscriberSpec};

/// A subscriber and how much of its window is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber {
    pub(crate) id: SubscriberId,
    pub(crate) spec: SubscriberSpec,
    /// Messages that occupy a place of the window.
    pub(crate) unacked: u16,
    /// It was notified that nothing more comes.
    pub(crate) drained: bool,
}

impl Subscriber {
    pub(crate) fn new(id: SubscriberId, spec: SubscriberSpec) -> Self {
        Self { id, spec, unacked: 0, drained: false }
    }

    /// Whether one more message may go out on it.
    pub(crate) fn has_room(&self) -> bool {
        !self.drained && self.unacked < self.spec.window
    }

    /// Whether it still has to be notified that nothing more comes.
    pub(crate) fn is_draining(&self) -> bool {
        self.spec.mode == Mode::Drain && !self.drained
    }

    /// Whether it carries messages of this subscription and urgency (PS-8030-5.3-5).
    pub(crate) fn carries(&self, subscription: SubscriptionId, urgency: Urgency) -> bool {
        let in_scope = match self.spec.scope {
            Scope::Agent => true,
            Scope::Subscription(only) => only == subscription,
        };
        in_scope && self.wants(urgency)
    }

    /// Whether the agent wants this urgency now; `None < Some(_)`, so no floor wants all.
    pub(crate) fn wants(&self, urgency: Urgency) -> bool {
        Some(urgency) >= self.spec.floor
    }
}
