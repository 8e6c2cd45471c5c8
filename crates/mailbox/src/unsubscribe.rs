//! Subscriptions, and the agent itself, are removed (RFC 8030 s7.3, s7.3.1).

use doorbell_protocol::id::SubscriptionId;
use doorbell_protocol::time::UnixMs;

use crate::effect::{CloseReason, Effect};
use crate::input::{LinkId, Scope};
use crate::mailbox::Mailbox;

impl Mailbox {
    /// Its messages are over and its own links end; those of the whole agent go on without it (PS-8030-7.3.1-4).
    pub(crate) fn unsubscribed(&mut self, subscription: SubscriptionId, now: UnixMs, effects: &mut Vec<Effect>) {
        self.bury_subscription(subscription);
        for id in self.queue.ids(|message| message.subscription == subscription) {
            self.withdraw(id, effects);
        }
        for link in self.links_of(|scope| scope == Scope::Subscription(subscription)) {
            effects.push(Effect::Close { link, why: CloseReason::SubscriptionGone });
            self.disconnect(link, now, effects);
        }
    }

    /// Everything is over. Requests that wait for the store are still answered with what it says.
    pub(crate) fn agent_removed(&mut self, effects: &mut Vec<Effect>) {
        self.removed = true;
        for link in self.links_of(|_| true) {
            effects.push(Effect::Close { link, why: CloseReason::AgentGone });
            self.queue.remove_link(link);
        }
        for id in self.queue.ids(|_| true) {
            self.forget(id, effects);
        }
        self.end_load();
    }

    fn links_of(&self, which: impl Fn(Scope) -> bool) -> Vec<LinkId> {
        self.queue.links().iter().filter(|link| which(link.spec.scope)).map(|link| link.id).collect()
    }
}
