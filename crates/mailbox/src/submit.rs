//! Messages come in: stored first and accepted then, or transient (RFC 8030 s5, s5.2, s5.4).

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::{Entry, RequestId};
use crate::mailbox::Mailbox;
use crate::message::{Message, Place};

impl Mailbox {
    /// Before the store has the message there is no acceptance and no push (PS-8030-5-2).
    pub(crate) fn submit(&mut self, request: RequestId, entry: &Entry, effects: &mut Vec<Effect>) {
        let other = self.storing.insert(request, entry.id);
        debug_assert_eq!(other, None, "the driver uses {request:?} once");
        debug_assert!(self.queue.get(entry.id).is_none(), "the driver mints {:?} once", entry.id);
        self.queue.insert(entry.id, Message::new(entry, false, Place::Storing));
        effects.push(Effect::Persist { request });
    }

    /// A message with TTL 0 goes out now or never (PS-8030-5.2-9).
    pub(crate) fn submit_transient(&mut self, request: RequestId, entry: &Entry, effects: &mut Vec<Effect>) {
        let message = Message::new(entry, true, Place::Ready);
        let mut newest_first = self.queue.subscribers().iter().rev();
        let subscriber = newest_first
            .find(|subscriber| subscriber.has_room() && subscriber.carries(message.subscription, message.urgency));
        match subscriber.map(|subscriber| subscriber.id) {
            Some(subscriber) => {
                self.queue.insert(entry.id, message);
                self.send(subscriber, entry.id, effects);
            }
            None => effects.push(Effect::Release { id: entry.id }),
        }
        effects.push(Effect::Accept { request });
    }

    /// The message is durable: it is accepted, and offered if the agent is there.
    pub(crate) fn stored(
        &mut self,
        request: RequestId,
        replaced: Option<MessageId>,
        now: UnixMs,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.storing.remove(&request) else { return };
        effects.push(Effect::Accept { request });
        if let Some(older) = replaced {
            self.withdraw(older, effects);
        }
        // It may have been settled, replaced or unsubscribed while the store was at work.
        let Some(message) = self.queue.get(id).filter(|message| message.place == Place::Storing) else { return };
        if self.queue.subscribers().is_empty() || message.is_expired(now) {
            self.forget(id, effects);
        } else {
            self.queue.change(id, |message| message.place = Place::Ready);
        }
    }

    pub(crate) fn not_stored(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        let Some(id) = self.storing.remove(&request) else { return };
        effects.push(Effect::Reject { request });
        if self.queue.get(id).is_some_and(|message| message.place == Place::Storing) {
            self.forget(id, effects);
        }
    }

    /// The store does not hold the message any more: it is not sent again. A push that is on its way keeps its place in
    /// the window, because the agent is still busy with it.
    pub(crate) fn withdraw(&mut self, id: MessageId, effects: &mut Vec<Effect>) {
        self.add_tombstone(id);
        match self.queue.get(id).map(|message| message.place) {
            Some(Place::Held { subscriber, until }) => {
                self.queue.change(id, |message| message.place = Place::Tombstone { subscriber, until });
                effects.push(Effect::Release { id });
            }
            Some(Place::Tombstone { .. }) | None => {}
            Some(_) => self.forget(id, effects),
        }
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::headers::urgency::Urgency;

    use crate::Effect;
    use crate::harness::*;

    #[test]
    fn nothing_is_accepted_or_sent_before_the_store_has_it_ps_8030_5_2() {
        let mut desk = Desk::with_subscriber(hold());
        assert_eq!(desk.submit(message(1)), [Effect::Persist { request: request(1) }]);
        assert_eq!(desk.stored(1), [accept(1), send(1, 1)]);
    }

    #[test]
    fn without_a_subscriber_a_stored_message_is_accepted_and_left_to_the_store_ps_8030_6_8() {
        let mut desk = Desk::new();
        desk.submit(message(1));
        assert!(!desk.mailbox.is_idle());
        assert_eq!(desk.stored(1), [accept(1), release(1)]);
        assert!(desk.mailbox.is_idle());
        assert_eq!(desk.mailbox.next_deadline(), None);
    }

    #[test]
    fn a_subscriber_that_comes_during_the_commit_gets_the_message() {
        let mut desk = Desk::new();
        desk.submit(message(1));
        desk.connect(1, hold());
        desk.page(&[]);
        assert_eq!(desk.stored(1), [accept(1), send(1, 1)]);
    }

    #[test]
    fn a_subscriber_that_comes_after_another_during_the_commit_gets_the_message() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        assert_eq!(desk.disconnect(1), []);
        desk.connect(2, hold());
        desk.page(&[]);
        assert_eq!(desk.stored(1), [accept(1), send(2, 1)]);
    }

