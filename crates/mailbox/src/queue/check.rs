//! The indexes agree with the messages' places; only debug builds check it.

use super::{Held, Queue};
use crate::input::Mode;
use crate::message::{Message, Place};
use crate::subscriber::Subscriber;

/// Past this many messages only sizes are compared: to look at each of them after each event would be quadratic.
const MESSAGES_MAX: usize = 128;

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.messages.len())
    }

    /// Panics unless the ready queue, the windows, the bound messages and the alarms follow from the messages' places.
    pub(crate) fn assert_consistent(&self) {
        for (at, subscriber) in self.subscribers.iter().enumerate() {
            assert!(
                self.subscribers[..at].iter().all(|other| other.id != subscriber.id),
                "{:?} is listed once",
                subscriber.id
            );
            assert!(subscriber.unacked <= subscriber.spec.window, "{:?} keeps its window", subscriber.id);
            assert!(
                !subscriber.drained || subscriber.spec.mode == Mode::Drain,
                "{:?} ends because it drains",
                subscriber.id
            );
        }
        match self.held.as_deref() {
            None => self.subscribers.iter().for_each(|subscriber| assert_window(subscriber, 0)),
            Some(held) => {
                assert!(!held.messages.is_empty(), "without a message memory is given back");
                held.assert_sizes();
                self.assert_each_if_few(held);
            }
        }
    }

    fn assert_each_if_few(&self, held: &Held) {
        if held.messages.len() > MESSAGES_MAX {
            return;
        }
        for (id, message) in &held.messages {
            let bound_to = message.place.bound_to();
            assert_eq!(held.ready.lists(*id, message), message.place == Place::Ready, "{id:?} is ready: {message:?}");
            assert!(
                bound_to.is_none_or(|subscriber| held.bound.contains(&(subscriber, *id))),
                "{id:?} is bound: {message:?}"
            );
            assert!(
                bound_to.is_none_or(|subscriber| self.subscriber(subscriber).is_some()),
                "the subscriber of {id:?} is open: {message:?}"
            );
            assert!(message.alarm().is_none_or(|at| held.alarms.contains(&(at, *id))), "{id:?} has its alarm");
        }
        for subscriber in &self.subscribers {
            assert_window(subscriber, held.count(|message| message.place.occupies() == Some(subscriber.id)));
        }
        // Every message is where it belongs, so an index of the same size holds nothing else.
        assert_eq!(held.ready.len(), held.count(|message| message.place == Place::Ready), "only what waits is ready");
        assert_eq!(held.bound.len(), held.count(|message| message.place.bound_to().is_some()), "no other is bound");
        assert_eq!(held.alarms.len(), held.count(|message| message.alarm().is_some()), "every alarm has a place");
    }
}

impl Held {
    /// What can be seen without a look at each message.
    fn assert_sizes(&self) {
        let messages = self.messages.len();
        assert!(self.ready.len() + self.bound.len() <= messages, "no message is both ready and bound to a subscriber");
        assert!(self.alarms.len() <= messages, "no message has two alarms");
        let first = self.alarms.first();
        assert!(first.is_none_or(|(_, id)| self.messages.contains_key(id)), "the next alarm has a message");
    }

    fn count(&self, which: impl Fn(&Message) -> bool) -> usize {
        self.messages.values().filter(|message| which(message)).count()
    }
}

fn assert_window(subscriber: &Subscriber, occupied: usize) {
    assert_eq!(
        usize::from(subscriber.unacked),
        occupied,
        "the window of {:?} counts its occupied places",
        subscriber.id
    );
}

#[cfg(test)]
mod tests {
    use crate::harness::*;

    /// One message on its way on subscriber 1 and one that waits behind it.
    fn busy() -> Desk {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        desk
    }

    #[test]
    #[should_panic(expected = "counts its occupied places")]
    fn a_window_that_loses_count_is_found() {
        let mut desk = busy();
        desk.mailbox.queue.subscribers[0].unacked = 0;
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "counts its occupied places")]
    fn a_place_that_nothing_occupies_is_found() {
        let mut desk = Desk::with_subscriber(hold());
        desk.mailbox.queue.subscribers[0].unacked = 1;
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "has its alarm")]
    fn a_message_without_its_alarm_is_found() {
        let mut desk = busy();
        desk.mailbox.queue.held.as_mut().unwrap().alarms.pop_first();
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "the next alarm has a message")]
    fn an_alarm_without_a_message_is_found() {
        let mut desk = busy();
        let held = desk.mailbox.queue.held.as_mut().unwrap();
        held.alarms.pop_first();
        held.alarms.insert((desk.now, id(9)));
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "is ready")]
    fn a_message_that_waits_and_is_not_ready_is_found() {
        let mut desk = busy();
        let held = desk.mailbox.queue.held.as_mut().unwrap();
        let waiting = held.messages[&id(2)];
        held.ready.remove(id(2), &waiting);
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "both ready and bound")]
    fn a_message_in_two_indexes_is_found() {
        let mut desk = busy();
        let held = desk.mailbox.queue.held.as_mut().unwrap();
        let on_its_way = held.messages[&id(1)];
        held.ready.insert(id(1), &on_its_way);
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "is open")]
    fn a_message_of_a_closed_subscriber_is_found() {
        let mut desk = busy();
        desk.mailbox.queue.remove_subscriber(crate::SubscriberId(1));
        desk.mailbox.queue.assert_consistent();
    }

    #[test]
    #[should_panic(expected = "is listed once")]
    fn a_subscriber_that_is_listed_twice_is_found() {
        let mut desk = busy();
        let subscriber = desk.mailbox.queue.subscribers[0];
        desk.mailbox.queue.subscribers.push(subscriber);
        desk.mailbox.queue.assert_consistent();
    }
}
