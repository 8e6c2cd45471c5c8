//! The messages and links in memory, with the indexes that make each step logarithmic.
//!
//! A message's [`Place`] is the truth; the ready queue, the windows, the links' messages and the alarms are derived from
//! it here and nowhere else, so that no event can change one and forget another.

use std::collections::{BTreeMap, BTreeSet};

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::input::LinkId;
use crate::link::Link;
use crate::message::{Message, Place};
use crate::ready::Ready;

/// What a mailbox knows of messages and links.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The open links, oldest first.
    links: Vec<Link>,
    messages: BTreeMap<MessageId, Message>,
    ready: Ready,
    /// Messages whose link's closing moves them.
    bound: BTreeSet<(LinkId, MessageId)>,
    alarms: BTreeSet<(UnixMs, MessageId)>,
}

impl Queue {
    pub(crate) fn get(&self, id: MessageId) -> Option<&Message> {
        self.messages.get(&id)
    }

    pub(crate) fn insert(&mut self, id: MessageId, message: Message) {
        self.remove(id);
        self.index(id, &message);
        self.messages.insert(id, message);
    }

    pub(crate) fn remove(&mut self, id: MessageId) -> Option<Message> {
        let message = self.messages.remove(&id)?;
        self.unindex(id, &message);
        Some(message)
    }

    /// Changes a message, its place above all.
    pub(crate) fn change(&mut self, id: MessageId, how: impl FnOnce(&mut Message)) {
        if let Some(mut message) = self.remove(id) {
            how(&mut message);
            self.insert(id, message);
        }
    }

    /// The ids of the messages that `which` picks. It looks at all of them: for rare events.
    pub(crate) fn ids(&self, which: impl Fn(&Message) -> bool) -> Vec<MessageId> {
        self.messages.iter().filter(|(_, message)| which(message)).map(|(id, _)| *id).collect()
    }

    /// The messages that a link's closing moves.
    pub(crate) fn bound_to(&self, link: LinkId) -> Vec<MessageId> {
        let first = (link, MessageId::from_raw(i64::MIN));
        self.bound.range(first..).take_while(|(bound, _)| *bound == link).map(|(_, id)| *id).collect()
    }

    /// The message that goes next on `link`, whether it has room or not.
    pub(crate) fn next_for(&self, link: &Link) -> Option<MessageId> {
        self.ready.next_for(link)
    }

    /// The first moment at which something happens to a message by itself.
    pub(crate) fn next_alarm(&self) -> Option<(UnixMs, MessageId)> {
        self.alarms.first().copied()
    }

    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    pub(crate) fn add_link(&mut self, link: Link) {
        // Nearly every agent has one link: room for four, the usual first step of a Vec, would be wasted.
        self.links.reserve_exact(1);
        self.links.push(link);
    }

    /// Takes the link out; the messages that are bound to it are the caller's to move.
    pub(crate) fn remove_link(&mut self, id: LinkId) -> Option<Link> {
        let at = self.links.iter().position(|link| link.id == id)?;
        Some(self.links.remove(at))
    }

    /// Gives memory back when there is no message: an emptied tree keeps its last node.
    pub(crate) fn rest(&mut self) {
        if self.messages.is_empty() {
            *self = Self { links: std::mem::take(&mut self.links), ..Self::default() };
        }
    }

    fn index(&mut self, id: MessageId, message: &Message) {
        if message.place == Place::Ready {
            self.ready.insert(id, message);
        }
        if let Some(link) = message.place.bound_to() {
            self.bound.insert((link, id));
        }
        if let Some(link) = message.place.occupies().and_then(|link| self.link_mut(link)) {
            link.unacked = link.unacked.saturating_add(1);
        }
        if let Some(at) = message.alarm() {
            self.alarms.insert((at, id));
        }
    }

    fn unindex(&mut self, id: MessageId, message: &Message) {
        if message.place == Place::Ready {
            self.ready.remove(id, message);
        }
        if let Some(link) = message.place.bound_to() {
            self.bound.remove(&(link, id));
        }
        if let Some(link) = message.place.occupies().and_then(|link| self.link_mut(link)) {
            link.unacked = link.unacked.saturating_sub(1);
        }
        if let Some(at) = message.alarm() {
            self.alarms.remove(&(at, id));
        }
    }
}