    #[test]
    fn an_answer_of_the_store_that_comes_late_is_accepted_and_changes_nothing() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        desk.ack(1);
        desk.erased(1);
        desk.disconnect(1);
        desk.connect(2, hold());
        assert_eq!(desk.page(&[message(1)]), [send(2, 1)], "the store could not erase it");
        assert_eq!(desk.stored(1), [accept(1)]);
    }

    #[test]
    fn what_the_store_refuses_is_rejected_and_forgotten() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        let effects = desk.feed(crate::Input::NotStored { request: request(1) });
        assert_eq!(effects, [Effect::Reject { request: request(1) }, release(1)]);
        assert_eq!(desk.stored(1), []);
        assert_eq!(desk.mailbox.next_deadline(), None);
    }

    #[test]
    fn a_message_that_expires_during_the_commit_is_accepted_and_not_sent_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(expiring_in_ms(1, 1_000));
        desk.wait_ms(1_000);
        assert_eq!(desk.stored(1), [accept(1), release(1)]);
    }

    #[test]
    fn a_transient_message_goes_out_at_once_and_touches_no_store_ps_8030_5_2_9() {
        let mut desk = Desk::with_subscriber(hold());
        assert_eq!(desk.submit_transient(message(1)), [send(1, 1), accept(1)]);
        assert_eq!(desk.ack_with(9, 1), [release(1), Effect::Acked { request: request(9) }]);
    }

    #[test]
    fn a_transient_message_that_no_subscriber_can_take_now_is_dropped_ps_8030_5_2_9() {
        let dropped = [release(7), accept(7)];
        assert_eq!(Desk::new().submit_transient(message(7)), dropped);
        for unfit in [window(0, hold()), only(CHAT, hold()), from(Urgency::High, hold()), drain()] {
            let mut desk = Desk::with_subscriber(unfit);
            assert_eq!(desk.submit_transient(message(7)), dropped, "{unfit:?}");
            assert_eq!(sent(&desk.connect(2, hold())), []);
        }
    }

    #[test]
    fn a_transient_message_has_one_chance_ps_8030_5_2_9() {
        let ways: [fn(&mut Desk) -> Vec<Effect>; 3] =
            [|desk| desk.disconnect(1), |desk| desk.declined(1, 1), |desk| desk.wait_ms(ACK_TIMEOUT_MS)];
        for lose in ways {
            let mut desk = Desk::with_subscriber(hold());
            desk.connect(2, window(0, hold()));
            desk.submit_transient(message(1));
            assert_eq!(lose(&mut desk), [release(1)]);
            assert_eq!(sent(&desk.connect(3, hold())), []);
            assert_eq!(desk.wait_ms(TTL_MS), []);
        }
    }

    #[test]
    fn a_topic_replaces_the_message_that_waits_ps_8030_5_4_2() {
        let mut desk = Desk::with_subscriber(from(Urgency::High, hold()));
        desk.arrives(message(1));
        desk.submit(message(2));
        assert_eq!(desk.stored_instead_of(2, 1), [accept(2), release(1)]);
        assert_eq!(
            sent(&desk.feed(crate::Input::SetFloor { subscriber: crate::SubscriberId(1), floor: None })),
            [(1, 2)]
        );
    }

    #[test]
    fn a_replaced_push_on_its_way_keeps_its_place_and_never_goes_again_ps_8030_5_4_2() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.submit(message(2));
        assert_eq!(desk.stored_instead_of(2, 1), [accept(2), release(1)], "the window is full");
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 2)], "only the younger one");
        desk.disconnect(1);
        desk.connect(2, hold());
        assert_eq!(sent(&desk.page(&[message(2)])), [(2, 2)]);
    }

    #[test]
    fn a_late_ack_of_a_replaced_message_frees_its_place_and_is_answered_by_the_store_ps_8030_5_4_5() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.submit(message(2));
        desk.stored_instead_of(2, 1);
        assert_eq!(desk.ack_with(9, 1), [erase_for(9, 1), send(1, 2)]);

        desk.submit(message(3));
        desk.stored_instead_of(3, 2);
        assert_eq!(desk.ack(2), [send(1, 3)], "no request asks, and the store has removed it already");
    }

    #[test]
    fn a_message_replaced_during_its_own_commit_is_accepted_and_not_sent_ps_8030_5_4_8() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        desk.submit(message(2));
        assert_eq!(desk.stored_instead_of(2, 1), [accept(2), release(1), send(1, 2)]);
        assert_eq!(desk.stored(1), [accept(1)]);
    }
}
