//! What each input makes true.

use doorbell_mailbox::{Entry, Input, LinkId, LinkSpec, Retry, Scope, Ticket};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;

use super::Judge;
use super::facts::{Fact, LinkFact, Offer, Over};
use crate::subject::RULES;

impl Judge {
    pub(crate) fn takes(&mut self, input: &Input) {
        self.transient_now = None;
        self.acked_now = None;
        match input {
            Input::Submit { ticket, entry, transient } => {
                self.facts.insert(entry.id, Fact::new(*entry, *transient));
                self.submitted.insert(*ticket, (entry.id, false));
                self.transient_now = transient.then_some(entry.id);
            }
            Input::Stored { ticket, replaced } => self.takes_stored(*ticket, *replaced),
            Input::NotStored { ticket } => {
                self.refused.insert(*ticket);
                self.counts.add("not stored");
            }
            Input::Connect { link, spec } => self.takes_connect(*link, *spec),
            Input::SetFloor { link, floor } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.spec.floor = *floor;
                }
            }
            Input::Disconnect { link } => self.close(*link),
            Input::Loaded { entries, more } => self.takes_page(entries, *more),
            Input::Ack { ticket, id, outcome } => self.takes_ack(*ticket, *id, *outcome),
            Input::Erased { id } => {
                if let Some(open) = self.erasing.get_mut(id) {
                    *open -= 1;
                }
                self.erasing.retain(|_, open| *open > 0);
            }
            Input::Declined { link, id } => self.end_offer(*link, *id, true),
            Input::Arrived { link, id } => self.takes_arrival(*link, *id),
            Input::Gone { link, id } => self.end_offer(*link, *id, false),
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

    fn takes_stored(&mut self, ticket: Ticket, replaced: Option<MessageId>) {
        let Some(&(id, _)) = self.submitted.get(&ticket) else { return };
        if let Some(older) = replaced {
            let held = self.is_held(older);
            if let Some(fact) = self.facts.get_mut(&older).filter(|fact| fact.over.is_none()) {
                fact.over = Some(Over::Replaced);
                self.counts.add(if held { "replaced on its way" } else { "replaced while waiting" });
            }
        }
        let Some(fact) = self.facts.get_mut(&id) else { return };
        fact.announced = true;
        fact.in_memory = !self.links.is_empty() && fact.is_live(self.now);
        if self.links.is_empty() {
            self.counts.add("stored without a link");
        } else if self.loading.is_some() {
            self.counts.add("accepted during a load");
        }
    }

    fn takes_connect(&mut self, link: LinkId, spec: LinkSpec) {
        if self.agent_removed {
            self.to_close.insert(link);
            self.counts.add("connect after the agent was removed");
        }
        if self.links.is_empty() {
            self.complete = false;
        }
        self.links.insert(link, LinkFact::new(spec));
    }

    /// What the link carried is undelivered again; without a link memory is empty.
    pub(super) fn close(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else { return };
        for (id, offer) in &gone.offers {
            let held = gone.holds(*id, self.elapsed);
            let Some(fact) = self.facts.get_mut(id) else { continue };
            fact.offers = 0;
            let waits = matches!(offer, Offer::Declined { until } if *until > self.elapsed);
            if fact.last == Some(link) && (held || waits || gone.keeps(fact.turns)) {
                fact.turns = 0;
            }
            if held && fact.over.is_none() {
                fact.again = Some("redelivered after a disconnect");
                if fact.transient {
                    self.counts.add("transient lost");
                }
            }
        }
        if self.links.is_empty() {
            for fact in self.facts.values_mut() {
                fact.in_memory = false;
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
            if self.clock_steps_back && self.facts.get(&entry.id).is_some_and(|fact| !fact.entered) {
                // It had expired, and it has not now.
                self.leave(entry.id);
            }
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

    fn takes_ack(&mut self, ticket: Option<Ticket>, id: MessageId, outcome: Outcome) {
        self.acked_now = Some((id, outcome));
        self.settling.extend(ticket.map(|ticket| (ticket, id)));
        let held = self.is_held(id);
        let storing = self.submitted.values().any(|(waiting, _)| *waiting == id);
        for link in self.links.values_mut() {
            if let Some(offer) = link.offers.get_mut(&id) {
                *offer = Offer::Closed;
            }
        }
        let Some(fact) = self.facts.get_mut(&id) else { return };
        let parked = fact.last.and_then(|last| self.links.get(&last)).is_some_and(|link| link.keeps(fact.turns));
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

    fn takes_arrival(&mut self, link: LinkId, id: MessageId) {
        let elapsed = self.elapsed;
        let transient = self.facts.get(&id).is_some_and(|fact| fact.transient);
        let Some(carrier) = self.links.get_mut(&link).filter(|link| link.holds(id, elapsed)) else { return };
        if carrier.spec.retry == Retry::NextLink && !transient {
            carrier.offers.insert(id, Offer::Arrived);
            self.counts.add("arrived");
        }
    }

    fn end_offer(&mut self, link: LinkId, id: MessageId, declined: bool) {
        let (elapsed, fact) = (self.elapsed, self.facts.get(&id));
        let Some(carrier) = self.links.get_mut(&link).filter(|link| link.holds(id, elapsed)) else { return };
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
        let links = self.links.iter().filter(|(_, link)| which(link.spec.scope));
        self.to_close.extend(links.map(|(id, _)| *id));
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
