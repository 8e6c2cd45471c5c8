//! What each effect must satisfy at the moment it comes out.

use std::cmp::Reverse;

use doorbell_mailbox::{CloseReason, Effect, Mode, RequestId, Scope, SubscriberId};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;

use super::facts::{Fact, Offer, Over};
use super::{Judge, Violation, broken};
use crate::store::Store;
use crate::subject::RULES;

impl Judge {
    pub(crate) fn sees(&mut self, effect: &Effect, store: &Store) -> Result<(), Violation> {
        match *effect {
            Effect::Persist { request } => self.sees_persist(request),
            Effect::Accept { request } => self.sees_accept(request, store),
            Effect::Reject { request } => match self.submitted.remove(&request) {
                Some(_) if self.refused.remove(&request) => Ok(()),
                _ => broken("each request is answered once, as the store decides", effect),
            },
            Effect::Load { .. } if self.loading.is_some() || self.subscribers.is_empty() => {
                broken("one load at a time", effect)
            }
            Effect::Load { .. } => {
                self.loading = Some(true);
                Ok(())
            }
            Effect::Send { subscriber, id, second } => {
                self.sees_version(id, second)?;
                self.sees_send(subscriber, id)
            }
            Effect::Waiting { .. } => self.sees_waiting(effect),
            Effect::Quiet { subscriber } => self.sees_quiet(subscriber),
            Effect::Drained { subscriber } => self.sees_drained(subscriber, store),
            Effect::Close { subscriber, why } => self.sees_close(subscriber, why),
            Effect::Erase { id, request, outcome: Outcome::Refused } if self.is_refused_now(id) => {
                self.takes_refusal(id);
                self.settled(request, id)
            }
            Effect::Erase { id, outcome, .. } if self.acked_now != Some((id, outcome)) => {
                broken("only the acknowledged is erased, with its outcome", (id, outcome))
            }
            Effect::Erase { id, request, .. } => {
                *self.erasing.entry(id).or_insert(0) += 1;
                self.settled(request, id)
            }
            Effect::Acked { request } if self.not_passed_on_now.is_some() => {
                let id = self.settling.get(&request).copied();
                id.map_or(Ok(()), |id| self.settled(Some(request), id))
            }
            Effect::Acked { request } => match self.settling.get(&request).copied() {
                Some(id) if self.facts.get(&id).is_some_and(|fact| fact.transient) => self.settled(Some(request), id),
                _ => broken("only a transient message is settled without the store", effect),
            },
            Effect::Release { id } => self.sees_release(id),
        }
    }

    fn sees_persist(&mut self, request: RequestId) -> Result<(), Violation> {
        match self.submitted.get_mut(&request) {
            Some((id, asked)) if !*asked && self.transient_now != Some(*id) => {
                *asked = true;
                Ok(())
            }
            _ => broken("a message is stored once, a transient one never", request),
        }
    }

    fn sees_accept(&mut self, request: RequestId, store: &Store) -> Result<(), Violation> {
        let Some((id, _)) = self.submitted.remove(&request) else {
            return broken("each request is answered once, as the store decides", request);
        };
        let Some(fact) = self.facts.get(&id) else { return Ok(()) };
        let durable = store.rows.contains_key(&id) || fact.announced;
        if fact.transient || durable { Ok(()) } else { broken("accepted means durable", id) }
    }

