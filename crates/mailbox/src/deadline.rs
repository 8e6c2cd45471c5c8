//! Time passes: messages expire, unacknowledged pushes time out, refused ones are offered again.

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::{Retry, SubscriberId};
use crate::mailbox::Mailbox;
use crate::message::{Message, Place};

impl Mailbox {
    /// Handles every alarm that is due.
    pub(crate) fn ring(&mut self, now: UnixMs, effects: &mut Vec<Effect>) {
        while let Some((_, id)) = self.queue.next_alarm().filter(|(at, _)| *at <= now) {
            self.alarm(id, now, effects);
        }
    }

    fn alarm(&mut self, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let message = *self.queue.get(id).expect("every alarm belongs to a message in memory");
        if message.transient || message.place.is_tombstone() || message.is_expired(now) {
            self.forget(id, effects);
            return;
        }
        let place = match message.place {
            // No message waits forever behind a push that the agent does not acknowledge (PS-8030-6.2-3).
            Place::Held { subscriber, .. } => self.place_after(&message, subscriber),
            _ => Place::Ready,
        };
        self.queue.change(id, |message| message.place = place);
    }

    /// Nothing waits behind a push that has arrived and is not acknowledged: some agents never acknowledge.
    pub(crate) fn arrived(&mut self, subscriber: SubscriberId, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let next_subscriber =
            self.queue.subscriber(subscriber).is_some_and(|subscriber| subscriber.spec.retry == Retry::NextSubscriber);
        let Some(message) = self.queue.get(id).filter(|message| message.place.occupies() == Some(subscriber)) else {
            return;
        };
        if !next_subscriber || message.transient {
            return;
        }
        if message.place.is_tombstone() || message.is_expired(now) {
            self.forget(id, effects);
        } else {
            self.queue.change(id, |message| message.place = Place::Parked { subscriber });
        }
    }

    /// Where a message goes that `subscriber` did not deliver.
    pub(crate) fn place_after(&self, message: &Message, subscriber: SubscriberId) -> Place {
        let same_subscriber =
            self.queue.subscriber(subscriber).is_some_and(|subscriber| subscriber.spec.retry == Retry::SameSubscriber);
        if same_subscriber && message.offers < self.rules.offers_max {
            Place::Ready
        } else {
            Place::Parked { subscriber }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use doorbell_protocol::headers::urgency::Urgency;

    use crate::harness::*;
    use crate::{Input, SubscriberId};

    #[test]
    fn a_message_is_released_when_it_expires_and_never_sent_then_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(from(Urgency::High, hold()));
        desk.arrives(expiring_in_ms(1, 1_000));
        assert_eq!(desk.wait_ms(999), []);
        assert_eq!(desk.wait_ms(1), [release(1)]);
        assert_eq!(desk.connect(2, hold()), []);
    }

    #[test]
    fn no_event_sends_what_has_expired_even_if_the_tick_is_late_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(from(Urgency::High, hold()));
        desk.arrives(expiring_in_ms(1, 1_000));
        desk.now = desk.now.plus(Duration::from_secs(1));
        assert_eq!(desk.feed(Input::SetFloor { subscriber: SubscriberId(1), floor: None }), [release(1)]);
    }

    #[test]
    fn an_unacknowledged_push_goes_again_on_the_same_subscriber_until_its_offers_are_used_up_ps_8030_6_2_3() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        assert_eq!(sent(&desk.wait_ms(10 * ACK_TIMEOUT_MS)).len(), 4, "five offers in all");
        desk.connect(2, hold());
        assert_eq!(desk.disconnect(1), [send(2, 1)]);
        assert_eq!(sent(&desk.wait_ms(10 * ACK_TIMEOUT_MS)).len(), 4, "a new subscriber, new offers");
    }

    #[test]
    fn an_unacknowledged_push_of_a_subscriber_without_retries_frees_its_place_and_waits_for_the_next_ps_8030_6_2_3() {
        let mut desk = Desk::with_subscriber(window(1, once()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 2)]);
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), []);
        desk.connect(2, once());
        assert_eq!(desk.disconnect(1), [send(2, 1), send(2, 2)]);
    }

    #[test]
    fn an_unacknowledged_push_goes_to_a_newer_subscriber_if_there_is_one_ps_8030_6_2_3() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        desk.connect(2, hold());
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(2, 1)]);
    }

    #[test]
    fn a_push_that_no_subscriber_can_take_does_not_delay_the_others() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 2)]);
        assert_eq!(desk.ack(2)[2..], [send(1, 1)]);
    }

    #[test]
    fn a_push_that_expires_on_its_way_keeps_its_place_until_the_time_out_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(expiring_in_ms(1, 1_000));
        desk.arrives(message(2));
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS - 1), []);
        assert_eq!(desk.wait_ms(1), [release(1), send(1, 2)]);
    }

    #[test]
    fn a_parked_message_expires_too_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(once());
        desk.arrives(expiring_in_ms(1, 2 * ACK_TIMEOUT_MS));
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), []);
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [release(1)]);
        assert_eq!(desk.mailbox.next_deadline(), None);
    }

    #[test]
    fn what_has_arrived_makes_room_and_can_still_be_acknowledged() {
        let mut desk = Desk::with_subscriber(window(1, once()));
        desk.arrives(message(1));
        assert_eq!(desk.arrives(message(2)), [accept(2)]);
        assert_eq!(desk.has_arrived(1, 1), [send(1, 2)]);
        assert_eq!(desk.has_arrived(1, 1), [], "once is enough");
        assert_eq!(desk.ack(1), [release(1), erase(1)]);
    }

    #[test]
    fn what_has_arrived_and_is_not_acknowledged_goes_again_on_the_next_subscriber_only() {
        let mut desk = Desk::with_subscriber(once());
        desk.arrives(message(1));
        desk.has_arrived(1, 1);
        assert_eq!(desk.wait_ms(60_000), []);
        desk.connect(2, once());
        assert_eq!(desk.disconnect(1), [send(2, 1)]);
    }

    #[test]
    fn an_arrival_changes_nothing_where_the_subscriber_would_send_again_or_the_message_has_one_chance() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        assert_eq!(desk.arrives(message(2)), [accept(2)]);
        assert_eq!(desk.has_arrived(1, 1), []);
        let mut desk = Desk::with_subscriber(window(1, once()));
        desk.submit_transient(message(1));
        assert_eq!(desk.arrives(message(2)), [accept(2)]);
        assert_eq!(desk.has_arrived(1, 1), []);
    }

    #[test]
    fn what_was_replaced_on_its_way_makes_room_when_it_has_arrived() {
        let mut desk = Desk::with_subscriber(window(1, once()));
        desk.arrives(message(1));
        desk.submit(message(2));
        assert_eq!(desk.stored_instead_of(2, 1), [accept(2), release(1)]);
        assert_eq!(desk.has_arrived(1, 1), [send(1, 2)]);
    }
}
