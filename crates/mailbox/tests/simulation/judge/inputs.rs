//! What each input makes true.

use doorbell_mailbox::{Entry, Input, RequestId, Retry, Scope, SubscriberId, SubscriberSpec};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;

use super::Judge;
use super::facts::{Fact, LinkFact, Offer, Over};
use crate::subject::RULES;

impl Judge {
    pub(crate) fn takes(&mut self, input: &Input) {
        self.transient_now = None;
        self.acked_now = None;
        self.not_passed_on_now = None;
        self.follow_life(input);
        match input {
            Input::Submit { request, entry, transient } => {
                self.facts.insert(entry.id, Fact::new(*entry, *transient));
                self.submitted.insert(*request, (entry.id, false));
                self.transient_now = transient.then_some(entry.id);
            }
            Input::Stored { request, replaced } => self.takes_stored(*request, *replaced),
            Input::NotStored { request } => {
                self.refused.insert(*request);
                self.counts.add("not stored");
            }
            Input::Connect { subscriber, spec } => self.takes_connect(*subscriber, *spec),
            Input::SetFloor { subscriber, floor } => {
                if let Some(subscriber) = self.subscribers.get_mut(subscriber) {
                    subscriber.spec.floor = *floor;
                }
            }
            Input::Disconnect { subscriber } => self.close(*subscriber),
            Input::Loaded { entries, more } => self.takes_page(entries, *more),
            Input::Ack { request, id, outcome } => self.takes_ack(*request, *id, *outcome),
            Input::NotPassedOn { request, id } => self.takes_not_passed_on(*request, *id),
            Input::Erased { id } => {
                if let Some(open) = self.erasing.get_mut(id) {
                    *open -= 1;
                }
                self.erasing.retain(|_, open| *open > 0);
            }
            Input::Declined { subscriber, id } => self.end_offer(*subscriber, *id, true),
            Input::Arrived { subscriber, id } => self.takes_arrival(*subscriber, *id),
            Input::Gone { subscriber, id } => self.end_offer(*subscriber, *id, false),
            Input::Unsubscribed { subscription } => {
                self.removed_subscriptions.insert(*subscription);
                self.remove(|entry| entry.subscription == *subscription);
                self.expect_closed(|scope| scope == Scope::Subscription(*subscription));
            }
            Input::AgentRemoved => {
                self.agent_removed = true;
                self.remove(|_| true);
                self.expect_closed(|_| true);
                self.counts.add("agent removed");
            }
            Input::Tick => {}
        }
    }

    fn takes_stored(&mut self, request: RequestId, replaced: Option<MessageId>) {
        let Some(&(id, _)) = self.submitted.get(&request) else { return };
        if let Some(older) = replaced {
            let held = self.is_held(older);
            if let Some(fact) = self.facts.get_mut(&older).filter(|fact| fact.over.is_none()) {
                fact.over = Some(Over::Replaced);
                self.counts.add(if held { "replaced on its way" } else { "replaced while waiting" });
            }
        }
        let Some(fact) = self.facts.get_mut(&id) else { return };
        fact.announced = true;
        fact.in_memory = !self.subscribers.is_empty() && fact.is_live(self.now);
        if self.subscribers.is_empty() {
            self.counts.add("stored without a subscriber");
        } else if self.loading.is_some() {
            self.counts.add("accepted during a load");
        }
    }

    fn takes_connect(&mut self, subscriber: SubscriberId, spec: SubscriberSpec) {
        if self.agent_removed {
            self.to_close.insert(subscriber);
            self.counts.add("connect after the agent was removed");
        }
        if self.subscribers.is_empty() {
            self.complete = false;
        }
        if !self.subscribers.values().any(|other| other.watches()) {
            self.away_since = self.elapsed;
            self.watched_since = self.elapsed;
        }
        self.subscribers.insert(subscriber, LinkFact::new(spec));
    }

    /// What the subscriber carried is undelivered again; without a subscriber memory is empty.
    pub(super) fn close(&mut self, subscriber: SubscriberId) {
        let Some(gone) = self.subscribers.remove(&subscriber) else { return };
        self.follow_closing(&gone);
        for (id, offer) in &gone.offers {
            let held = gone.holds(*id, self.elapsed);
            let Some(fact) = self.facts.get_mut(id) else { continue };
            fact.offers = 0;
            let waits = matches!(offer, Offer::Declined { until } | Offer::Second { until } if *until > self.elapsed);
            let is_kept = gone.keeps(fact.turns) && !matches!(offer, Offer::Second { .. });
            if fact.last == Some(subscriber) && (held || waits || is_kept) {
                fact.turns = 0;
            }
            if held && fact.over.is_none() {
                fact.again = Some("redelivered after a disconnect");
                if fact.transient {
                    self.counts.add("transient lost");
                }
            }
        }
        if self.subscribers.is_empty() {
            for fact in self.facts.values_mut() {
                fact.forget();
                fact.excused = false;
                fact.turns = 0;
            }
            self.loading = self.loading.map(|_| false);
        }
    }