    fn settled(&mut self, request: Option<RequestId>, id: MessageId) -> Result<(), Violation> {
        match request {
            Some(request) if self.settling.remove(&request) != Some(id) => {
                broken("each DELETE is answered once", request)
            }
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
        fact.forget();
        Ok(())
    }

    fn sees_send(&mut self, subscriber_id: SubscriberId, id: MessageId) -> Result<(), Violation> {
        self.may_go(id)?;
        self.may_go_on(subscriber_id, id)?;
        self.goes_in_order(subscriber_id, id)?;
        let elapsed = self.elapsed;
        let (Some(subscriber), Some(fact)) = (self.subscribers.get_mut(&subscriber_id), self.facts.get_mut(&id)) else {
            return Ok(());
        };
        if matches!(subscriber.offers.get(&id), Some(Offer::Open { .. })) {
            fact.again = Some("redelivered after a time-out");
        }
        if let Some(again) = fact.again.take() {
            self.counts.add(again);
        }
        if fact.transient {
            self.counts.add("transient sent");
        }
        subscriber.offers.insert(id, Offer::Open { at: elapsed });
        fact.offers += 1;
        fact.turns += 1;
        fact.sent = fact.sent.saturating_add(1);
        fact.last = Some(subscriber_id);
        if fact.offers > RULES.offers_max {
            return broken("offers are bounded", (subscriber_id, id));
        }
        if subscriber.keeps(fact.turns) {
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

    fn may_go_on(&self, subscriber_id: SubscriberId, id: MessageId) -> Result<(), Violation> {
        if self.subscribers.get(&subscriber_id).is_some_and(|subscriber| subscriber.watches()) {
            return broken("a watcher is sent nothing", (subscriber_id, id));
        }
        let (Some(subscriber), Some(fact)) = (self.subscribers.get(&subscriber_id), self.facts.get(&id)) else {
            return broken("only open subscribers carry", subscriber_id);
        };
        if !subscriber.carries(&fact.entry) {
            return broken("floor and scope are kept", (subscriber_id, id));
        }
        if subscriber.drained {
            return broken("nothing follows the end of a drain", (subscriber_id, id));
        }
        if self.is_held(id) {
            return broken("one subscriber at a time holds a message", (subscriber_id, id));
        }
        if subscriber.unacked(self.elapsed) >= usize::from(subscriber.spec.window) {
            return broken("the window is kept", (subscriber_id, id));
        }
        match subscriber.offers.get(&id) {
            Some(Offer::Closed) => broken("what is closed stays closed", (subscriber_id, id)),
            Some(Offer::Second { until }) if self.elapsed < *until => {
                broken("a second offer waits", (subscriber_id, id))
            }
            Some(Offer::Second { .. }) => Ok(()),
            Some(_) if subscriber.keeps(0) => {
                broken("a subscriber without retries gets a message once", (subscriber_id, id))
            }
            Some(Offer::Declined { until }) if self.elapsed < *until => {
                broken("a refused push waits", (subscriber_id, id))
            }
            _ => Ok(()),
        }
    }

    /// Urgency first, then fewest offers, then age.
    fn goes_in_order(&self, subscriber_id: SubscriberId, id: MessageId) -> Result<(), Violation> {
        let (Some(subscriber), Some(fact)) = (self.subscribers.get(&subscriber_id), self.facts.get(&id)) else {
            return Ok(());
        };
        let rank = |id: MessageId, fact: &Fact| (Reverse(fact.entry.urgency), fact.turns, id);
        let before = |(other, waiting): &(&MessageId, &Fact)| {
            rank(**other, waiting) < rank(id, fact)
                && subscriber.carries(&waiting.entry)
                && self.is_ready(**other, waiting)
        };
        match self.facts.iter().find(before) {
            Some((other, _)) if !fact.transient => broken("urgency first, then age", (subscriber_id, id, other)),
            _ => Ok(()),
        }
    }

    fn sees_drained(&mut self, subscriber_id: SubscriberId, store: &Store) -> Result<(), Violation> {
        let Some(subscriber) = self.subscribers.get_mut(&subscriber_id) else {
            return broken("only open subscribers drain", subscriber_id);
        };
        if subscriber.spec.mode != Mode::Drain || std::mem::replace(&mut subscriber.drained, true) {
            return broken("a drain ends once", subscriber_id);
        }
        let subscriber = &self.subscribers[&subscriber_id];
        self.counts.add(if subscriber.offers.is_empty() { "drained without sending" } else { "drained after sending" });
        if subscriber.spec.window == 0 {
            return Ok(());
        }
        let offered = |id: &MessageId| self.subscribers.values().any(|subscriber| subscriber.offers.contains_key(id));
        let unoffered = self.facts.iter().find(|(id, fact)| {
            let due = fact.announced
                && fact.is_live(self.now)
                && store.rows.contains_key(id)
                && subscriber.carries(&fact.entry);
            due && !fact.excused && !offered(id)
        });
        match unoffered {
            Some((id, _)) => broken("a drain offers everything first", (subscriber_id, id)),
            _ if !self.complete => broken("a drain waits for the load", subscriber_id),
            _ => Ok(()),
        }
    }

    fn sees_close(&mut self, subscriber: SubscriberId, why: CloseReason) -> Result<(), Violation> {
        let scope = self.subscribers.get(&subscriber).map(|subscriber| subscriber.spec.scope);
        let right = match (why, scope) {
            (CloseReason::AgentGone, _) => self.agent_removed,
            (CloseReason::SubscriptionGone, Some(Scope::Subscription(of))) => self.removed_subscriptions.contains(&of),
            (CloseReason::SubscriptionGone, _) => false,
        };
        if !right || !self.to_close.remove(&subscriber) {
            return broken("a subscriber is closed for a reason", subscriber);
        }
        self.close(subscriber);
        Ok(())
    }
}
