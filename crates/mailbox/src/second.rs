//! The agent received a message and did not pass it to the web app.
//!
//! Firefox reports the same for a message that it had before, and for one that arrives while its first window opens,
//! which it loses. A duplicate is better than a loss: the message is offered once more, under another version, because
//! the agent remembers the first one.

use std::time::Duration;

use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::RequestId;
use crate::mailbox::Mailbox;
use crate::message::{Place, Sent};

/// How long the message waits, [`Rules::ack_timeout_ms`](crate::Rules::ack_timeout_ms) at most: until a window has opened.
const WAIT_MS: u32 = 5_000;

impl Mailbox {
    pub(crate) fn not_passed_on(
        &mut self,
        request: Option<RequestId>,
        id: MessageId,
        now: UnixMs,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.queue.get(id).copied().filter(|message| message.place != Place::Storing);
        match known {
            Some(message) if message.place.is_tombstone() => self.forget(id, effects),
            Some(message) if message.transient || message.is_expired(now) || message.sent == Sent::Often => {
                self.ack(request, id, Outcome::Refused, effects);
                return;
            }
            Some(message) if message.sent != Sent::Second => self.offer_second(id),
            // It is over; or it was sent before memory was filled, and goes again anyway; or it was offered once more.
            _ => {}
        }
        effects.extend(request.map(|request| Effect::Acked { request }));
    }

    fn offer_second(&mut self, id: MessageId) {
        let wait_ms = WAIT_MS.min(self.rules.ack_timeout_ms);
        let until = self.latest.plus(Duration::from_millis(u64::from(wait_ms)));
        self.queue.change(id, |message| {
            message.sent = Sent::Second;
            if let Place::Held { subscriber, .. } | Place::Parked { subscriber } = message.place {
                message.offers = 1;
                message.place = Place::Delayed { subscriber, until };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::MessageId;

    use crate::harness::*;
    use crate::{Effect, Input, Rules, SubscriberId, SubscriberSpec};

    const WAIT_MS: u64 = super::WAIT_MS as u64;

    fn refuse(n: i64) -> Effect {
        Effect::Erase { id: id(n), request: None, outcome: doorbell_protocol::receipt::Outcome::Refused }
    }

    #[test]
    fn a_message_that_was_not_passed_on_is_offered_once_more_under_its_second_version_fx_6() {
        for arrives in [false, true] {
            let mut desk = Desk::with_subscriber(window(1, once()));
            assert_eq!(desk.arrives(message(1)), [accept(1), send(1, 1)]);
            desk.arrives(message(2));
            if arrives {
                assert_eq!(desk.has_arrived(1, 1), [send(1, 2)]);
                assert_eq!(desk.not_passed_on(1), []);
            } else {
                assert_eq!(desk.not_passed_on(1), [send(1, 2)], "it makes room");
            }
            desk.ack(2);
            assert_eq!(desk.wait_ms(WAIT_MS - 1), []);
            assert_eq!(desk.wait_ms(1), [send_second(1, 1)]);
            assert_eq!(desk.not_passed_on(1), [], "a late report about the first version");
            assert_eq!(sent(&desk.wait_ms(TTL_MS / 2)), []);
            assert_eq!(desk.ack(1), [release(1), erase(1)]);
        }
    }

    #[test]
    fn a_message_that_was_sent_more_than_once_may_have_been_there_before_and_is_refused_fx_6() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 1)]);
        assert_eq!(desk.not_passed_on(1), [release(1), refuse(1)]);
    }

    #[test]
    fn the_second_version_stays_while_memory_does_and_a_new_memory_begins_with_the_first() {
        for is_kept in [true, false] {
            let mut desk = Desk::with_subscriber(once());
            if is_kept {
                desk.connect(9, SubscriberSpec::watch(None));
            }
            desk.arrives(message(1));
            desk.not_passed_on(1);
            desk.disconnect(1);
            desk.wait_ms(100);
            let connected = desk.connect(2, once());
            if is_kept {
                assert_eq!(connected, [send_second(2, 1)]);
                continue;
            }
            assert_eq!(desk.page(&[message(1)]), [send(2, 1)]);
            assert_eq!(desk.not_passed_on(1), [], "it is not known how often it was sent");
            assert_eq!(desk.wait_ms(WAIT_MS), [send_second(2, 1)]);
        }
    }

