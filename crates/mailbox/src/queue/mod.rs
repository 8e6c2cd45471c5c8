//! The messages and links in memory, with the indexes that make each step logarithmic.
//!
//! A message's [`Place`] is the truth; the ready queue, the windows, the links' messages and the alarms are derived from
//! it here and nowhere else, so that no event can change one and forget another. `check` compares them in debug builds.

#[cfg(debug_assertions)]
mod check;

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
    /// None while there is no message, which is nearly always: an idle mailbox is small.
    held: Option<Box<Held>>,
}

/// The messages, and their indexes.
#[derive(Debug, Default)]
struct Held {
    messages: BTreeMap<MessageId, Message>,
    ready: Ready,
    /// Messages whose link's closing moves them.
    bound: BTreeSet<(LinkId, MessageId)>,
    alarms: BTreeSet<(UnixMs, MessageId)>,
}

impl Queue {
    pub(crate) fn get(&self, id: MessageId) -> Option<&Message> {
        self.held.as_ref()?.messages.get(&id)
    }

    pub(crate) fn insert(&mut self, id: MessageId, message: Message) {
        self.remove(id);
        self.index(id, &message);
        self.held.get_or_insert_default().messages.insert(id, message);
    }

    pub(crate) fn remove(&mut self, id: MessageId) -> Option<Message> {
        let message = self.held.as_mut()?.messages.remove(&id)?;
        self.unindex(id, &message);
        Some(message)
    }

    /// Changes a message that is in memory, its place above all.
    pub(crate) fn change(&mut self, id: MessageId, how: impl FnOnce(&mut Message)) {
        let mut message = self.remove(id).expect("the caller has looked the message up");
        how(&mut message);
        self.insert(id, message);
    }

    /// The ids of the messages that `which` picks. It looks at all of them: for rare events.
    pub(crate) fn ids(&self, which: impl Fn(&Message) -> bool) -> Vec<MessageId> {
        let all = self.held.iter().flat_map(|held| &held.messages);
        all.filter(|(_, message)| which(message)).map(|(id, _)| *id).collect()
    }

    /// The messages that a link's closing moves.
    pub(crate) fn bound_to(&self, link: LinkId) -> Vec<MessageId> {
        let first = (link, MessageId::from_raw(i64::MIN));
        let bound = self.held.iter().flat_map(|held| held.bound.range(first..));
        bound.take_while(|(bound, _)| *bound == link).map(|(_, id)| *id).collect()
    }

    /// The message that goes next on `link`, whether it has room or not.
    pub(crate) fn next_for(&self, link: &Link) -> Option<MessageId> {
        self.held.as_ref()?.ready.next_for(link)
    }

    /// The first moment at which something happens to a message by itself.
    pub(crate) fn next_alarm(&self) -> Option<(UnixMs, MessageId)> {
        self.held.as_ref()?.alarms.first().copied()
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
        debug_assert!(self.link(link.id).is_none(), "the caller has closed the link of this name");
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
        self.held.take_if(|held| held.messages.is_empty());
    }

    fn index(&mut self, id: MessageId, message: &Message) {
        let held = self.held.get_or_insert_default();
        if message.place == Place::Ready {
            held.ready.insert(id, message);
        }
        if let Some(link) = message.place.bound_to() {
            let new = held.bound.insert((link, id));
            debug_assert!(new, "{id:?} was not bound to {link:?} before");
        }
        if let Some(at) = message.alarm() {
            let new = held.alarms.insert((at, id));
            debug_assert!(new, "{id:?} had no alarm before");
        }
        // While a link closes it is no longer listed, and the messages that were bound to it move.
        if let Some(link) = message.place.occupies().and_then(|link| self.link_mut(link)) {
            debug_assert!(link.unacked < link.spec.window, "{id:?} has a place in the window of {:?}", link.id);
            link.unacked = link.unacked.saturating_add(1);
        }
    }

    fn unindex(&mut self, id: MessageId, message: &Message) {
        let held = self.held.get_or_insert_default();
        if message.place == Place::Ready {
            held.ready.remove(id, message);
        }
        if let Some(link) = message.place.bound_to() {
            let known = held.bound.remove(&(link, id));
            debug_assert!(known, "{id:?} was bound to {link:?}");
        }
        if let Some(at) = message.alarm() {
            let known = held.alarms.remove(&(at, id));
            debug_assert!(known, "{id:?} had an alarm");
        }
        if let Some(link) = message.place.occupies().and_then(|link| self.link_mut(link)) {
            debug_assert!(link.unacked > 0, "{id:?} had a place in the window of {:?}", link.id);
            link.unacked = link.unacked.saturating_sub(1);
        }
    }
}
