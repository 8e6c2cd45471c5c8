//! After each event: what is ready goes to the subscribers that have room (RFC 8030 s6).

use std::time::Duration;

use doorbell_protocol::id::MessageId;

use crate::effect::Effect;
use crate::input::SubscriberId;
use crate::load::Load;
use crate::mailbox::Mailbox;
use crate::message::{Place, Sent};
use crate::subscriber::Subscriber;

impl Mailbox {
    /// Fills the newest subscriber first: if the agent has several, that one is the most likely to be alive.
    pub(crate) fn deliver(&mut self, effects: &mut Vec<Effect>) {
        for at in (0..self.queue.subscribers().len()).rev() {
            while let Some((subscriber, id)) = self.next_offer(at) {
                self.send(subscriber, id, effects);
            }
            self.end_drain(at, effects);
        }
    }

    fn next_offer(&self, at: usize) -> Option<(SubscriberId, MessageId)> {
        let subscriber = self.queue.subscribers().get(at).filter(|subscriber| subscriber.has_room())?;
        Some((subscriber.id, self.queue.next_for(subscriber)?))
    }

    pub(crate) fn send(&mut self, subscriber: SubscriberId, id: MessageId, effects: &mut Vec<Effect>) {
        let until = self.latest.plus(Duration::from_millis(u64::from(self.rules.ack_timeout_ms)));
        let mut second = false;
        self.queue.change(id, |message| {
            message.offers = message.offers.saturating_add(1);
            message.sent = message.sent.again();
            message.place = Place::Held { subscriber, until };
            second = message.sent == Sent::Second;
        });
        effects.push(Effect::Send { subscriber, id, second });
    }

    /// Notifies a draining subscriber that it has been offered everything (PS-8030-6-6, PS-8030-6-7).
    fn end_drain(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let Some(subscriber) = self.queue.subscribers().get(at).filter(|subscriber| subscriber.is_draining()) else {
            return;
        };
        if self.has_more_for(subscriber) {
            return;
        }
        let subscriber = subscriber.id;
        self.queue.subscriber_mut(subscriber).expect("the subscriber was found above").drained = true;
        effects.push(Effect::Drained { subscriber });
    }

    pub(crate) fn has_more_for(&self, subscriber: &Subscriber) -> bool {
        subscriber.spec.window > 0 && (self.load != Load::Complete || self.queue.next_for(subscriber).is_some())
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::headers::urgency::Urgency;

    use crate::harness::*;
    use crate::{Effect, Entry};

    fn draining(spec: crate::SubscriberSpec, stored: &[Entry]) -> (Desk, Vec<Effect>) {
        let mut desk = Desk::new();
        desk.connect(1, spec);
        let effects = desk.page(stored);
        (desk, effects)
    }

    #[test]
    fn a_drain_gets_everything_undelivered_and_then_its_end_ps_8030_6_6() {
        let (mut desk, effects) = draining(drain(), &[message(1), message(2)]);
        assert_eq!(effects, [send(1, 1), send(1, 2), drained(1)]);
        assert_eq!(sent(&desk.arrives(message(3))), [], "nothing goes after the end");
        assert_eq!(sent(&desk.wait_ms(ACK_TIMEOUT_MS)), []);
    }

    #[test]
    fn a_drain_of_nothing_ends_at_once_ps_8030_6_7() {
        assert_eq!(draining(drain(), &[]).1, [drained(1)]);
        assert_eq!(draining(from(Urgency::High, drain()), &[message(1)]).1, [drained(1)]);
        assert_eq!(draining(only(CHAT, drain()), &[message(1)]).1, [drained(1)]);
    }

    #[test]
    fn a_drain_waits_for_the_load_and_every_page_of_it_ps_8030_6_6() {
        let mut desk = Desk::new();
        assert_eq!(desk.connect(1, drain()), [load_after(None)]);
        let first = crate::Input::Loaded { entries: vec![message(1)], more: true };
        assert_eq!(desk.feed(first), [load_after(Some(1)), send(1, 1)]);
        assert_eq!(desk.page(&[]), [drained(1)]);
    }

    #[test]
    fn a_drain_ends_although_its_acks_are_lost_ps_8030_6_6_6_11() {
        for retry in [hold().retry, once().retry] {
            let spec = crate::SubscriberSpec { retry, ..window(1, drain()) };
            let (mut desk, effects) = draining(spec, &[message(1), message(2), message(3)]);
            assert_eq!(effects, [send(1, 1)]);
            assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 2)]);
            let rest = desk.wait_ms(20 * ACK_TIMEOUT_MS);
            assert_eq!(rest.last(), Some(&drained(1)));
            assert!(rest.contains(&send(1, 3)));
        }
    }

    #[test]
    fn a_drain_that_can_carry_nothing_ends_at_once() {
        assert_eq!(Desk::new().connect(1, window(0, drain())), [load_after(None), drained(1)]);
    }

    #[test]
    fn the_unacknowledged_stays_with_a_drained_subscriber_until_it_disconnects() {
        let (mut desk, _) = draining(drain(), &[message(1)]);
        assert_eq!(desk.connect(2, drain()), [drained(2)]);
        assert_eq!(desk.connect(3, hold()), []);
        assert_eq!(desk.disconnect(1), [send(3, 1)]);
    }

    #[test]
    fn no_more_than_the_window_is_unacknowledged_ps_8030_6_11() {
        let mut desk = Desk::new();
        desk.connect(1, window(3, hold()));
        let stored: Vec<Entry> = (1..=100).map(message).collect();
        assert_eq!(desk.page(&stored), [send(1, 1), send(1, 2), send(1, 3)]);
        for n in 1..=97 {
            assert_eq!(sent(&desk.ack(n)), [(1, n + 3)]);
        }
    }
}
