//! How far a receipt subscription was read: the caller gets each receipt once, and the push service gets the
//! acknowledgement (Last-Event-ID) when the caller has processed it.

use std::collections::{HashSet, VecDeque};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;

use super::events::Event;
use super::receipt::Receipt;
use crate::endpoint::Endpoint;

/// How many messages are remembered, to recognize a receipt that comes again. The push service Doorbell keeps at most
/// 10,000 receipts for a subscription, and an acknowledged one does not come again.
const SEEN_MAX: usize = 16 * 1024;

/// 16 bytes of the hash of a message's URL: the URL itself is a secret, and not needed for this.
type Fingerprint = [u8; 16];

/// Where a reader is in its stream, across connections.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The id of the last event that was processed.
    taken: Option<String>,
    /// The id of the receipt that the caller is processing.
    in_progress: Option<String>,
    seen: HashSet<Fingerprint>,
    seen_in_order: VecDeque<Fingerprint>,
}

impl Progress {
    /// An earlier reader processed everything up to the event `id`.
    pub(super) fn after(id: &str) -> Self {
        Self { taken: Some(id.to_owned()), ..Self::default() }
    }

    /// The caller has processed the receipt that it got.
    pub(super) fn settle(&mut self) {
        self.taken = self.in_progress.take().or(self.taken.take());
    }

    /// The id of the last event that was processed.
    pub(super) fn taken(&self) -> Option<&str> {
        self.taken.as_deref().filter(|id| !id.is_empty())
    }

    /// The same for Last-Event-ID. An id that no header can contain is not sent, and what it acknowledges comes again.
    pub(super) fn last_event_id(&self) -> Option<HeaderValue> {
        self.taken().and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok())
    }

    /// The receipt in `event`, if it is one and is new. The receipt before it must be settled.
    pub(super) fn admit(&mut self, event: Event, source: &Endpoint) -> Option<Receipt> {
        debug_assert!(self.in_progress.is_none(), "the caller has one receipt at a time");
        let receipt = Receipt::read(&event, source).filter(|receipt| self.note(&receipt.message));
        match &receipt {
            Some(_) => self.in_progress = event.id,
            // The caller does not get it.
            None => self.taken = event.id.or(self.taken.take()),
        }
        receipt
    }

    /// Whether `message` is seen for the first time.
    fn note(&mut self, message: &str) -> bool {
        let mut fingerprint = Fingerprint::default();
        fingerprint.iter_mut().zip(digest(&SHA256, message.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        let is_new = self.seen.insert(fingerprint);
        if is_new {
            self.seen_in_order.push_back(fingerprint);
        }
        if self.seen_in_order.len() > SEEN_MAX {
            self.seen_in_order.pop_front().map(|oldest| self.seen.remove(&oldest));
        }
        debug_assert_eq!(self.seen.len(), self.seen_in_order.len(), "both have the same messages");
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::super::receipt::KIND;
    use super::*;

    fn source() -> Endpoint {
        Endpoint::parse("https://push.example.net/r/1").unwrap()
    }

    fn event(id: &str, message: usize) -> Event {
        let data = format!(r#"{{"message":"/m/{message}","status":204}}"#);
        Event { id: Some(id.to_owned()), kind: KIND.to_owned(), data }
    }

    #[test]
    fn a_receipt_is_taken_when_the_caller_asks_for_the_next_one() {
        let mut progress = Progress::after("3");
        assert!(progress.admit(event("4", 1), &source()).is_some());
        assert_eq!(progress.taken(), Some("3"));
        progress.settle();
        assert_eq!(progress.last_event_id().unwrap(), "4");
        progress.settle();
        assert_eq!(progress.taken(), Some("4"));
    }

    #[test]
    fn what_comes_again_or_is_not_a_receipt_is_skipped_and_counts_as_taken() {
        let mut progress = Progress::default();
        assert!(progress.admit(event("1", 1), &source()).is_some());
        progress.settle();
        assert!(progress.admit(event("2", 1), &source()).is_none());
        assert_eq!(progress.taken(), Some("2"));
        assert!(progress.admit(Event { kind: "news".to_owned(), ..event("3", 2) }, &source()).is_none());
        assert_eq!(progress.taken(), Some("3"));
        let nameless = Event { id: None, ..event("", 3) };
        assert!(progress.admit(nameless, &source()).is_some());
        progress.settle();
        assert_eq!(progress.taken(), Some("3"), "a stream without ids moves nothing");
    }

    #[test]
    fn an_empty_id_and_one_that_no_header_can_contain_are_not_sent() {
        assert_eq!(Progress::after("").last_event_id(), None);
        assert_eq!(Progress::after("a\u{1}").last_event_id(), None);
        assert_eq!(Progress::after("é").last_event_id().unwrap(), "é".as_bytes());
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut progress = Progress::default();
        for message in 0..=SEEN_MAX {
            assert!(progress.admit(event("1", message), &source()).is_some());
            progress.settle();
        }
        assert_eq!((progress.seen.len(), progress.seen_in_order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(progress.admit(event("1", 1), &source()).is_none());
        assert!(progress.admit(event("1", 0), &source()).is_some());
    }
}