    fn takes_page(&mut self, entries: &[Entry], more: bool) {
        let Some(of_use) = self.loading.take() else { return };
        if !of_use {
            self.counts.add("load: stale page");
            return;
        }
        if more {
            self.counts.add("load: another page");
        }
        self.complete = !more;
        for entry in entries {
            let storing = self.submitted.values().any(|(id, _)| *id == entry.id);
            let Some(fact) = self.facts.get_mut(&entry.id) else { continue };
            fact.entered |= fact.announced;
            if fact.over.is_some() {
                self.counts.add("load race: over");
            } else if storing {
                self.counts.add("load race: storing");
            } else if fact.in_memory {
                self.counts.add("load race: known");
            } else {
                fact.in_memory = fact.is_live(self.now) && !fact.excused;
            }
        }
    }

    fn takes_ack(&mut self, request: Option<RequestId>, id: MessageId, outcome: Outcome) {
        self.acked_now = Some((id, outcome));
        self.settling.extend(request.map(|request| (request, id)));
        let held = self.is_held(id);
        let storing = self.submitted.values().any(|(waiting, _)| *waiting == id);
        for subscriber in self.subscribers.values_mut() {
            if let Some(offer) = subscriber.offers.get_mut(&id) {
                *offer = Offer::Closed;
            }
        }
        let Some(fact) = self.facts.get_mut(&id) else { return };
        let parked = fact
            .last
            .and_then(|last| self.subscribers.get(&last))
            .is_some_and(|subscriber| subscriber.keeps(fact.turns));
        match fact.over {
            Some(Over::Replaced) if held => self.counts.add("ack of a replaced push"),
            None if storing => self.counts.add("ack during the commit"),
            None if !fact.in_memory && !held => self.counts.add("ack of an unknown message"),
            None if !held && parked => self.counts.add("ack of a parked message"),
            None if !held => self.counts.add("ack of a message that waits"),
            _ => {}
        }
        fact.over = fact.over.or(Some(Over::Acked));
    }

    fn takes_arrival(&mut self, subscriber: SubscriberId, id: MessageId) {
        let elapsed = self.elapsed;
        let transient = self.facts.get(&id).is_some_and(|fact| fact.transient);
        let Some(carrier) = self.subscribers.get_mut(&subscriber).filter(|subscriber| subscriber.holds(id, elapsed))
        else {
            return;
        };
        if carrier.spec.retry == Retry::NextSubscriber && !transient {
            carrier.offers.insert(id, Offer::Arrived);
            self.counts.add("arrived");
        }
    }

    fn end_offer(&mut self, subscriber: SubscriberId, id: MessageId, declined: bool) {
        let (elapsed, fact) = (self.elapsed, self.facts.get(&id));
        let Some(carrier) = self.subscribers.get_mut(&subscriber).filter(|subscriber| subscriber.holds(id, elapsed))
        else {
            return;
        };
        let doublings = fact.map_or(0, |fact| fact.turns.saturating_sub(1));
        let wait_ms = (RULES.decline_backoff_ms << doublings).min(RULES.ack_timeout_ms);
        let until = elapsed + u64::from(wait_ms);
        carrier.offers.insert(id, if declined { Offer::Declined { until } } else { Offer::Closed });
        self.counts.add(if declined { "declined" } else { "body gone" });
        let Some(fact) = self.facts.get_mut(&id) else { return };
        fact.in_memory &= declined;
        fact.excused |= !declined;
        fact.again = Some("redelivered after a refusal");
        if fact.transient && fact.over.is_none() {
            self.counts.add("transient lost");
        }
    }

    fn remove(&mut self, which: impl Fn(&Entry) -> bool) {
        let ids: Vec<MessageId> = self.facts.iter().filter(|(_, fact)| which(&fact.entry)).map(|(id, _)| *id).collect();
        for id in ids {
            let held = self.is_held(id);
            let storing = self.submitted.values().any(|(waiting, _)| *waiting == id);
            let Some(fact) = self.facts.get_mut(&id).filter(|fact| fact.over.is_none()) else { continue };
            fact.over = Some(Over::Removed);
            if held {
                self.counts.add("unsubscribed on its way");
            } else if storing {
                self.counts.add("unsubscribed while storing");
            }
        }
    }

    fn expect_closed(&mut self, which: impl Fn(Scope) -> bool) {
        let subscribers = self.subscribers.iter().filter(|(_, subscriber)| which(subscriber.spec.scope));
        self.to_close.extend(subscribers.map(|(id, _)| *id));
    }

    /// The store could not erase the message and has reported it: it may come again with a later page.
    pub(crate) fn not_erased(&mut self, id: MessageId) {
        if self.erasing.contains_key(&id) {
            return;
        }
        if let Some(fact) = self.facts.get_mut(&id).filter(|fact| fact.over == Some(Over::Acked)) {
            fact.over = None;
            fact.excused = true;
            self.leave(id);
            self.counts.add("erasure failed");
        }
    }
}
