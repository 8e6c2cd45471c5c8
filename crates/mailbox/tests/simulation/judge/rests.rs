//! What must hold after each event: nothing due is left, and nothing that could move stands still.

use doorbell_protocol::id::MessageId;

use super::{Judge, Violation, broken};
use crate::subject::Subject;

impl Judge {
    pub(crate) fn rests(&mut self, subject: &Subject) -> Result<(), Violation> {
        if let Some(at) = subject.next_deadline().filter(|at| *at <= self.now) {
            return broken("nothing due is left", at);
        }
        if subject.is_idle() != self.nothing_under_way() {
            return broken("idle means nothing under way", (subject.is_idle(), &self.loading, &self.erasing));
        }
        if let Some((request, _)) = self.settling.first_key_value() {
            return broken("each DELETE is answered once", request);
        }
        if let Some(subscriber) = self.to_close.first() {
            return broken("a removed subscription ends its subscribers", subscriber);
        }
        self.count_held_back();
        self.watchers_know()?;
        match self.stands_still() {
            Some(id) => broken("what can go goes", id),
            _ => Ok(()),
        }
    }

    /// A message that a subscriber with room would carry.
    fn stands_still(&self) -> Option<MessageId> {
        let with_room: Vec<_> =
            self.subscribers.values().filter(|subscriber| subscriber.has_room(self.elapsed)).collect();
        if with_room.is_empty() {
            return None;
        }
        let ready = self.facts.iter().filter(|(id, fact)| self.is_ready(**id, fact));
        ready
            .map(|(id, fact)| (*id, &fact.entry))
            .find(|(_, e)| with_room.iter().any(|l| l.carries(e)))
            .map(|(id, _)| id)
    }

    fn count_held_back(&mut self) {
        let below = |fact: &super::Fact| {
            let floored =
                |subscriber: &super::LinkFact| subscriber.spec.floor.is_some_and(|floor| fact.entry.urgency < floor);
            !self.subscribers.is_empty() && self.subscribers.values().all(floored)
        };
        let held_back: Vec<MessageId> = (self.facts.iter())
            .filter(|(id, fact)| fact.again.is_none() && self.is_ready(**id, fact) && below(fact))
            .map(|(id, _)| *id)
            .collect();
        for id in held_back {
            self.counts.add("floor held back");
            if let Some(fact) = self.facts.get_mut(&id) {
                fact.again = Some("floor let go");
            }
        }
    }

    /// At the very end, without a subscriber: every body that the driver may have cached has been released.
    pub(crate) fn ends(&self) -> Result<(), Violation> {
        match self.facts.iter().find(|(_, fact)| fact.owed) {
            Some((id, _)) => broken("every message is released", id),
            None => Ok(()),
        }
    }
}
