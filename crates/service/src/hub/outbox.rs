//! The shard's end of a subscriber: the queue to the door.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use super::error::HubError;
use super::message::Message;
use crate::locked::Locked;

/// The maximum of bodies in one outbox, without those of transient messages: later ones stay in the store until their
/// turn.
const BODIES_MAX: usize = 32;

/// What a door receives from its subscriber.
pub(crate) enum SubscriberEvent {
    /// Send this.
    Message(Arc<Message>),
    /// All messages were offered (`Prefer: wait=0`).
    Drained,
    /// For a watcher: messages wait, and the agent does not take them.
    Waiting(Waiting),
    /// For a watcher: the last [`SubscriberEvent::Waiting`] no longer holds.
    Quiet,
    /// The subscription or the agent has been removed.
    Gone,
    /// The stream ends early, and the agent should reconnect: the service drains.
    Ended,
    /// Another stream of the agent replaced this one, or the agent has opened too many.
    Superseded,
    /// The store cannot be read at the moment.
    Failed(HubError),
}

/// What a watcher learns of the messages that wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// How many.
    pub(crate) messages: u32,
    /// The urgency of the most urgent one.
    pub(crate) urgency: Urgency,
    /// When the oldest one was accepted.
    pub(crate) since: UnixMs,
    /// When the last one of them expires.
    pub(crate) expires: UnixMs,
}

/// An entry of an outbox.
pub(super) enum Delivery {
    /// Send this message, which is in memory.
    Message(Arc<Message>),
    /// Send this message, which is in the store, perhaps under its second version.
    Stored { id: MessageId, is_second: bool },
    /// An event without a message.
    Event(SubscriberEvent),
}

/// The queue between a shard and a door. It is smaller than a channel, and empty while idle.
#[derive(Default)]
pub(super) struct Outbox(Locked<Queued>);

#[derive(Default)]
struct Queued {
    /// Each message once, without finished ones: even for a slow client it is not longer than the mailbox.
    deliveries: VecDeque<Delivery>,
    waker: Option<Waker>,
}

/// The next entry of an outbox.
pub(super) enum Next {
    Event(SubscriberEvent),
    /// These messages are in the store; there is at least one. They keep their places.
    Stored(Vec<MessageId>),
}

