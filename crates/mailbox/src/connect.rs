//! Subscribers open, change their floor and end (RFC 8030 s6, s6.1).

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::{CloseReason, Effect};
use crate::input::{Mode, SubscriberId, SubscriberSpec};
use crate::mailbox::Mailbox;
use crate::message::Place;
use crate::subscriber::Subscriber;

impl Mailbox {
    pub(crate) fn connect(
        &mut self,
        subscriber: SubscriberId,
        spec: SubscriberSpec,
        now: UnixMs,
        effects: &mut Vec<Effect>,
    ) {
        if self.removed {
            effects.push(Effect::Close { subscriber, why: CloseReason::AgentGone });
            return;
        }
        self.disconnect(subscriber, now, effects);
        if spec.mode == Mode::Watch {
            self.add_watcher(subscriber);
            self.queue.add_subscriber(Subscriber::new(subscriber, SubscriberSpec { window: 0, ..spec }));
        } else {
            self.queue.add_subscriber(Subscriber::new(subscriber, spec));
        }
        self.begin_load(effects);
    }

    pub(crate) fn set_floor(&mut self, subscriber: SubscriberId, floor: Option<Urgency>) {
        if let Some(subscriber) = self.queue.subscriber_mut(subscriber) {
            subscriber.spec.floor = floor;
        }
    }

    /// What was unacknowledged on the subscriber is undelivered again (PS-8030-6.2-3).
    pub(crate) fn disconnect(&mut self, subscriber: SubscriberId, now: UnixMs, effects: &mut Vec<Effect>) {
        if self.queue.remove_subscriber(subscriber).is_none() {
            return;
        }
        if self.watch.is_some() {
            self.remove_watcher(subscriber);
        }
        for id in self.queue.bound_to(subscriber) {
            self.unbind(id, now, effects);
        }
        if self.queue.subscribers().is_empty() {
            self.unload(effects);
        }
    }

    fn unbind(&mut self, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let message = self.queue.get(id).expect("every bound message is in memory");
        if message.transient || message.place.is_tombstone() || message.is_expired(now) {
            self.forget(id, effects);
        } else {
            self.queue.change(id, |message| {
                message.offers = 0;
                message.place = Place::Ready;
            });
        }
    }

    /// Without a subscriber the store is the only place where messages wait; those that it is about to commit stay known, in
    /// case a subscriber comes before it has.
    fn unload(&mut self, effects: &mut Vec<Effect>) {
        for id in self.queue.ids(|message| message.place != Place::Storing) {
            self.forget(id, effects);
        }
        self.end_load();
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::headers::urgency::Urgency;

    use crate::harness::*;
    use crate::{Input, SubscriberId, SubscriberSpec};

    fn floors() -> impl Iterator<Item = Option<Urgency>> {
        std::iter::once(None).chain(Urgency::ALL.map(Some))
    }

    #[test]
    fn nothing_below_the_floor_is_sent_on_either_kind_of_subscriber_ps_8030_5_3_5_6_9() {
        for floor in floors() {
            for spec in [hold(), only(NEWS, hold()), drain()] {
                for urgency in Urgency::ALL {
                    let mut desk = Desk::new();
                    desk.connect(1, SubscriberSpec { floor, ..spec });
                    let wanted = floor.is_none_or(|floor| urgency >= floor);
                    assert_eq!(sent(&desk.page(&[urgent(1, urgency)])).len(), usize::from(wanted));
                }
            }
        }
    }

    #[test]
    fn what_was_held_back_flows_when_the_floor_drops_ps_8030_5_3_6() {
        let mut desk = Desk::with_subscriber(from(Urgency::High, hold()));
        for (n, urgency) in (1..).zip(Urgency::ALL) {
            desk.arrives(urgent(n, urgency));
        }
        let floor = |floor| Input::SetFloor { subscriber: SubscriberId(1), floor };
        assert_eq!(desk.feed(floor(Some(Urgency::Low))), [send(1, 3), send(1, 2)]);
        assert_eq!(desk.feed(floor(Some(Urgency::High))), []);
        assert_eq!(desk.feed(floor(None)), [send(1, 1)]);
    }

    #[test]
    fn what_was_held_back_flows_on_a_later_subscriber_without_a_floor_ps_8030_5_3_6() {
        let mut desk = Desk::with_subscriber(from(Urgency::High, hold()));
        desk.arrives(message(1));
        assert_eq!(desk.connect(2, hold()), [send(2, 1)]);
    }

    #[test]
    fn the_unacknowledged_is_sent_again_on_every_new_subscriber_ps_8030_6_2_3_6_2_4() {
        let mut desk = Desk::with_subscriber(once());
        desk.arrives(message(1));
        for subscriber in 2..20 {
            assert_eq!(desk.disconnect(subscriber - 1), [release(1)]);
            assert_eq!(desk.connect(subscriber, once()), [load_after(None)]);
            assert_eq!(desk.page(&[message(1)]), [send(subscriber, 1)]);
        }
    }

    #[test]
    fn the_unacknowledged_moves_to_a_subscriber_that_is_open_already_ps_8030_6_2_3() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        assert_eq!(desk.connect(2, hold()), [], "two subscribers never hold the same message");
        assert_eq!(desk.disconnect(1), [send(2, 1)]);
        assert_eq!(desk.disconnect(2), [release(1)]);
        assert!(desk.mailbox.is_idle());
    }

    #[test]
    fn what_expired_on_its_way_does_not_come_back_ps_8030_5_2_7() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(expiring_in_ms(1, 1_000));
        desk.connect(2, hold());
        desk.wait_ms(1_000);
        assert_eq!(desk.disconnect(1), [release(1)]);
    }

    #[test]
    fn a_subscriber_of_one_subscription_carries_only_that_and_one_of_the_agent_carries_all_ps_8030_6_1_2() {
        let mut desk = Desk::with_subscriber(only(CHAT, hold()));
        desk.arrives(message(1));
        assert_eq!(sent(&desk.arrives(chat(2))), [(1, 2)]);
        assert_eq!(desk.connect(2, hold()), [send(2, 1)]);
        desk.disconnect(1);
        assert_eq!(sent(&desk.arrives(chat(3))), [(2, 3)]);
    }

    #[test]
    fn a_subscriber_that_connects_twice_starts_anew() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.connect(1, window(1, hold()));
        assert_eq!(sent(&desk.page(&[message(1), message(2)])), [(1, 1)]);
        assert_eq!(desk.mailbox.queue.subscribers().len(), 1);
    }
}
