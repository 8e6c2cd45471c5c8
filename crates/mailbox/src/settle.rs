//! Messages are acknowledged and leave the store (RFC 8030 s6.2).

use std::collections::BTreeMap;

use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;

use crate::effect::Effect;
use crate::input::{Entry, RequestId};
use crate::mailbox::Mailbox;

/// What is over and must not come back through a page that was read before the store knew.
#[derive(Debug, Default)]
// Boxed, because nearly always there is nothing.
pub(crate) struct Settled(Option<Box<Over>>);

#[derive(Debug, Default)]
struct Over {
    /// Messages, with the number of erasures that the store has not answered. At zero a page under way may still list
    /// the message.
    messages: BTreeMap<MessageId, u32>,
    /// Removed subscriptions that a page under way may still list messages of.
    subscriptions: Vec<SubscriptionId>,
}

impl Mailbox {
    /// From here on the message is never sent again, whatever the store still lists (PS-8030-6.2-6).
    pub(crate) fn ack(
        &mut self,
        request: Option<RequestId>,
        id: MessageId,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.queue.get(id).copied();
        self.forget(id, effects);
        if known.is_some_and(|message| message.transient) {
            effects.extend(request.map(|request| Effect::Acked { request }));
            return;
        }
        let over = known.is_some_and(|message| message.place.is_tombstone()) || self.settled.is_erasing(id);
        if over && request.is_none() {
            return;
        }
        // Also for a message that is not known: without a subscriber memory holds none, and the store has the last word.
        self.settled.erasing(id);
        effects.push(Effect::Erase { id, request, outcome });
    }

    pub(crate) fn erased(&mut self, id: MessageId) {
        self.settled.erased(id, self.load.is_under_way());
    }

    /// Remembers a message that the store does not hold any more, as long as a page under way may list it.
    pub(crate) fn add_tombstone(&mut self, id: MessageId) {
        if self.load.is_under_way() {
            self.settled.over().messages.entry(id).or_insert(0);
        }
    }

    /// The same for all messages of a subscription.
    pub(crate) fn add_subscription_tombstone(&mut self, subscription: SubscriptionId) {
        if self.load.is_under_way() {
            self.settled.over().subscriptions.push(subscription);
        }
    }
}

impl Settled {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|over| over.is_empty())
    }

    /// Whether an entry of a page is over already.
    pub(crate) fn lists(&self, entry: &Entry) -> bool {
        let lists =
            |over: &Over| over.messages.contains_key(&entry.id) || over.subscriptions.contains(&entry.subscription);
        self.0.as_deref().is_some_and(lists)
    }

    fn is_erasing(&self, id: MessageId) -> bool {
        self.0.as_ref().is_some_and(|over| over.messages.get(&id).is_some_and(|open| *open > 0))
    }

    fn erasing(&mut self, id: MessageId) {
        *self.over().messages.entry(id).or_insert(0) += 1;
    }

    fn erased(&mut self, id: MessageId, page_under_way: bool) {
        let Some(over) = &mut self.0 else { return };
        let Some(open) = over.messages.get_mut(&id) else { return };
        // An answer to an erasure that this mailbox did not ask for changes nothing.
        *open = open.saturating_sub(1);
        if *open == 0 && !page_under_way {
            over.messages.remove(&id);
        }
    }

    /// A page has come: the next one is read later than everything that the store has answered until now.
    pub(crate) fn page_came(&mut self) {
        if let Some(over) = &mut self.0 {
            over.messages.retain(|_, open| *open > 0);
            over.subscriptions.clear();
        }
    }

    /// Gives memory back when there is nothing to remember.
    pub(crate) fn rest(&mut self) {
        self.0.take_if(|over| over.is_empty());
    }

    /// The remembered messages, each with the number of erasures that the store has not answered.
    #[cfg(debug_assertions)]
    pub(crate) fn messages(&self) -> impl Iterator<Item = (MessageId, u32)> {
        self.0.iter().flat_map(|over| &over.messages).map(|(id, open)| (*id, *open))
    }

    /// Whether it remembers something only because a page under way may still list it.
    #[cfg(debug_assertions)]
    pub(crate) fn waits_for_page(&self) -> bool {
        self.0.as_ref().is_some_and(|over| !over.subscriptions.is_empty()) || self.messages().any(|(_, open)| open == 0)
    }

    fn over(&mut self) -> &mut Over {
        self.0.get_or_insert_default()
    }
}

impl Over {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.subscriptions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::*;

    #[test]
    fn an_ack_erases_the_message_and_frees_its_place_ps_8030_6_2_6() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        assert_eq!(desk.ack(1), [release(1), erase(1), send(1, 2)]);
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 2)]);
    }

    #[test]
    fn an_ack_without_a_subscriber_asks_the_store() {
        let mut desk = Desk::new();
        assert_eq!(desk.ack_with(9, 1), [erase_for(9, 1)]);
        assert!(!desk.mailbox.is_idle(), "a new mailbox would load the message again");
        desk.erased(1);
        assert!(desk.mailbox.is_idle());
    }

    #[test]
    fn a_second_ack_is_answered_by_the_store_too_ps_8030_6_2_6() {
        let mut desk = Desk::new();
        desk.ack_with(8, 1);
        assert_eq!(desk.ack(1), [], "nobody waits for an answer");
        assert_eq!(desk.ack_with(9, 1), [erase_for(9, 1)]);
        desk.erased(1);
        assert!(!desk.mailbox.is_idle(), "one erasure is still to be answered");
        desk.erased(1);
        assert!(desk.mailbox.is_idle());
    }

    #[test]
    fn an_ack_after_the_time_out_keeps_the_message_from_going_again_ps_8030_6_2_6() {
        let mut desk = Desk::with_subscriber(once());
        desk.arrives(message(1));
        desk.wait_ms(ACK_TIMEOUT_MS);
        assert_eq!(desk.ack(1), [release(1), erase(1)]);
        assert_eq!(desk.connect(2, hold()), []);
        assert_eq!(desk.disconnect(1), []);
    }

    #[test]
    fn an_ack_that_comes_with_the_time_out_wins() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        desk.now = desk.mailbox.next_deadline().unwrap();
        assert_eq!(desk.ack(1), [release(1), erase(1)]);
    }

    #[test]
    fn a_message_withdrawn_during_its_commit_is_accepted_and_not_sent() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        assert_eq!(desk.ack(1), [release(1), erase(1)]);
        assert_eq!(desk.stored(1), [accept(1)]);
        desk.disconnect(1);
        desk.connect(2, hold());
        assert_eq!(desk.page(&[message(1)]), []);
    }
}
