//! A push did not happen: the agent refused it, or there is nothing left to push (PS-8030-6-11).

use std::time::Duration;

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::SubscriberId;
use crate::mailbox::Mailbox;
use crate::message::Place;

impl Mailbox {
    /// Offers the message again later; at once, it would be refused again.
    pub(crate) fn declined(&mut self, subscriber: SubscriberId, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let Some(message) = self.queue.get(id).filter(|message| message.place.occupies() == Some(subscriber)).copied()
        else {
            return;
        };
        if message.transient || message.place.is_tombstone() || message.is_expired(now) {
            self.forget(id, effects);
            return;
        }
        let place = match self.place_after(&message, subscriber) {
            Place::Ready => Place::Delayed { subscriber, until: self.latest.plus(self.backoff(message.offers)) },
            parked => parked,
        };
        self.queue.change(id, |message| message.place = place);
    }

    /// Another request, or the sweep, has removed the message from the store; an input about it may follow.
    pub(crate) fn gone(&mut self, subscriber: SubscriberId, id: MessageId, effects: &mut Vec<Effect>) {
        if self.queue.get(id).is_some_and(|message| message.place.occupies() == Some(subscriber)) {
            self.add_tombstone(id);
            self.forget(id, effects);
        }
    }

    fn backoff(&self, offers: u8) -> Duration {
        let doublings = u32::from(offers).saturating_sub(1).min(16);
        let ms = u64::from(self.rules.decline_backoff_ms) << doublings;
        Duration::from_millis(ms.min(u64::from(self.rules.ack_timeout_ms)))
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::*;
    use crate::{Input, Rules, SubscriberId};

    #[test]
    fn a_refused_push_waits_while_the_others_flow_ps_8030_6_11() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        assert_eq!(desk.declined(1, 1), [send(1, 2)]);
        desk.ack(2);
        assert_eq!(desk.wait_ms(999), []);
        assert_eq!(desk.wait_ms(1), [send(1, 1)]);
    }

    #[test]
    fn the_wait_doubles_until_the_offers_are_used_up_then_the_next_subscriber_gets_it_ps_8030_6_11() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        for backoff_ms in [1_000, 2_000, 4_000, 8_000] {
            assert_eq!(desk.declined(1, 1), []);
            assert_eq!(desk.wait_ms(backoff_ms - 1), []);
            assert_eq!(desk.wait_ms(1), [send(1, 1)]);
        }
        desk.declined(1, 1);
        desk.connect(2, hold());
        assert_eq!(desk.wait_ms(TTL_MS / 2), []);
        assert_eq!(desk.disconnect(1), [send(2, 1)]);
    }

    #[test]
    fn a_subscriber_without_retries_that_refuses_leaves_the_message_to_the_next() {
        let mut desk = Desk::with_subscriber(once());
        desk.arrives(message(1));
        assert_eq!(desk.declined(1, 1), []);
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), []);
        desk.disconnect(1);
        desk.connect(2, once());
        assert_eq!(desk.page(&[message(1)]), [send(2, 1)]);
    }

    #[test]
    fn the_wait_is_never_longer_than_the_time_out() {
        let mut desk = Desk::with_rules(Rules { offers_max: 20, ..Rules::default() });
        desk.connect(1, hold());
        desk.page(&[message(1)]);
        for _ in 0..19 {
            desk.declined(1, 1);
            assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 1)]);
        }
    }

    #[test]
    fn a_refused_push_that_was_replaced_is_over_ps_8030_5_4_2() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.submit(message(2));
        desk.stored_instead_of(2, 1);
        assert_eq!(desk.declined(1, 1), [send(1, 2)]);
    }

    #[test]
    fn a_refused_push_does_not_wait_when_the_subscriber_that_refused_it_closes() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        desk.declined(1, 1);
        assert_eq!(desk.connect(2, hold()), []);
        assert_eq!(desk.disconnect(1), [send(2, 1)]);
    }

    #[test]
    fn a_refused_message_that_has_expired_is_forgotten_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(expiring_in_ms(1, 500));
        desk.arrives(expiring_in_ms(2, 1_500));
        desk.wait_ms(600);
        assert_eq!(desk.declined(1, 1), [release(1)]);
        desk.declined(1, 2);
        assert_eq!(desk.wait_ms(TTL_MS), [release(2)], "it expired while it waited");
    }

    #[test]
    fn a_late_refusal_changes_nothing() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        desk.connect(2, hold());
        desk.disconnect(1);
        assert_eq!(desk.declined(1, 1), []);
        assert_eq!(desk.wait_ms(2_000), [], "subscriber 2 holds it");
    }

    #[test]
    fn what_the_store_has_lost_frees_its_place_and_is_forgotten() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        let gone = |subscriber, n| Input::Gone { subscriber: SubscriberId(subscriber), id: id(n) };
        assert_eq!(desk.feed(gone(7, 1)), []);
        assert_eq!(desk.feed(gone(1, 1)), [release(1), send(1, 2)]);
    }

    #[test]
    fn what_the_store_has_lost_does_not_come_back_through_an_older_page() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        desk.arrives(message(1));
        desk.feed(Input::Gone { subscriber: SubscriberId(1), id: id(1) });
        assert_eq!(desk.page(&[message(1)]), []);
    }
}
