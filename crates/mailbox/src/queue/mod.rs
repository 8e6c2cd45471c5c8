//! The messages and subscribers in memory, with the indexes that make each step logarithmic.
//!
//! A message's [`Place`] is the truth; the ready queue, the windows, the subscribers' messages and the alarms are derived from
//! it here and nowhere else, so that no event can change one and forget another. `check` compares them in debug builds.

#[cfg(debug_assertions)]
mod check;

use std::collections::{BTreeMap, BTreeSet};

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::input::SubscriberId;
use crate::message::{Message, Place};
use crate::ready::Ready;
use crate::subscriber::Subscriber;

/// What a mailbox knows of messages and subscribers.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The open subscribers, oldest first.
    subscribers: Vec<Subscriber>,
    /// None while there is no message, which is nearly always: an idle mailbox is small.
    held: Option<Box<Held>>,
}

/// The messages, and their indexes.
#[derive(Debug, Default)]
struct Held {
    messages: BTreeMap<MessageId, Message>,
    ready: Ready,
    /// Messages whose subscriber's closing moves them.
    bound: BTreeSet<(SubscriberId, MessageId)>,
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

    /// Whether there is no message in memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.messages.is_empty())
    }

    /// All messages, oldest first: for rare events.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&MessageId, &Message)> {
        self.held.iter().flat_map(|held| &held.messages)
    }

    /// The messages that a subscriber's closing moves.
    pub(crate) fn bound_to(&self, subscriber: SubscriberId) -> Vec<MessageId> {
        let first = (subscriber, MessageId::from_raw(i64::MIN));
        let bound = self.held.iter().flat_map(|held| held.bound.range(first..));
        bound.take_while(|(bound, _)| *bound == subscriber).map(|(_, id)| *id).collect()
    }

    /// The message that goes next on `subscriber`, whether it has room or not.
    pub(crate) fn next_for(&self, subscriber: &Subscriber) -> Option<MessageId> {
        self.held.as_ref()?.ready.next_for(subscriber)
    }

    /// The first moment at which something happens to a message by itself.
    pub(crate) fn next_alarm(&self) -> Option<(UnixMs, MessageId)> {
        self.held.as_ref()?.alarms.first().copied()
    }

    pub(crate) fn subscribers(&self) -> &[Subscriber] {
        &self.subscribers
    }

    pub(crate) fn subscriber(&self, id: SubscriberId) -> Option<&Subscriber> {
        self.subscribers.iter().find(|subscriber| subscriber.id == id)
    }

    pub(crate) fn subscriber_mut(&mut self, id: SubscriberId) -> Option<&mut Subscriber> {
        self.subscribers.iter_mut().find(|subscriber| subscriber.id == id)
    }

    pub(crate) fn add_subscriber(&mut self, subscriber: Subscriber) {
        // Nearly every agent has one subscriber: room for four, the usual first step of a Vec, would be wasted.
        debug_assert!(self.subscriber(subscriber.id).is_none(), "the caller has closed the subscriber of this name");
        self.subscribers.reserve_exact(1);
        self.subscribers.push(subscriber);
    }

    /// Takes the subscriber out; the messages that are bound to it are the caller's to move.
    pub(crate) fn remove_subscriber(&mut self, id: SubscriberId) -> Option<Subscriber> {
        let at = self.subscribers.iter().position(|subscriber| subscriber.id == id)?;
        Some(self.subscribers.remove(at))
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
        if let Some(subscriber) = message.place.bound_to() {
            let new = held.bound.insert((subscriber, id));
            debug_assert!(new, "{id:?} was not bound to {subscriber:?} before");
        }
        if let Some(at) = message.alarm() {
            let new = held.alarms.insert((at, id));
            debug_assert!(new, "{id:?} had no alarm before");
        }
        // While a subscriber closes it is no longer listed, and the messages that were bound to it move.
        if let Some(subscriber) = message.place.occupies().and_then(|subscriber| self.subscriber_mut(subscriber)) {
            debug_assert!(
                subscriber.unacked < subscriber.spec.window,
                "{id:?} has a place in the window of {:?}",
                subscriber.id
            );
            subscriber.unacked = subscriber.unacked.saturating_add(1);
        }
    }

    fn unindex(&mut self, id: MessageId, message: &Message) {
        let held = self.held.get_or_insert_default();
        if message.place == Place::Ready {
            held.ready.remove(id, message);
        }
        if let Some(subscriber) = message.place.bound_to() {
            let known = held.bound.remove(&(subscriber, id));
            debug_assert!(known, "{id:?} was bound to {subscriber:?}");
        }
        if let Some(at) = message.alarm() {
            let known = held.alarms.remove(&(at, id));
            debug_assert!(known, "{id:?} had an alarm");
        }
        if let Some(subscriber) = message.place.occupies().and_then(|subscriber| self.subscriber_mut(subscriber)) {
            debug_assert!(subscriber.unacked > 0, "{id:?} had a place in the window of {:?}", subscriber.id);
            subscriber.unacked = subscriber.unacked.saturating_sub(1);
        }
    }
}
