//! The messages that wait for a link with room, in the order in which they go: urgency, fewest offers, age.
//!
//! A message that timed out goes behind those that were never offered, so that one that the agent cannot take does not
//! hold up the others until its offers are used up.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};

use crate::input::Scope;
use crate::link::Link;
use crate::message::Message;

/// Where a message stands in the order: least first.
type Rank = (Reverse<Urgency>, u8, MessageId);

const FIRST: Rank = (Reverse(Urgency::High), 0, MessageId::from_raw(i64::MIN));

/// The waiting messages, by rank for links of the whole agent and by subscription and rank for the others.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    of_agent: BTreeSet<Rank>,
    of_subscription: BTreeSet<(SubscriptionId, Rank)>,
}

impl Ready {
    pub(crate) fn insert(&mut self, id: MessageId, message: &Message) {
        let rank = rank(id, message);
        self.of_agent.insert(rank);
        self.of_subscription.insert((message.subscription, rank));
    }

    pub(crate) fn remove(&mut self, id: MessageId, message: &Message) {
        let rank = rank(id, message);
        self.of_agent.remove(&rank);
        self.of_subscription.remove(&(message.subscription, rank));
    }

    /// The message that goes next on `link`, whether it has room or not.
    pub(crate) fn next_for(&self, link: &Link) -> Option<MessageId> {
        let &(Reverse(urgency), _, id) = match link.spec.scope {
            Scope::Agent => self.of_agent.first()?,
            Scope::Subscription(only) => {
                let (subscription, rank) = self.of_subscription.range((only, FIRST)..).next()?;
                (*subscription == only).then_some(rank)?
            }
        };
        // The most urgent is first: if the link does not want it, it wants none.
        link.wants(urgency).then_some(id)
    }
}

fn rank(id: MessageId, message: &Message) -> Rank {
    (Reverse(message.urgency), message.offers, id)
}
