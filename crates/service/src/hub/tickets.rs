//! Requests that wait for a mailbox or the store.

use std::collections::HashMap;

use doorbell_mailbox::Ticket;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::HubError;
use super::message::Submission;

/// A request in progress.
pub(super) enum Waiting {
    /// An application server waits for its message to be accepted.
    Submit(Box<Submitting>),
    /// Somebody waits for a message to be settled.
    Settle { reply: Option<oneshot::Sender<Result<bool, HubError>>>, places: Places },
}

/// What a settlement occupies until it is answered.
pub(super) struct Places {
    /// Its place among those of its shard.
    pub(super) _of_shard: OwnedSemaphorePermit,
    /// Its place among those of its socket, if it came over one.
    pub(super) _of_link: Option<OwnedSemaphorePermit>,
}

/// A message between the door and the store.
pub(super) struct Submitting {
    pub(super) id: MessageId,
    pub(super) submission: Submission,
    /// When it was taken in: its TTL counts from here.
    pub(super) taken_at: UnixMs,
    /// Why the store refused it, once it has.
    pub(super) refused: Option<HubError>,
    pub(super) reply: oneshot::Sender<Result<MessageId, HubError>>,
    /// Its place among the submissions under way, given back when it is answered.
    pub(super) permit: OwnedSemaphorePermit,
}

/// All requests in progress in one shard.
#[derive(Default)]
pub(super) struct Tickets {
    waiting: HashMap<Ticket, Waiting>,
    last: u64,
}

impl Tickets {
    pub(super) fn issue(&mut self, waiting: Waiting) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.waiting.insert(ticket, waiting);
        ticket
    }

    pub(super) fn submitting(&mut self, ticket: Ticket) -> Option<&mut Submitting> {
        match self.waiting.get_mut(&ticket)? {
            Waiting::Submit(submitting) => Some(submitting),
            Waiting::Settle { .. } => None,
        }
    }

    /// Answers an application server. Nobody may be listening any more, which changes nothing.
    pub(super) fn answer_submit(&mut self, ticket: Ticket, accepted: bool) {
        if let Some(Waiting::Submit(submitting)) = self.waiting.remove(&ticket) {
            let refused = submitting.refused.unwrap_or(HubError::Unavailable);
            let _ = submitting.reply.send(if accepted { Ok(submitting.id) } else { Err(refused) });
            drop(submitting.permit);
        }
    }

    /// Whether somebody waits to hear how a settlement went.
    pub(super) fn is_awaited(&self, ticket: Ticket) -> bool {
        matches!(self.waiting.get(&ticket), Some(Waiting::Settle { reply: Some(_), .. }))
    }

    /// Answers whoever settled a message.
    pub(super) fn answer_settle(&mut self, ticket: Ticket, outcome: Result<bool, HubError>) {
        if let Some(Waiting::Settle { reply, places }) = self.waiting.remove(&ticket) {
            if let Some(reply) = reply {
                let _ = reply.send(outcome);
            }
            drop(places);
        }
    }
}
