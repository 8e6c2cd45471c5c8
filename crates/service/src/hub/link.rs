//! A link: one open delivery stream between a mailbox and a door.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use doorbell_mailbox::LinkId;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::receipt::Outcome;
use doorbell_store::Lookup;
use tokio::sync::{Semaphore, oneshot};

use super::message::Message;
use super::shard::Command;
use super::tickets::Places;
use super::{Hub, HubError};

/// Bodies in one outbox, beside those of transient messages: those further behind stay in the store until their turn.
const BODIES_MAX: usize = 32;

/// What a door gets from its link.
pub(crate) enum LinkEvent {
    /// Send this.
    Message(Arc<Message>),
    /// Everything there was has been offered (`Prefer: wait=0`).
    Drained,
    /// The subscription or the agent has been removed.
    Gone,
    /// The link has to end before its time, and the agent should come again: the service drains.
    Ended,
    /// The agent has another one in its place, or has opened too many.
    Superseded,
    /// What is stored cannot be read at the moment.
    Failed(HubError),
}

/// Settlements of one socket that are under way: enough to share commits, and few enough to leave room for others.
const SETTLING_MAX: usize = 64;

/// A door's end of a link. Dropping it disconnects: what was not acknowledged is undelivered again.
pub(crate) struct Link {
    hub: Arc<Hub>,
    agent: AgentId,
    id: LinkId,
    outbox: Arc<Outbox>,
    /// Made for the first settlement: most agents wait for long before there is one.
    settling: OnceLock<Arc<Semaphore>>,
}

/// What a shard puts into an outbox.
pub(super) enum Delivery {
    /// Send this message, which is at hand.
    Message(Arc<Message>),
    /// Send this message, which is in the store.
    Stored(MessageId),
    /// An event without a message.
    Event(LinkEvent),
}

/// The shard's end of a link: what is on its way to the door. Smaller than a channel, and empty while idle.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Each message once, and none that is over: no client, however slow, makes it longer than its mailbox.
    deliveries: VecDeque<Delivery>,
    waker: Option<Waker>,
}

/// What comes next out of an outbox.
enum Next {
    Event(LinkEvent),
    /// These messages, which are in the store. They keep their places.
    Stored(Vec<MessageId>),
}

impl Delivery {
    fn message(&self) -> Option<MessageId> {
        match self {
            Self::Message(message) => Some(message.id),
            Self::Stored(id) => Some(*id),
            Self::Event(_) => None,
        }
    }
}

impl Waiting {
    fn place(&self, id: MessageId) -> Option<usize> {
        self.deliveries.iter().position(|delivery| delivery.message() == Some(id))
    }

    fn next(&mut self) -> Option<Next> {
        let stored = |d: &Delivery| if let Delivery::Stored(id) = d { Some(*id) } else { None };
        let ids: Vec<_> = self.deliveries.iter().map_while(stored).take(BODIES_MAX).collect();
        if !ids.is_empty() {
            return Some(Next::Stored(ids));
        }
        match self.deliveries.pop_front()? {
            Delivery::Message(message) => Some(Next::Event(LinkEvent::Message(message))),
            Delivery::Event(event) => Some(Next::Event(event)),
            Delivery::Stored(id) => Some(Next::Stored(vec![id])),
        }
    }
}

