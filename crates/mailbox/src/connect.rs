//! Links open, change their floor and end (RFC 8030 s6, s6.1).

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::{CloseReason, Effect};
use crate::input::{LinkId, LinkSpec};
use crate::link::Link;
use crate::mailbox::Mailbox;
use crate::message::Place;

impl Mailbox {
    pub(crate) fn connect(&mut self, link: LinkId, spec: LinkSpec, now: UnixMs, effects: &mut Vec<Effect>) {
        if self.removed {
            effects.push(Effect::Close { link, why: CloseReason::AgentGone });
            return;
        }
        self.disconnect(link, now, effects);
        self.queue.add_link(Link::new(link, spec));
        self.begin_load(effects);
    }

    pub(crate) fn set_floor(&mut self, link: LinkId, floor: Option<Urgency>) {
        if let Some(link) = self.queue.link_mut(link) {
            link.spec.floor = floor;
        }
    }

    /// What was unacknowledged on the link is undelivered again (PS-8030-6.2-3).
    pub(crate) fn disconnect(&mut self, link: LinkId, now: UnixMs, effects: &mut Vec<Effect>) {
        if self.queue.remove_link(link).is_none() {
            return;
        }
        for id in self.queue.bound_to(link) {
            self.unbind(id, now, effects);
        }
        if self.queue.links().is_empty() {
            self.unload(effects);
        }
    }

    fn unbind(&mut self, id: MessageId, now: UnixMs, effects: &mut Vec<Effect>) {
        let Some(message) = self.queue.get(id) else { return };
        if message.transient || message.place.is_ghost() || message.is_expired(now) {
            self.forget(id, effects);
        } else {
            self.queue.change(id, |message| {
                message.offers = 0;
                message.place = Place::Ready;
            });
        }
    }

    /// Without a link the store is the only place where messages wait; those that it is about to commit stay known, in
    /// case a link comes before it has.
    fn unload(&mut self, effects: &mut Vec<Effect>) {
        for id in self.queue.ids(|message| message.place != Place::Storing) {
            self.forget(id, effects);
        }
        self.end_load();
    }
}
