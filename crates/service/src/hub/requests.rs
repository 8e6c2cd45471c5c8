//! Requests that wait for a mailbox or the store. Each is answered once.

use std::collections::HashMap;

use doorbell_mailbox::RequestId;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;
use tokio::sync::OwnedSemaphorePermit;

use super::command::{SettlePermits, SettleReply, SubmitReply};
use super::error::HubError;
use super::message::Submission;

/// A message between the door and the store.
pub(super) struct Submitting {
    pub(super) id: MessageId,
    pub(super) submission: Submission,
    /// When the hub received it: its TTL starts here.
    pub(super) taken_at: UnixMs,
    /// Why the store rejected it, if it did.
    pub(super) refused: Option<HubError>,
    pub(super) reply: SubmitReply,
    /// Counts the submission until it is answered.
    pub(super) permit: OwnedSemaphorePermit,
}

/// A message that is being settled.
pub(super) struct Settling {
    /// `None`: the client does not wait for an answer.
    pub(super) reply: Option<SettleReply>,
    pub(super) permits: SettlePermits,
}

/// All requests in progress in one shard.
#[derive(Default)]
pub(super) struct Requests {
    submitting: HashMap<RequestId, Box<Submitting>>,
    settling: HashMap<RequestId, Settling>,
    last: u64,
}

impl Requests {
    pub(super) fn issue_submit(&mut self, submitting: Submitting) -> RequestId {
        let request = self.next();
        self.submitting.insert(request, Box::new(submitting));
        request
    }

    pub(super) fn issue_settle(&mut self, settling: Settling) -> RequestId {
        let request = self.next();
        self.settling.insert(request, settling);
        request
    }

    fn next(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    /// A message that is not answered yet.
    pub(super) fn submitting(&mut self, request: RequestId) -> &mut Submitting {
        self.submitting.get_mut(&request).expect("the store answers for a message before its sender is answered")
    }

    /// Answers an application server: its message is accepted.
    pub(super) fn accept(&mut self, request: RequestId) {
        let submitting = self.take_submitting(request);
        debug_assert_eq!(submitting.refused, None, "a mailbox accepts only stored or transient messages");
        // The application server may have left, which changes nothing.
        let _ = submitting.reply.send(Ok(submitting.id));
        drop(submitting.permit);
    }

    /// Answers an application server: its message is rejected, with the store's reason.
    pub(super) fn reject(&mut self, request: RequestId) {
        let submitting = self.take_submitting(request);
        let refused = submitting.refused.expect("a mailbox rejects only what the store rejected");
        // As in `accept`.
        let _ = submitting.reply.send(Err(refused));
        drop(submitting.permit);
    }

    fn take_submitting(&mut self, request: RequestId) -> Submitting {
        *self.submitting.remove(&request).expect("a mailbox answers each submission once")
    }

    /// Whether a client waits for the answer to a settlement.
    pub(super) fn is_awaited(&self, request: RequestId) -> bool {
        self.settling.get(&request).is_some_and(|settling| settling.reply.is_some())
    }

    /// Answers the client that settled a message.
    pub(super) fn answer_settle(&mut self, request: RequestId, outcome: Result<bool, HubError>) {
        let Settling { reply, permits } = self.settling.remove(&request).expect("each settlement is answered once");
        if let Some(reply) = reply {
            // As in `accept`.
            let _ = reply.send(outcome);
        }
        drop(permits);
    }

    /// Whether every request is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.submitting.is_empty() && self.settling.is_empty()
    }
}
