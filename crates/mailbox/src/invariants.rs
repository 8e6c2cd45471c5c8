//! What holds after every event; only debug builds check it.
//!
//! The tests, the simulation and the fuzz target see a broken rule here at the event that breaks it, and not at the
//! message that is lost by it later.

use doorbell_protocol::time::UnixMs;

use crate::load::Load;
use crate::mailbox::Mailbox;
use crate::message::{Place, Sent};

/// Past this many messages those checks are left out that look at each of them: they would be quadratic.
const MESSAGES_MAX: usize = 128;

impl Mailbox {
    /// Panics unless everything that the mailbox remembers fits together.
    pub(crate) fn assert_invariants(&self, now: UnixMs) {
        self.queue.assert_consistent();
        self.assert_load();
        self.assert_delivered();
        self.assert_times(now);
        self.assert_settled();
        self.assert_watch();
        self.assert_messages();
    }

    /// Without a subscriber memory holds nothing that the store holds.
    fn assert_load(&self) {
        if self.queue.subscribers().is_empty() {
            assert!(
                matches!(self.load, Load::Unread | Load::Stale),
                "without a subscriber nothing is kept: {:?}",
                self.load
            );
        } else {
            assert!(!self.removed, "a removed agent has no subscriber");
            assert_ne!(self.load, Load::Unread, "with a subscriber the store is read");
        }
    }

    /// Nothing that could move stands still.
    fn assert_delivered(&self) {
        for subscriber in self.queue.subscribers() {
            let next = self.queue.next_for(subscriber);
            assert!(!subscriber.has_room() || next.is_none(), "{:?} has room for {next:?}", subscriber.id);
            // One whose window is full learns its end with the next acknowledgement or time-out: an older subscriber may have
            // taken what was left for it.
            let ends = subscriber.is_draining() && subscriber.has_room() && !self.has_more_for(subscriber);
            assert!(!ends, "{:?} has to learn that it has been offered everything", subscriber.id);
        }
    }

    /// Whatever was due has happened, and no wait is longer than the time-out.
    fn assert_times(&self, now: UnixMs) {
        assert_eq!(self.latest, now, "waits are counted from now");
        let waits = self.rules.ack_timeout_ms > 0 && self.rules.decline_backoff_ms > 0;
        let next = self.queue.next_alarm();
        assert!(!waits || next.is_none_or(|(at, _)| at > now), "nothing due is left: {next:?}, {now:?}");
    }

    /// What is over is not offered, and is remembered no longer than the store may still list it.
    fn assert_settled(&self) {
        assert!(self.load.is_under_way() || !self.settled.waits_for_page(), "only a page under way is waited for");
        for (id, erasures) in self.settled.messages().take(MESSAGES_MAX) {
            let place = self.queue.get(id).map(|message| message.place);
            assert!(place.is_none_or(|place| erasures == 0 && place.is_tombstone()), "{id:?} is over: {place:?}");
        }
    }

    fn assert_messages(&self) {
        if self.queue.len() > MESSAGES_MAX {
            return;
        }
        for (id, message) in self.queue.messages() {
            let stores = message.place == Place::Storing;
            assert!(!stores || self.storing.values().any(|of| of == id), "the store is asked to commit {id:?}");
            assert!(
                stores || !self.queue.subscribers().is_empty(),
                "without a subscriber {id:?} waits in the store: {message:?}"
            );
            assert!(!message.transient || message.place.occupies().is_some(), "{id:?} goes now or never: {message:?}");
            let offers_max = self.rules.offers_max.max(1) + u8::from(message.sent == Sent::Second);
            assert!(message.offers <= offers_max, "offers of {id:?} are bounded: {message:?}");
            assert!(message.offers == 0 || message.sent != Sent::No, "{id:?} was sent: {message:?}");
            assert!(!message.transient || message.sent == Sent::Once, "{id:?} has one chance: {message:?}");
            assert!(
                message.place.bound_to().is_none() || message.offers > 0,
                "{id:?} was sent on its subscriber: {message:?}"
            );
            let wait_ms = message.place.until().map_or(0, |until| until.since(self.latest).as_millis());
            assert!(wait_ms <= u128::from(self.rules.ack_timeout_ms), "{id:?} waits for {wait_ms} ms: {message:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SubscriberId;
    use crate::harness::*;

    fn check(desk: &Desk) {
        desk.mailbox.assert_invariants(desk.now);
    }

    #[test]
    #[should_panic(expected = "has room for")]
    fn a_message_that_stands_still_is_found() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        desk.mailbox.queue.subscriber_mut(crate::SubscriberId(1)).unwrap().spec.window = 2;
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "nothing due is left")]
    fn an_expiry_that_was_missed_is_found() {
        let mut desk = Desk::with_subscriber(window(0, hold()));
        desk.arrives(expiring_in_ms(1, 1_000));
        desk.now = desk.now.plus(Duration::from_secs(2));
        desk.mailbox.latest = desk.now;
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "waits for")]
    fn a_wait_that_is_too_long_is_found() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        let until = desk.now.plus(Duration::from_millis(2 * ACK_TIMEOUT_MS));
        desk.mailbox.queue.change(id(1), |message| message.place = Place::Held { subscriber: SubscriberId(1), until });
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "without a subscriber nothing is kept")]
    fn memory_that_is_kept_without_a_subscriber_is_found() {
        let mut desk = Desk::with_subscriber(hold());
        desk.mailbox.queue.remove_subscriber(crate::SubscriberId(1));
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "is over")]
    fn a_message_that_is_over_and_offered_is_found() {
        let mut desk = Desk::with_subscriber(window(1, hold()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        desk.ack(9);
        desk.mailbox.queue.change(id(2), |message| message.offers = 1);
        let waiting = *desk.mailbox.queue.get(id(2)).unwrap();
        desk.mailbox.queue.insert(id(9), waiting);
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "the store is asked to commit")]
    fn a_commit_that_no_request_waits_for_is_found() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        desk.mailbox.storing.clear();
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "offers of")]
    fn a_message_that_is_offered_without_end_is_found() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        desk.mailbox.queue.change(id(1), |message| message.offers = 100);
        check(&desk);
    }

    #[test]
    #[should_panic(expected = "only a page under way is waited for")]
    fn a_memory_of_what_no_page_can_list_is_found() {
        let mut desk = Desk::with_subscriber(hold());
        desk.mailbox.load = Load::Reading;
        desk.mailbox.add_tombstone(id(1));
        desk.mailbox.load = Load::Complete;
        check(&desk);
    }
}
