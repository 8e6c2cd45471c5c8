//! What the store holds comes into memory page by page when a subscriber opens (PS-8030-6-8).
//!
//! A page is a look into the past: since it was read, messages may have come, been settled or been withdrawn. So what
//! memory knows already is believed before the page, and what is over stays remembered until the page has come.

use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::Entry;
use crate::mailbox::Mailbox;
use crate::message::{Message, Place};

/// Whether memory holds what the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// It does not: no subscriber has been open.
    Unread,
    /// A page is under way, and memory has kept up since it was asked for.
    Reading,
    /// A page is under way that is useless: after it was asked for the last subscriber closed, and memory forgot.
    Stale,
    /// It does.
    Complete,
}

impl Load {
    pub(crate) fn is_under_way(self) -> bool {
        matches!(self, Self::Reading | Self::Stale)
    }
}

impl Mailbox {
    /// Asks for the first page, unless memory is complete or a page is under way.
    pub(crate) fn begin_load(&mut self, effects: &mut Vec<Effect>) {
        if self.load == Load::Unread {
            self.load = Load::Reading;
            effects.push(Effect::Load { after: None });
        }
    }

    /// Memory has forgotten its messages.
    pub(crate) fn end_load(&mut self) {
        self.load = if self.load.is_under_way() { Load::Stale } else { Load::Unread };
    }

    pub(crate) fn loaded(&mut self, entries: &[Entry], more: bool, now: UnixMs, effects: &mut Vec<Effect>) {
        match self.load {
            Load::Reading => self.take_in(entries, more, now, effects),
            Load::Stale => self.load = Load::Unread,
            Load::Unread | Load::Complete => return,
        }
        self.settled.page_came();
        if !self.queue.subscribers().is_empty() {
            self.begin_load(effects);
        }
    }

    fn take_in(&mut self, entries: &[Entry], more: bool, now: UnixMs, effects: &mut Vec<Effect>) {
        for entry in entries {
            let message = Message::new(entry, false, Place::Ready);
            let known = self.queue.get(entry.id).is_some() || self.settled.lists(entry);
            if !known && !message.is_expired(now) {
                self.queue.insert(entry.id, message);
            }
        }
        match entries.last() {
            Some(last) if more => effects.push(Effect::Load { after: Some(last.id) }),
            _ => self.load = Load::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::headers::urgency::Urgency;

    use crate::Input;
    use crate::harness::*;

    #[test]
    fn what_is_stored_comes_page_by_page_when_a_subscriber_opens_ps_8030_6_8() {
        let mut desk = Desk::new();
        assert_eq!(desk.connect(1, hold()), [load_after(None)]);
        let first = Input::Loaded { entries: vec![message(1), message(4)], more: true };
        assert_eq!(desk.feed(first), [load_after(Some(4)), send(1, 1), send(1, 4)]);
        assert_eq!(desk.page(&[message(5)]), [send(1, 5)]);
        assert_eq!(desk.page(&[message(6)]), [], "no page was asked for");
    }

    #[test]
    fn a_page_goes_out_by_urgency_then_age() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        let page = [message(1), urgent(2, Urgency::VeryLow), urgent(3, Urgency::High), message(4)];
        assert_eq!(desk.page(&page), [send(1, 3), send(1, 1), send(1, 4), send(1, 2)]);
    }

    #[test]
    fn one_load_is_under_way_at_a_time_and_serves_all_subscribers() {
        let mut desk = Desk::new();
        desk.connect(1, only(CHAT, hold()));
        assert_eq!(desk.connect(2, only(NEWS, hold())), []);
        assert_eq!(desk.page(&[message(1), chat(2)]), [send(2, 1), send(1, 2)]);
        assert_eq!(desk.connect(3, hold()), [], "memory is complete");
    }

    #[test]
    fn expired_messages_in_a_page_are_as_if_never_sent_ps_8030_7_2_3() {
        let mut desk = Desk::new();
        desk.connect(1, drain());
        desk.wait_ms(1_000);
        assert_eq!(desk.page(&[expiring_in_ms(1, 1_000)]), [drained(1)]);
    }

    #[test]
    fn a_page_does_not_bring_back_what_was_acked_before_the_store_knew_ps_8030_6_2_6() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        assert_eq!(desk.ack(1), [release(1), erase(1)]);
        desk.disconnect(1);
        desk.connect(2, hold());
        assert_eq!(desk.page(&[message(1)]), []);
        assert!(!desk.mailbox.settled.is_empty());
        desk.erased(1);
        assert!(desk.mailbox.settled.is_empty());
    }

    #[test]
    fn a_page_that_was_read_before_the_erasure_and_comes_after_it_does_not_bring_it_back_ps_8030_6_2_6() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        desk.ack(1);
        desk.erased(1);
        assert_eq!(desk.page(&[message(1), message(2)]), [send(1, 2)]);
        assert!(desk.mailbox.settled.is_empty());
    }

    #[test]
    fn a_page_that_was_read_before_a_replacement_does_not_bring_it_back_ps_8030_5_4_2() {
        let mut desk = Desk::new();
        desk.submit(message(2));
        desk.connect(1, hold());
        assert_eq!(desk.stored_instead_of(2, 1), [accept(2), send(1, 2)]);
        assert_eq!(desk.page(&[message(1)]), []);
    }

    #[test]
    fn a_page_may_list_a_message_before_its_commit_is_reported_and_it_is_sent_once() {
        let mut desk = Desk::new();
        desk.submit(message(1));
        desk.connect(1, hold());
        assert_eq!(desk.page(&[message(1)]), []);
        assert_eq!(desk.stored(1), [accept(1), send(1, 1)]);
    }

    #[test]
    fn a_message_accepted_during_a_load_is_neither_lost_nor_sent_twice() {
        for page in [&[][..], &[message(1)]] {
            let mut desk = Desk::new();
            desk.connect(1, hold());
            assert_eq!(sent(&desk.arrives(message(1))), [(1, 1)]);
            assert_eq!(desk.page(page), []);
        }
    }

    #[test]
    fn a_page_for_a_subscriber_that_is_gone_is_read_again_for_the_next() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        desk.disconnect(1);
        assert!(!desk.mailbox.is_idle(), "its page is still to come");
        desk.arrives(message(1));
        assert_eq!(desk.connect(2, drain()), []);
        assert_eq!(desk.page(&[]), [load_after(None)], "it was read before message 1");
        assert_eq!(desk.page(&[message(1)]), [send(2, 1), drained(2)]);
    }

    #[test]
    fn a_page_that_no_request_waits_for_leaves_the_mailbox_idle() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        desk.disconnect(1);
        assert_eq!(desk.page(&[message(1)]), []);
        assert!(desk.mailbox.is_idle());
    }
}
