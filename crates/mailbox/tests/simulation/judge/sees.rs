//! What each effect must satisfy at the moment it comes out.

use std::cmp::Reverse;

use doorbell_mailbox::{CloseReason, Effect, LinkId, Mode, Scope, Ticket};
use doorbell_protocol::id::MessageId;

use super::facts::{Fact, Offer, Over};
use super::{Judge, Violation, broken};
use crate::store::Store;
use crate::subject::RULES;

impl Judge {
    pub(crate) fn sees(&mut self, effect: &Effect, store: &Store) -> Result<(), Violation> {
        match *effect {
            Effect::Persist { ticket } => self.sees_persist(ticket),
            Effect::Accept { ticket } => self.sees_accept(ticket, store),
            Effect::Reject { ticket } => match self.submitted.remove(&ticket) {
                Some(_) if self.refused.remove(&ticket) => Ok(()),
                _ => broken("each request is answered once, as the store decides", effect),
            },
            Effect::Load { .. } if self.loading.is_some() || self.links.is_empty() => {
                broken("one load at a time", effect)
            }
            Effect::Load { .. } => {
                self.loading = Some(true);
                Ok(())
            }
            Effect::Send { link, id } => self.sees_send(link, id),
            Effect::Drained { link } => self.sees_drained(link, store),
            Effect::Close { link, why } => self.sees_close(link, why),
            Effect::Erase { id, outcome, .. } if self.acked_now != Some((id, outcome)) => {
                broken("only the acknowledged is erased, with its outcome", (id, outcome))
            }
            Effect::Erase { id, ticket, .. } => {
                *self.erasing.entry(id).or_insert(0) += 1;
                self.settled(ticket, id)
            }
            Effect::Acked { ticket } => match self.settling.get(&ticket).copied() {
                Some(id) if self.facts.get(&id).is_some_and(|fact| fact.transient) => self.settled(Some(ticket), id),
                _ => broken("only a transient message is settled without the store", effect),
            },
            Effect::Release { id } => self.sees_release(id),
        }
    }

    fn sees_persist(&mut self, ticket: Ticket) -> Result<(), Violation> {
        match self.submitted.get_mut(&ticket) {
            Some((id, asked)) if !*asked && self.transient_now != Some(*id) => {
                *asked = true;
                Ok(())
            }
            _ => broken("a message is stored once, a transient one never", ticket),
        }
    }

    fn sees_accept(&mut self, ticket: Ticket, store: &Store) -> Result<(), Violation> {
        let Some((id, _)) = self.submitted.remove(&ticket) else {
            return broken("each request is answered once, as the store decides", ticket);
        };
        let Some(fact) = self.facts.get(&id) else { return Ok(()) };
        let durable = store.rows.contains_key(&id) || fact.announced;
        if fact.transient || durable { Ok(()) } else { broken("accepted means durable", id) }
    }

    fn settled(&mut self, ticket: Option<Ticket>, id: MessageId) -> Result<(), Violation> {
        match ticket {
            Some(ticket) if self.settling.remove(&ticket) != Some(id) => broken("each DELETE is answered once", ticket),
            _ => Ok(()),
        }
    }

    fn sees_release(&mut self, id: MessageId) -> Result<(), Violation> {
        let held = self.is_held(id);
        let Some(fact) = self.facts.get_mut(&id).filter(|fact| fact.entered) else {
            return broken("a message is released once", id);
        };
        fact.entered = false;
        fact.owed = false;
        if self.transient_now == Some(id) {
            self.counts.add("transient dropped");
        } else if fact.in_memory && fact.over.is_none() && fact.entry.expires_at <= self.now {
            let on_its_way = held || fact.last.is_some();
            self.counts.add(if on_its_way { "expired on its way" } else { "expired while waiting" });
        }
        fact.in_memory = false;
        Ok(())
    }

    fn sees_send(&mut self, link_id: LinkId, id: MessageId) -> Result<(), Violation> {
        self.may_go(id)?;
        self.may_go_on(link_id, id)?;
        self.goes_in_order(link_id, id)?;
        let elapsed = self.elapsed;
        let (Some(link), Some(fact)) = (self.links.get_mut(&link_id), self.facts.get_mut(&id)) else { return Ok(()) };
        if matches!(link.offers.get(&id), Some(Offer::Open { .. })) {
            fact.again = Some("redelivered after a time-out");
        }
        if let Some(again) = fact.again.take() {
            self.counts.add(again);
        }
        if fact.transient {
            self.counts.add("transient sent");
        }
        link.offers.insert(id, Offer::Open { at: elapsed });
        fact.offers += 1;
        fact.turns += 1;
        fact.last = Some(link_id);
        if fact.offers > RULES.offers_max {
            return broken("offers are bounded", (link_id, id));
        }
        if link.keeps(fact.turns) {
            self.counts.add("parked");
        }
        Ok(())
    }

