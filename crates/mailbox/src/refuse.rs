//! A push did not happen: the agent refused it, or there is nothing left to push (PS-8030-6-11).

use std::time::Duration;

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::LinkId;
use crate::mailbox::Mailbox;
use crate::message::Place;

impl Mailbox {
    /// Offers the message again later; at once, it would be refused again.
    pub(crate) fn declined(&mut self, link: LinkId, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let Some(message) = self.queue.get(id).filter(|message| message.place.occupies() == Some(link)).copied() else {
            return;
        };
        if message.transient || message.place.is_ghost() || message.is_expired(now) {
            self.forget(id, effects);
            return;
        }
        let place = match self.place_after(&message, link) {
            Place::Ready => Place::Delayed { until: now.plus(self.backoff(message.offers)) },
            parked => parked,
        };
        self.queue.change(id, |message| message.place = place);
    }

    /// The store has lost the message to somebody else; the mailbox will hear who, or it was the sweep.
    pub(crate) fn gone(&mut self, link: LinkId, id: MessageId, effects: &mut Vec<Effect>) {
        if self.queue.get(id).is_some_and(|message| message.place.occupies() == Some(link)) {
            self.bury(id);
            self.forget(id, effects);
        }
    }

    fn backoff(&self, offers: u8) -> Duration {
        let doublings = u32::from(offers).saturating_sub(1).min(16);
        let ms = u64::from(self.rules.decline_backoff_ms) << doublings;
        Duration::from_millis(ms.min(u64::from(self.rules.ack_timeout_ms)))
    }
}
