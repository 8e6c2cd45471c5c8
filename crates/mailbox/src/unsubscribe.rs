//! Subscriptions, and the agent itself, are removed (RFC 8030 s7.3, s7.3.1).

use doorbell_protocol::id::SubscriptionId;
use doorbell_protocol::time::UnixMs;

use crate::effect::{CloseReason, Effect};
use crate::input::{Scope, SubscriberId};
use crate::mailbox::Mailbox;

impl Mailbox {
    /// Its messages are over and its own subscribers end; those of the whole agent go on without it (PS-8030-7.3.1-4).
    pub(crate) fn unsubscribed(&mut self, subscription: SubscriptionId, now: UnixMs, effects: &mut Vec<Effect>) {
        self.add_subscription_tombstone(subscription);
        for id in self.queue.ids(|message| message.subscription == subscription) {
            self.withdraw(id, effects);
        }
        for subscriber in self.subscribers_of(|scope| scope == Scope::Subscription(subscription)) {
            effects.push(Effect::Close { subscriber, why: CloseReason::SubscriptionGone });
            self.disconnect(subscriber, now, effects);
        }
    }

    /// Everything is over. Requests that wait for the store are still answered with its result.
    pub(crate) fn agent_removed(&mut self, effects: &mut Vec<Effect>) {
        self.removed = true;
        for subscriber in self.subscribers_of(|_| true) {
            effects.push(Effect::Close { subscriber, why: CloseReason::AgentGone });
            self.queue.remove_subscriber(subscriber);
        }
        self.watch = None;
        for id in self.queue.ids(|_| true) {
            self.forget(id, effects);
        }
        self.end_load();
    }

    fn subscribers_of(&self, which: impl Fn(Scope) -> bool) -> Vec<SubscriberId> {
        self.queue
            .subscribers()
            .iter()
            .filter(|subscriber| which(subscriber.spec.scope))
            .map(|subscriber| subscriber.id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::*;
    use crate::{CloseReason, Effect, Input, SubscriberId};

    const NEWS_REMOVED: Input = Input::Unsubscribed { subscription: NEWS };

    fn close(subscriber: u64, why: CloseReason) -> Effect {
        Effect::Close { subscriber: SubscriberId(subscriber), why }
    }

    #[test]
    fn a_removed_subscription_ends_its_subscribers_and_drops_its_messages_ps_8030_7_3_2_7_3_4() {
        let mut desk = Desk::with_subscriber(only(NEWS, window(1, hold())));
        desk.arrives(message(1));
        desk.arrives(message(2));
        let effects = desk.feed(NEWS_REMOVED);
        assert_eq!(effects, [release(1), release(2), close(1, CloseReason::SubscriptionGone)]);
        assert!(desk.mailbox.is_idle());
    }

    #[test]
    fn a_set_goes_on_with_its_other_members_ps_8030_7_3_1_4() {
        let mut desk = Desk::with_subscriber(window(2, hold()));
        desk.arrives(message(1));
        desk.arrives(chat(2));
        desk.arrives(message(3));
        assert_eq!(desk.feed(NEWS_REMOVED), [release(1), release(3)]);
        assert_eq!(sent(&desk.arrives(chat(4))), [], "the push on its way keeps its place");
        assert_eq!(desk.wait_ms(ACK_TIMEOUT_MS), [send(1, 4), send(1, 2)]);
    }

    #[test]
    fn a_message_in_its_commit_is_answered_as_the_store_reports_and_not_sent_ps_8030_7_3_4() {
        let mut desk = Desk::with_subscriber(hold());
        desk.submit(message(1));
        desk.submit(message(2));
        assert_eq!(desk.feed(NEWS_REMOVED), [release(1), release(2)]);
        assert_eq!(desk.stored(1), [accept(1)]);
        assert_eq!(desk.feed(Input::NotStored { request: request(2) }), [Effect::Reject { request: request(2) }]);
    }

    #[test]
    fn a_page_that_was_read_before_does_not_bring_its_messages_back_ps_8030_7_3_4() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        desk.feed(NEWS_REMOVED);
        assert_eq!(desk.page(&[message(1), chat(2)]), [send(1, 2)]);
        assert!(desk.mailbox.settled.is_empty());
    }

    #[test]
    fn a_removed_agent_ends_every_subscriber_and_opens_none_ps_8030_7_3_1_1_to_3() {
        let mut desk = Desk::with_subscriber(only(NEWS, hold()));
        desk.connect(2, hold());
        desk.arrives(message(1));
        desk.submit(chat(2));
        let gone = CloseReason::AgentGone;
        assert_eq!(desk.feed(Input::AgentRemoved), [close(1, gone), close(2, gone), release(1), release(2)]);
        assert_eq!(desk.connect(3, hold()), [close(3, gone)]);
        assert_eq!(desk.stored(2), [accept(2)]);
        assert!(desk.mailbox.is_idle());
    }

    #[test]
    fn a_removed_agent_waits_for_its_page_and_forgets_it() {
        let mut desk = Desk::new();
        desk.connect(1, hold());
        desk.feed(Input::AgentRemoved);
        assert!(!desk.mailbox.is_idle());
        assert_eq!(desk.page(&[message(1)]), []);
        assert!(desk.mailbox.is_idle());
    }
}