impl Outbox {
    /// Adds to the queue. A message that is in it, because the client has been slow for longer than the mailbox waits
    /// for an acknowledgement, keeps its place.
    pub(super) fn put(&self, delivery: Delivery) {
        let mut waiting = self.lock();
        if delivery.message().is_some_and(|id| waiting.place(id).is_some()) {
            return;
        }
        let crowded = waiting.deliveries.len() >= BODIES_MAX;
        waiting.deliveries.push_back(match delivery {
            Delivery::Message(message) if crowded && !message.is_transient() => Delivery::Stored(message.id),
            other => other,
        });
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Leaves nothing in it but its end.
    pub(super) fn end(&self, why: LinkEvent) {
        self.lock().deliveries.clear();
        self.put(Delivery::Event(why));
    }

    /// Takes out a message that is over: settled, replaced, expired or removed.
    pub(super) fn recall(&self, id: MessageId) {
        let mut waiting = self.lock();
        if let Some(place) = waiting.place(id) {
            waiting.deliveries.remove(place);
        }
    }

    /// Puts a message in the place of its id; whether there was one to put.
    fn fill(&self, id: MessageId, message: Option<Message>) -> bool {
        let mut waiting = self.lock();
        let found = message.is_some();
        if let Some(place) = waiting.place(id) {
            match message {
                Some(message) => waiting.deliveries[place] = Delivery::Message(Arc::new(message)),
                None => drop(waiting.deliveries.remove(place)),
            }
        }
        found
    }

    /// Whether something is in it; if not, the task is woken when there is.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if !waiting.deliveries.is_empty() {
            return Poll::Ready(());
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    pub(super) fn new(hub: Arc<Hub>, agent: AgentId, id: LinkId, outbox: Arc<Outbox>) -> Self {
        Self { hub, agent, id, outbox, settling: OnceLock::new() }
    }

    /// Waits for the next event. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        loop {
            poll_fn(|cx| self.poll_ready(cx)).await;
            // On the heap: a wait for the next event has no use for its room.
            if let Some(event) = Box::pin(self.at_hand()).await {
                return event;
            }
        }
    }

    /// Waits until there may be an event at hand.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.outbox.poll_ready(cx)
    }

    /// The next event, if there is one: it may have to be read from the store, but is not waited for. Nothing is lost when
    /// this is given up.
    pub(crate) async fn at_hand(&mut self) -> Option<LinkEvent> {
        loop {
            let next = self.outbox.lock().next()?;
            match next {
                Next::Stored(ids) => {
                    if let Err(error) = self.fetch(ids).await {
                        return Some(LinkEvent::Failed(error));
                    }
                }
                Next::Event(LinkEvent::Message(late)) if self.is_late(&late) => self.gone(late.id),
                Next::Event(event) => return Some(event),
            }
        }
    }

    /// The next event of the link, if there is one; none for ever, if there is not.
    pub(crate) async fn next_of(link: &mut Option<Self>) -> LinkEvent {
        match link {
            Some(link) => link.next().await,
            None => std::future::pending().await,
        }
    }

    /// The client refused or reset the push.
    pub(crate) fn declined(&self, id: MessageId) {
        self.hub.tell(self.agent, Command::Declined { agent: self.agent, link: self.id, id });
    }

    /// The client acknowledged the message. Waits while too many settlements are under way, and not for this one.
    pub(crate) async fn settle(&self, id: MessageId, outcome: Outcome) {
        self.settle_and_tell(id, outcome, None).await;
    }

    /// The client said that it has the message. Waits until it cannot come again, not even after a crash; whether there was
    /// such a message.
    pub(crate) async fn settle_for_good(&self, id: MessageId, outcome: Outcome) -> Result<bool, HubError> {
        let (reply, answer) = oneshot::channel();
        self.settle_and_tell(id, outcome, Some(reply)).await;
        answer.await.unwrap_or(Err(HubError::Unavailable))
    }

    async fn settle_and_tell(
        &self,
        id: MessageId,
        outcome: Outcome,
        reply: Option<oneshot::Sender<Result<bool, HubError>>>,
    ) {
        let settling = self.settling.get_or_init(|| Arc::new(Semaphore::new(SETTLING_MAX)));
        let of_link = settling.clone().acquire_owned().await.ok();
        let settlements = self.hub.shard(self.agent).settlements.clone();
        // Neither is ever closed.
        let Ok(of_shard) = settlements.acquire_owned().await else { return };
        let places = Places { _of_shard: of_shard, _of_link: of_link };
        self.hub.tell(self.agent, Command::Settle { agent: self.agent, id, outcome, reply, places });
    }

    /// The client has the message and has not acknowledged it: nothing waits for that any longer.
    pub(crate) fn arrived(&self, id: MessageId) {
        self.hub.tell(self.agent, Command::Arrived { agent: self.agent, link: self.id, id });
    }

    /// The least urgency that the client wants from now on.
    pub(crate) fn set_floor(&self, floor: Option<Urgency>) {
        self.hub.tell(self.agent, Command::SetFloor { agent: self.agent, link: self.id, floor });
    }

    /// The message is not there any more.
    pub(crate) fn gone(&self, id: MessageId) {
        self.hub.tell(self.agent, Command::Gone { agent: self.agent, link: self.id, id });
    }

    /// Whether it expired while the client's window was shut (PS-8030-5.2-7).
    fn is_late(&self, message: &Message) -> bool {
        message.expires_at.is_some_and(|at| at <= self.hub.clock.now())
    }

    /// Reads the messages that come next, together.
    async fn fetch(&self, ids: Vec<MessageId>) -> Result<(), HubError> {
        let found = self.hub.store.messages(ids.clone(), self.hub.clock.now()).await?;
        for (id, lookup) in ids.into_iter().zip(found) {
            let message = match lookup {
                Lookup::Stored(message) => Some(Message::from(message)),
                // The next load reports a damaged message to the shard, which drops it.
                Lookup::Absent | Lookup::Damaged => None,
            };
            if !self.outbox.fill(id, message) {
                self.gone(id);
            }
        }
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A waker left behind would keep the connection's task in memory.
        self.outbox.lock().waker = None;
        self.hub.tell(self.agent, Command::Disconnect { agent: self.agent, link: self.id });
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
        Delivery::Message(Arc::new(Message { id, subscription, headers: ContentHeaders::default(), body, expires_at }))
    }

    fn bodies(outbox: &Outbox) -> usize {
        outbox.lock().deliveries.iter().filter(|d| matches!(d, Delivery::Message(_))).count()
    }

    #[test]
    fn an_outbox_that_nobody_empties_holds_each_message_once_and_few_bodies() {
        let outbox = Outbox::default();
        for _ in 0..5 {
            for n in 0..1000 {
                outbox.put(message(n, Some(UnixMs::from_secs(60))));
            }
        }
        assert_eq!(outbox.lock().deliveries.len(), 1000);
        assert_eq!(bodies(&outbox), BODIES_MAX);
        (0..1000).for_each(|n| outbox.recall(MessageId::from_raw(n)));
        assert!(outbox.lock().deliveries.is_empty());
    }

    #[test]
    fn a_transient_message_keeps_its_body_which_is_nowhere_else() {
        let outbox = Outbox::default();
        (0..100).for_each(|n| outbox.put(message(n, None)));
        assert_eq!(bodies(&outbox), 100);
    }

    #[test]
    fn what_is_recalled_while_it_is_read_does_not_come_back() {
        let outbox = Outbox::default();
        (1..=2).for_each(|n| outbox.put(Delivery::Stored(MessageId::from_raw(n))));
        let Some(Next::Stored(ids)) = outbox.lock().next() else { panic!("both are in the store") };
        assert_eq!(ids.len(), 2);
        outbox.recall(ids[0]);
        for id in ids {
            let Delivery::Message(read) = message(id.raw(), None) else { continue };
            outbox.fill(id, Arc::into_inner(read));
        }
        let next = outbox.lock().next();
        assert!(matches!(next, Some(Next::Event(LinkEvent::Message(m))) if m.id == MessageId::from_raw(2)));
        assert!(outbox.lock().next().is_none());
    }
}
