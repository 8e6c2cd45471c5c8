//! Time passes: messages expire, unacknowledged pushes time out, refused ones are offered again.

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::{LinkId, Retry};
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
        let Some(message) = self.queue.get(id).copied() else { return };
        if message.transient || message.place.is_ghost() || message.is_expired(now) {
            self.forget(id, effects);
            return;
        }
        let place = match message.place {
            // Nothing waits for ever behind a push that nobody acknowledges (PS-8030-6.2-3).
            Place::Held { link, .. } => self.place_after(&message, link),
            _ => Place::Ready,
        };
        self.queue.change(id, |message| message.place = place);
    }

    /// Where a message goes that `link` did not deliver.
    pub(crate) fn place_after(&self, message: &Message, link: LinkId) -> Place {
        let same_link = self.queue.link(link).is_some_and(|link| link.spec.retry == Retry::SameLink);
        if same_link && message.offers < self.rules.offers_max { Place::Ready } else { Place::Parked { link } }
    }

    /// If the clock was set back, moves what counts from "now" back with it: a push must not wait for its
    /// acknowledgement until the clock has caught up. Expiry is a moment, and stays.
    pub(crate) fn follow_clock(&mut self, now: UnixMs) {
        let back_ms = self.latest.as_millis().saturating_sub(now.as_millis());
        self.latest = now;
        if back_ms <= 0 {
            return;
        }
        let moved = |until: UnixMs| UnixMs::from_millis(until.as_millis().saturating_sub(back_ms));
        for id in self.queue.ids(|message| message.place.until().is_some()) {
            self.queue.change(id, |message| message.place = message.place.moved(moved));
        }
    }
}