    fn may_go(&self, id: MessageId) -> Result<(), Violation> {
        let Some(fact) = self.facts.get(&id) else { return broken("only known messages are sent", id) };
        match fact.over {
            Some(Over::Acked) => return broken("nothing acknowledged is sent again", id),
            Some(Over::Replaced) => return broken("nothing replaced is sent", id),
            Some(Over::Removed) => return broken("nothing of a removed subscription is sent", id),
            None => {}
        }
        if fact.transient {
            let now = self.transient_now == Some(id);
            return if now { Ok(()) } else { broken("a transient message goes at once or never", id) };
        }
        if fact.entry.expires_at <= self.now {
            return broken("nothing expired is sent", id);
        }
        if !fact.announced {
            return broken("nothing is sent before it is durable", id);
        }
        if fact.entered { Ok(()) } else { broken("nothing released is sent", id) }
    }

    fn may_go_on(&self, link_id: LinkId, id: MessageId) -> Result<(), Violation> {
        let (Some(link), Some(fact)) = (self.links.get(&link_id), self.facts.get(&id)) else {
            return broken("only open links carry", link_id);
        };
        if !link.carries(&fact.entry) {
            return broken("floor and scope are kept", (link_id, id));
        }
        if link.drained {
            return broken("nothing follows the end of a drain", (link_id, id));
        }
        if self.is_held(id) {
            return broken("one link at a time holds a message", (link_id, id));
        }
        if link.unacked(self.elapsed) >= usize::from(link.spec.window) {
            return broken("the window is kept", (link_id, id));
        }
        match link.offers.get(&id) {
            Some(Offer::Closed) => broken("what is closed stays closed", (link_id, id)),
            Some(_) if link.keeps(0) => broken("a link without retries gets a message once", (link_id, id)),
            Some(Offer::Declined { until }) if self.elapsed < *until && !self.clock_steps_back => {
                broken("a refused push waits", (link_id, id))
            }
            _ => Ok(()),
        }
    }

    /// Urgency first, then fewest offers, then age.
    fn goes_in_order(&self, link_id: LinkId, id: MessageId) -> Result<(), Violation> {
        let (Some(link), Some(fact)) = (self.links.get(&link_id), self.facts.get(&id)) else { return Ok(()) };
        let rank = |id: MessageId, fact: &Fact| (Reverse(fact.entry.urgency), fact.turns, id);
        let before = |(other, waiting): &(&MessageId, &Fact)| {
            rank(**other, waiting) < rank(id, fact) && link.carries(&waiting.entry) && self.is_ready(**other, waiting)
        };
        match self.facts.iter().find(before) {
            Some((other, _)) if !fact.transient && !self.clock_steps_back => {
                broken("urgency first, then age", (link_id, id, other))
            }
            _ => Ok(()),
        }
    }

    fn sees_drained(&mut self, link_id: LinkId, store: &Store) -> Result<(), Violation> {
        let Some(link) = self.links.get_mut(&link_id) else { return broken("only open links drain", link_id) };
        if link.spec.mode != Mode::Drain || std::mem::replace(&mut link.drained, true) {
            return broken("a drain ends once", link_id);
        }
        let link = &self.links[&link_id];
        self.counts.add(if link.offers.is_empty() { "drained without sending" } else { "drained after sending" });
        if link.spec.window == 0 {
            return Ok(());
        }
        let offered = |id: &MessageId| self.links.values().any(|link| link.offers.contains_key(id));
        let unoffered = self.facts.iter().find(|(id, fact)| {
            let due =
                fact.announced && fact.is_live(self.now) && store.rows.contains_key(id) && link.carries(&fact.entry);
            due && !fact.excused && !offered(id)
        });
        match unoffered {
            Some((id, _)) if !self.clock_steps_back => broken("a drain offers everything first", (link_id, id)),
            _ if !self.complete => broken("a drain waits for the load", link_id),
            _ => Ok(()),
        }
    }

    fn sees_close(&mut self, link: LinkId, why: CloseReason) -> Result<(), Violation> {
        let scope = self.links.get(&link).map(|link| link.spec.scope);
        let right = match (why, scope) {
            (CloseReason::AgentGone, _) => self.agent_removed,
            (CloseReason::SubscriptionGone, Some(Scope::Subscription(of))) => self.removed_subscriptions.contains(&of),
            (CloseReason::SubscriptionGone, _) => false,
        };
        if !right || !self.to_close.remove(&link) {
            return broken("a link is closed for a reason", link);
        }
        self.close(link);
        Ok(())
    }
}
