//! After each event: what is ready goes to the links that have room (RFC 8030 s6).

use std::time::Duration;

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::LinkId;
use crate::link::Link;
use crate::load::Load;
use crate::mailbox::Mailbox;
use crate::message::Place;

impl Mailbox {
    /// Fills the newest link first: if the agent has several, that one is the most likely to be alive.
    pub(crate) fn deliver(&mut self, now: UnixMs, effects: &mut Vec<Effect>) {
        for at in (0..self.queue.links().len()).rev() {
            while let Some((link, id)) = self.next_offer(at) {
                self.send(link, id, now, effects);
            }
            self.end_drain(at, effects);
        }
    }

    fn next_offer(&self, at: usize) -> Option<(LinkId, MessageId)> {
        let link = self.queue.links().get(at).filter(|link| link.has_room())?;
        Some((link.id, self.queue.next_for(link)?))
    }

    pub(crate) fn send(&mut self, link: LinkId, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let until = now.plus(Duration::from_millis(u64::from(self.rules.ack_timeout_ms)));
        self.queue.change(id, |message| {
            message.offers = message.offers.saturating_add(1);
            message.place = Place::Held { link, until };
        });
        effects.push(Effect::Send { link, id });
    }

    /// Tells a draining link that it has been offered everything (PS-8030-6-6, PS-8030-6-7).
    fn end_drain(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let Some(link) = self.queue.links().get(at).filter(|link| link.is_draining()) else { return };
        if self.has_more_for(link) {
            return;
        }
        let link = link.id;
        if let Some(link) = self.queue.link_mut(link) {
            link.drained = true;
        }
        effects.push(Effect::Drained { link });
    }

    fn has_more_for(&self, link: &Link) -> bool {
        link.spec.window > 0 && (self.load != Load::Complete || self.queue.next_for(link).is_some())
    }
}