    #[test]
    fn a_report_from_before_the_message_was_sent_again_ends_nothing() {
        let mut desk = Desk::new();
        desk.connect(1, once());
        assert_eq!(desk.not_passed_on(1), [], "its page is still to come");
        assert_eq!(desk.page(&[message(1)]), [send(1, 1)]);
        let mut desk = Desk::with_subscriber(window(1, once()));
        desk.arrives(message(1));
        desk.arrives(message(2));
        assert_eq!(desk.not_passed_on(2), []);
        assert_eq!(desk.ack(1)[2..], [send_second(1, 2)], "it waited for room, and waits no longer");
    }

    #[test]
    fn what_has_expired_or_has_one_chance_is_not_offered_again_ps_8030_5_2_7_and_5_2_9() {
        let mut desk = Desk::with_subscriber(once());
        desk.arrives(expiring_in_ms(1, 1_000));
        desk.wait_ms(1_000);
        assert_eq!(desk.not_passed_on(1), [release(1), refuse(1)]);
        desk.arrives(expiring_in_ms(2, 3_000));
        desk.not_passed_on(2);
        assert_eq!(desk.wait_ms(TTL_MS / 2), [release(2)], "it expired while it waited");
        desk.submit_transient(message(3));
        let asked = Input::NotPassedOn { request: Some(request(9)), id: id(3) };
        assert_eq!(desk.feed(asked), [release(3), Effect::Acked { request: request(9) }]);
    }

    #[test]
    fn what_is_over_stays_over_and_every_request_is_answered() {
        let mut desk = Desk::with_subscriber(window(1, once()));
        let ask = |n: i64| Input::NotPassedOn { request: Some(request(9)), id: MessageId::from_raw(n) };
        let answered = Effect::Acked { request: request(9) };
        assert_eq!(desk.feed(ask(7)), [answered]);
        desk.submit(message(1));
        assert_eq!(desk.feed(ask(1)), [answered]);
        assert_eq!(desk.stored(1), [accept(1), send(1, 1)]);
        desk.arrives(message(2));
        desk.submit(message(3));
        desk.stored_instead_of(3, 1);
        assert_eq!(desk.feed(ask(1)), [send(1, 2)].into_iter().chain([answered]).rev().collect::<Vec<_>>());
        desk.not_passed_on(2);
        assert_eq!(desk.ack(2), [release(2), erase(2)], "withdrawn while it waits");
        assert_eq!(desk.not_passed_on(2), []);
    }

    #[test]
    fn a_watcher_learns_of_what_waits_for_its_second_offer_when_the_agent_is_away() {
        let mut desk = Desk::with_subscriber(once());
        desk.connect(9, SubscriberSpec::watch(None));
        desk.arrives(message(1));
        desk.not_passed_on(1);
        assert_eq!(desk.wait_ms(1_000), [], "the agent shows life");
        desk.disconnect(1);
        let waiting = desk.wait_ms(1_000);
        let is_report = |effect: &Effect| matches!(effect, Effect::Waiting { subscriber: SubscriberId(9), .. });
        assert!(waiting.len() == 1 && waiting.iter().all(is_report), "{waiting:?}");
    }

    #[test]
    fn the_wait_is_never_longer_than_the_time_out_and_one_offer_is_enough_for_it() {
        let mut desk = Desk::with_rules(Rules { ack_timeout_ms: 2_000, offers_max: 1, ..Rules::default() });
        desk.connect(1, hold());
        desk.page(&[message(1)]);
        desk.not_passed_on(1);
        assert_eq!(desk.wait_ms(2_000), [send_second(1, 1)]);
        assert_eq!(sent(&desk.wait_ms(TTL_MS / 2)), []);
    }
}
