//! What becomes of a message that the agent did not pass on: one more offer, under its second version.

use doorbell_mailbox::RequestId;
use doorbell_protocol::id::MessageId;

use super::facts::{Offer, Over};
use super::{Judge, Violation, broken};
use crate::subject::RULES;

/// How long a second offer waits.
const WAIT_MS: u64 = 5_000;

pub(crate) const SECOND: &str = "what was not passed on goes again under its second version, and nothing else does";

impl Judge {
    pub(super) fn takes_not_passed_on(&mut self, request: Option<RequestId>, id: MessageId) {
        self.settling.extend(request.map(|request| (request, id)));
        let Some(fact) = self.facts.get(&id) else {
            self.not_passed_on_now = Some((id, false));
            return;
        };
        let last = fact.last.and_then(|last| self.subscribers.get(&last));
        let is_bound = last.is_some_and(|carrier| match carrier.offers.get(&id) {
            Some(Offer::Open { .. }) => carrier.holds(id, self.elapsed) || carrier.keeps(fact.turns),
            Some(Offer::Declined { .. }) => carrier.keeps(fact.turns),
            Some(Offer::Arrived) => true,
            Some(Offer::Second { .. } | Offer::Closed) | None => false,
        });
        let is_over = fact.over.is_some();
        let is_second = fact.second == Some(true);
        let has_ended = fact.transient || fact.entry.expires_at <= self.now || (fact.sent > 1 && !is_second);
        let may_end = !is_over && has_ended;
        let is_known = is_bound || fact.in_memory;
        let goes_again = !is_over && !may_end && is_known && !is_second;
        // Whether memory has it, or whether it has expired there.
        let unsure = fact.excused && !is_bound;
        self.not_passed_on_now = Some((id, may_end));
        if is_over || fact.transient {
            self.close_offers(id);
        }
        let until = self.elapsed + WAIT_MS.min(u64::from(RULES.ack_timeout_ms));
        let Some(fact) = self.facts.get_mut(&id) else { return };
        if fact.transient {
            fact.over = fact.over.or(Some(Over::Acked));
        }
        if unsure {
            fact.second = None;
        } else if goes_again {
            fact.second = Some(true);
        }
        if goes_again && is_bound {
            fact.offers = 1;
            fact.turns = 1;
            let carrier = fact.last.and_then(|last| self.subscribers.get_mut(&last));
            carrier.expect("it carries the message").offers.insert(id, Offer::Second { until });
        }
        self.counts.add(match (is_over, may_end) {
            (true, _) => "not passed on: over",
            (_, true) => "not passed on: end",
            _ => "not passed on: again",
        });
    }

    /// Whether the report of this very event may end the message.
    pub(super) fn is_refused_now(&self, id: MessageId) -> bool {
        self.not_passed_on_now == Some((id, true))
    }

    pub(super) fn takes_refusal(&mut self, id: MessageId) {
        *self.erasing.entry(id).or_insert(0) += 1;
        self.close_offers(id);
        if let Some(fact) = self.facts.get_mut(&id) {
            fact.over = fact.over.or(Some(Over::Acked));
        }
    }

    pub(super) fn sees_version(&mut self, id: MessageId, second: bool) -> Result<(), Violation> {
        let known = self.facts.get(&id).and_then(|fact| fact.second);
        if known.is_some_and(|known| known != second) {
            return broken(SECOND, (id, second));
        }
        if second {
            self.counts.add("offered again");
        }
        Ok(())
    }

    fn close_offers(&mut self, id: MessageId) {
        for subscriber in self.subscribers.values_mut() {
            if let Some(offer) = subscriber.offers.get_mut(&id) {
                *offer = Offer::Closed;
            }
        }
    }
}