impl Outbox {
    /// Adds to the queue. A message that is already in it keeps its place: its client was slower than the
    /// acknowledgement time-out of the mailbox. The version is the last one.
    pub(super) fn put(&self, delivery: Delivery) {
        let mut waiting = self.0.lock();
        if let Some(place) = delivery.message().and_then(|id| waiting.place(id)) {
            if delivery.is_second() && !waiting.deliveries[place].is_second() {
                waiting.deliveries[place] = delivery;
            }
            return;
        }
        let crowded = waiting.deliveries.len() >= BODIES_MAX;
        waiting.deliveries.push_back(match delivery {
            Delivery::Message(message) if crowded && !message.is_transient() => {
                Delivery::Stored { id: message.id, is_second: message.is_second }
            }
            other => other,
        });
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds what a watcher learns. It replaces what the watcher has not read: only the latest counts.
    pub(super) fn put_latest(&self, event: SubscriberEvent) {
        let is_older = |delivery: &Delivery| {
            matches!(delivery, Delivery::Event(SubscriberEvent::Waiting(_) | SubscriberEvent::Quiet))
        };
        self.0.lock().deliveries.retain(|delivery| !is_older(delivery));
        self.put(Delivery::Event(event));
    }

    /// Removes all entries and adds the end.
    pub(super) fn end(&self, why: SubscriberEvent) {
        self.0.lock().deliveries.clear();
        self.put(Delivery::Event(why));
    }

    /// Removes a finished message: settled, replaced, expired or removed.
    pub(super) fn recall(&self, id: MessageId) {
        self.0.lock().remove(id);
    }

    /// The next entry, if there is one; `one`: no more than one id of a stored message.
    pub(super) fn next(&self, one: bool) -> Option<Next> {
        self.0.lock().next(if one { 1 } else { BODIES_MAX })
    }

    /// Replaces an id with the message from the store, unless it was recalled meanwhile.
    pub(super) fn fill(&self, message: Message) {
        let mut waiting = self.0.lock();
        if let Some(place) = waiting.place(message.id) {
            let is_second = waiting.deliveries[place].is_second();
            waiting.deliveries[place] = Delivery::Message(Arc::new(Message { is_second, ..message }));
        }
    }

    /// Ready if there is an entry; otherwise the task is woken by the next one.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.lock();
        if !waiting.deliveries.is_empty() {
            return Poll::Ready(());
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Drops the waker of a waiting task: it would keep the connection's task in memory.
    pub(super) fn forget_waker(&self) {
        self.0.lock().waker = None;
    }
}

impl Queued {
    fn place(&self, id: MessageId) -> Option<usize> {
        self.deliveries.iter().position(|delivery| delivery.message() == Some(id))
    }

    fn remove(&mut self, id: MessageId) {
        if let Some(place) = self.place(id) {
            self.deliveries.remove(place);
        }
        debug_assert!(self.place(id).is_none(), "an outbox holds a message once");
    }

    fn next(&mut self, ids_max: usize) -> Option<Next> {
        match self.deliveries.pop_front()? {
            Delivery::Message(message) => Some(Next::Event(SubscriberEvent::Message(message))),
            Delivery::Event(event) => Some(Next::Event(event)),
            first @ Delivery::Stored { .. } => {
                self.deliveries.push_front(first);
                let stored = |d: &Delivery| if let Delivery::Stored { id, .. } = d { Some(*id) } else { None };
                Some(Next::Stored(self.deliveries.iter().map_while(stored).take(ids_max).collect()))
            }
        }
    }
}

impl Delivery {
    fn message(&self) -> Option<MessageId> {
        match self {
            Self::Message(message) => Some(message.id),
            Self::Stored { id, .. } => Some(*id),
            Self::Event(_) => None,
        }
    }

    fn is_second(&self) -> bool {
        match self {
            Self::Message(message) => message.is_second,
            Self::Stored { is_second, .. } => *is_second,
            Self::Event(_) => false,
        }
    }
}
#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use doorbell_protocol::id::SubscriptionId;
    use doorbell_protocol::message::ContentHeaders;
    use doorbell_protocol::time::UnixMs;

    use super::*;

    fn message(n: i64, expires_at: Option<UnixMs>) -> Delivery {
        let body = Bytes::from_static(b"body");
        let (id, subscription) = (MessageId::from_raw(n), SubscriptionId::from_raw(1));
        let headers = ContentHeaders::default();
        Delivery::Message(Arc::new(Message { id, subscription, headers, body, expires_at, is_second: false }))
    }

    fn stored(n: i64, is_second: bool) -> Delivery {
        Delivery::Stored { id: MessageId::from_raw(n), is_second }
    }

    fn bodies(outbox: &Outbox) -> usize {
        outbox.0.lock().deliveries.iter().filter(|d| matches!(d, Delivery::Message(_))).count()
    }

    #[test]
    fn an_outbox_that_no_door_empties_holds_each_message_once_and_few_bodies() {
        let outbox = Outbox::default();
        for _ in 0..5 {
            for n in 0..1000 {
                outbox.put(message(n, Some(UnixMs::from_secs(60))));
            }
        }
        assert_eq!(outbox.0.lock().deliveries.len(), 1000);
        assert_eq!(bodies(&outbox), BODIES_MAX);
        (0..1000).for_each(|n| outbox.recall(MessageId::from_raw(n)));
        assert!(outbox.0.lock().deliveries.is_empty());
    }

    #[test]
    fn a_transient_message_keeps_its_body_which_is_nowhere_else() {
        let outbox = Outbox::default();
        (0..100).for_each(|n| outbox.put(message(n, None)));
        assert_eq!(bodies(&outbox), 100);
    }

    #[test]
    fn a_watcher_that_reads_nothing_keeps_the_latest_only() {
        let outbox = Outbox::default();
        let at = UnixMs::from_secs(60);
        for messages in 1..1000 {
            outbox.put_latest(SubscriberEvent::Quiet);
            let waiting = Waiting { messages, urgency: Urgency::Normal, since: at, expires: at };
            outbox.put_latest(SubscriberEvent::Waiting(waiting));
        }
        outbox.put(Delivery::Event(SubscriberEvent::Gone));
        let next = outbox.next(false);
        assert!(matches!(next, Some(Next::Event(SubscriberEvent::Waiting(waiting))) if waiting.messages == 999));
        assert!(matches!(outbox.next(false), Some(Next::Event(SubscriberEvent::Gone))));
        assert!(outbox.next(false).is_none());
    }

    #[test]
    fn a_message_that_waits_under_its_first_version_goes_under_its_second_if_that_is_due() {
        for first in [stored(1, false), message(1, Some(UnixMs::from_secs(60)))] {
            let outbox = Outbox::default();
            outbox.put(first);
            outbox.put(stored(1, true));
            outbox.put(stored(1, false));
            let Some(Next::Stored(ids)) = outbox.next(false) else { panic!("it is read from the store") };
            assert_eq!(ids, [MessageId::from_raw(1)]);
            let Delivery::Message(read) = message(1, None) else { panic!("it is one") };
            outbox.fill(Arc::into_inner(read).unwrap());
            let next = outbox.next(false);
            assert!(matches!(next, Some(Next::Event(SubscriberEvent::Message(message))) if message.is_second));
        }
    }

    #[test]
    fn what_is_recalled_while_it_is_read_does_not_come_back() {
        let outbox = Outbox::default();
        (1..=2).for_each(|n| outbox.put(stored(n, false)));
        let Some(Next::Stored(ids)) = outbox.next(false) else { panic!("both are in the store") };
        assert_eq!(ids.len(), 2);
        outbox.recall(ids[0]);
        for id in ids {
            let Delivery::Message(read) = message(id.raw(), None) else { continue };
            outbox.fill(Arc::into_inner(read).unwrap());
        }
        let next = outbox.next(false);
        assert!(matches!(next, Some(Next::Event(SubscriberEvent::Message(m))) if m.id == MessageId::from_raw(2)));
        assert!(outbox.next(false).is_none());
    }
}
