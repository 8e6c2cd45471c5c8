//! The messages that wait for a subscriber with room, in the order in which they go: urgency, fewest offers, age.
//!
//! A message that timed out goes behind those that were never offered, so that one that the agent cannot take does not
//! hold up the others until its offers are used up.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};

use crate::input::Scope;
use crate::message::Message;
use crate::subscriber::Subscriber;

/// Where a message stands in the order: least first.
type Rank = (Reverse<Urgency>, u8, MessageId);

const FIRST: Rank = (Reverse(Urgency::High), 0, MessageId::from_raw(i64::MIN));

/// The waiting messages, by rank for subscribers of the whole agent and by subscription and rank for the others.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    of_agent: BTreeSet<Rank>,
    of_subscription: BTreeSet<(SubscriptionId, Rank)>,
}

impl Ready {
    pub(crate) fn insert(&mut self, id: MessageId, message: &Message) {
        let rank = rank(id, message);
        let new = self.of_agent.insert(rank);
        self.of_subscription.insert((message.subscription, rank));
        debug_assert!(new, "{id:?} was not ready before");
        debug_assert_eq!(self.of_agent.len(), self.of_subscription.len(), "both orders list the same messages");
    }

    pub(crate) fn remove(&mut self, id: MessageId, message: &Message) {
        let rank = rank(id, message);
        let known = self.of_agent.remove(&rank);
        self.of_subscription.remove(&(message.subscription, rank));
        debug_assert!(known, "{id:?} was ready");
        debug_assert_eq!(self.of_agent.len(), self.of_subscription.len(), "both orders list the same messages");
    }

    /// How many messages are ready.
    #[cfg(debug_assertions)]
    pub(crate) fn len(&self) -> usize {
        self.of_agent.len()
    }

    /// Whether both orders list the message at its rank.
    #[cfg(debug_assertions)]
    pub(crate) fn lists(&self, id: MessageId, message: &Message) -> bool {
        let rank = rank(id, message);
        self.of_agent.contains(&rank) && self.of_subscription.contains(&(message.subscription, rank))
    }

    /// The message that goes next on `subscriber`, whether it has room or not.
    pub(crate) fn next_for(&self, subscriber: &Subscriber) -> Option<MessageId> {
        let &(Reverse(urgency), _, id) = match subscriber.spec.scope {
            Scope::Agent => self.of_agent.first()?,
            Scope::Subscription(only) => {
                let (subscription, rank) = self.of_subscription.range((only, FIRST)..).next()?;
                (*subscription == only).then_some(rank)?
            }
        };
        // The most urgent is first: if the subscriber does not want it, it wants none.
        subscriber.wants(urgency).then_some(id)
    }
}

fn rank(id: MessageId, message: &Message) -> Rank {
    (Reverse(message.urgency), message.offers, id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::harness::{hold, id, urgent};
    use crate::message::Place;
    use crate::{Entry, SubscriberId, SubscriberSpec};

    /// Subscription, urgency, offers, and whether it is taken out again.
    type Parts = (i64, usize, u8, bool);

    fn message(n: usize, &(subscription, urgency, offers, _): &Parts) -> (MessageId, Message) {
        let id = id(n as i64);
        let entry = Entry { subscription: SubscriptionId::from_raw(subscription), ..urgent(0, Urgency::ALL[urgency]) };
        (id, Message { offers, ..Message::new(&entry, false, Place::Ready) })
    }

    proptest! {
        #[test]
        fn the_next_one_is_the_first_by_urgency_offers_and_age_of_those_that_the_subscriber_carries(
            parts in prop::collection::vec((1i64..4, 0usize..4, 0u8..3, any::<bool>()), 0..20),
            only in prop::option::of(1i64..4),
            floor in prop::option::of(0usize..4),
        ) {
            let scope = only.map_or(Scope::Agent, |n| Scope::Subscription(SubscriptionId::from_raw(n)));
            let subscriber = Subscriber::new(SubscriberId(1), SubscriberSpec { scope, floor: floor.map(|n| Urgency::ALL[n]), ..hold() });
            let all: Vec<_> = parts.iter().enumerate().map(|(n, parts)| (parts.3, message(n, parts))).collect();
            let mut ready = Ready::default();
            all.iter().for_each(|(_, (id, message))| ready.insert(*id, message));
            all.iter().filter(|(out, _)| *out).for_each(|(_, (id, message))| ready.remove(*id, message));

            let left = all.iter().filter(|(out, _)| !out).map(|(_, both)| both);
            let carried = left.filter(|(_, message)| subscriber.carries(message.subscription, message.urgency));
            let expected = carried.min_by_key(|(id, message)| rank(*id, message)).map(|(id, _)| *id);
            prop_assert_eq!(ready.next_for(&subscriber), expected);
        }
    }
}
