//! Messages come in: stored first and accepted then, or transient (RFC 8030 s5, s5.2, s5.4).

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::{Entry, Ticket};
use crate::mailbox::Mailbox;
use crate::message::{Message, Place};

impl Mailbox {
    /// Nobody hears of the message before the store has it: no acceptance and no push (PS-8030-5-2).
    pub(crate) fn submit(&mut self, ticket: Ticket, entry: &Entry, effects: &mut Vec<Effect>) {
        self.storing.insert(ticket, entry.id);
        self.queue.insert(entry.id, Message::new(entry, false, Place::Storing));
        effects.push(Effect::Persist { ticket });
    }

    /// A message with TTL 0 goes out now or never (PS-8030-5.2-9).
    pub(crate) fn submit_transient(&mut self, ticket: Ticket, entry: &Entry, now: UnixMs, effects: &mut Vec<Effect>) {
        let message = Message::new(entry, true, Place::Ready);
        let mut newest_first = self.queue.links().iter().rev();
        let link = newest_first.find(|link| link.has_room() && link.carries(message.subscription, message.urgency));
        match link.map(|link| link.id) {
            Some(link) => {
                self.queue.insert(entry.id, message);
                self.send(link, entry.id, now, effects);
            }
            None => effects.push(Effect::Release { id: entry.id }),
        }
        effects.push(Effect::Accept { ticket });
    }

    /// The message is durable: it is accepted, and offered if the agent is there.
    pub(crate) fn stored(
        &mut self,
        ticket: Ticket,
        replaced: Option<MessageId>,
        now: UnixMs,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.storing.remove(&ticket) else { return };
        effects.push(Effect::Accept { ticket });
        if let Some(older) = replaced {
            self.withdraw(older, effects);
        }
        // It may have been settled, replaced or unsubscribed while the store was at work.
        let Some(message) = self.queue.get(id).filter(|message| message.place == Place::Storing) else { return };
        if self.queue.links().is_empty() || message.is_expired(now) {
            self.forget(id, effects);
        } else {
            self.queue.change(id, |message| message.place = Place::Ready);
        }
    }

    pub(crate) fn not_stored(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        let Some(id) = self.storing.remove(&ticket) else { return };
        effects.push(Effect::Reject { ticket });
        if self.queue.get(id).is_some_and(|message| message.place == Place::Storing) {
            self.forget(id, effects);
        }
    }

    /// The store does not hold the message any more: it is not sent again. A push that is on its way keeps its place in
    /// the window, because the agent is still busy with it.
    pub(crate) fn withdraw(&mut self, id: MessageId, effects: &mut Vec<Effect>) {
        self.bury(id);
        match self.queue.get(id).map(|message| message.place) {
            Some(Place::Held { link, until }) => {
                self.queue.change(id, |message| message.place = Place::Ghost { link, until });
                effects.push(Effect::Release { id });
            }
            Some(Place::Ghost { .. }) | None => {}
            Some(_) => self.forget(id, effects),
        }
    }
}
