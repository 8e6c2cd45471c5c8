//! A link: one open delivery stream between a mailbox and a door.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use doorbell_mailbox::LinkId;
use doorbell_protocol::id::{AgentId, MessageId};

use super::message::Message;
use super::shard::Command;
use super::{Hub, HubError};

/// Bodies fetched from the store at a time.
const FETCHED_MAX: usize = 32;

/// What a door gets from its link.
pub(crate) enum LinkEvent {
    /// Send this.
    Message(Arc<Message>),
    /// Everything there was has been offered (`Prefer: wait=0`).
    Drained,
    /// The subscription or the agent has been removed.
    Gone,
    /// The service drains: end the stream, the agent will come again.
    Stopping,
}

/// A door's end of a link. Dropping it disconnects: what was not acknowledged is undelivered again.
pub(crate) struct Link {
    hub: Arc<Hub>,
    agent: AgentId,
    id: LinkId,
    outbox: Arc<Outbox>,
    /// Taken from the outbox and not yet given to the door.
    taken: VecDeque<Delivery>,
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
    deliveries: VecDeque<Delivery>,
    waker: Option<Waker>,
}

impl Outbox {
    /// Adds to the queue. The mailbox keeps to the link's window, so the queue is never longer than that.
    pub(super) fn put(&self, delivery: Delivery) {
        let mut waiting = self.lock();
        waiting.deliveries.push_back(delivery);
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until there is something, and takes it all.
    async fn take(&self) -> VecDeque<Delivery> {
        poll_fn(|cx| {
            let mut waiting = self.lock();
            if waiting.deliveries.is_empty() {
                waiting.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut waiting.deliveries))
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    pub(super) fn new(hub: Arc<Hub>, agent: AgentId, id: LinkId, outbox: Arc<Outbox>) -> Self {
        Self { hub, agent, id, outbox, taken: VecDeque::new() }
    }

    /// Waits for the next event. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        loop {
            match self.taken.front() {
                None => self.taken = self.outbox.take().await,
                Some(Delivery::Stored(_)) => {
                    if self.fetch().await.is_err() {
                        // The store cannot be read now: the agent comes again when it can.
                        return LinkEvent::Stopping;
                    }
                }
                Some(_) => match self.taken.pop_front() {
                    Some(Delivery::Message(message)) if !self.is_late(&message) => return LinkEvent::Message(message),
                    Some(Delivery::Message(late)) => self.gone(late.id),
                    Some(Delivery::Event(event)) => return event,
                    Some(Delivery::Stored(_)) | None => {}
                },
            }
        }
    }

    /// The client refused or reset the push.
    pub(crate) fn declined(&self, id: MessageId) {
        self.hub.tell(self.agent, Command::Declined { agent: self.agent, link: self.id, id });
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
    async fn fetch(&mut self) -> Result<(), HubError> {
        let stored = |d: &Delivery| if let Delivery::Stored(id) = d { Some(*id) } else { None };
        let ids: Vec<_> = self.taken.iter().map_while(stored).take(FETCHED_MAX).collect();
        let found = self.hub.store.messages(ids.clone(), self.hub.clock.now()).await?;
        self.taken.drain(..ids.len());
        for (id, message) in ids.into_iter().zip(found).rev() {
            match message {
                Some(message) => self.taken.push_front(Delivery::Message(Arc::new(message.into()))),
                None => self.gone(id),
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
