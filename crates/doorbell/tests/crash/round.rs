//! What became of the messages of one round, and whether it may have.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;

use crate::letter::Letter;
use crate::receipts::Receipt;

/// What everybody saw in one round. Messages are known by the paths of their URLs.
#[derive(Default)]
pub(crate) struct Round {
    /// Answered 201, or 202 if a receipt was asked for.
    pub(crate) accepted: HashMap<String, Letter>,
    /// Sent, but the service was killed before it answered.
    pub(crate) unanswered: usize,
    /// Answered with something else.
    pub(crate) refused: Vec<StatusCode>,
    /// Received before the kill.
    pub(crate) before: HashMap<String, Arrival>,
    /// Received after the restart, and deleted.
    pub(crate) after: HashMap<String, Arrival>,
    /// Received before the kill.
    pub(crate) receipts_before: Vec<Receipt>,
    /// Received after the restart.
    pub(crate) receipts_after: Vec<Receipt>,
}

/// A message as it was received.
pub(crate) struct Arrival {
    pub(crate) body: Bytes,
    /// How its DELETE was answered; `None` if the service was killed before it did.
    pub(crate) deleted: Option<StatusCode>,
}

impl Round {
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.unanswered += other.unanswered;
        self.refused.extend(other.refused);
        self.before.extend(other.before);
        self.after.extend(other.after);
        self.receipts_before.extend(other.receipts_before);
        self.receipts_after.extend(other.receipts_after);
    }

    pub(crate) fn check(&self) {
        self.nothing_is_lost();
        self.nothing_deleted_comes_back();
        self.one_of_two_with_the_same_topic_survives();
        self.each_receipt_comes_once_and_no_other();
    }

    /// Every message that arrived at any time.
    pub(crate) fn arrived(&self) -> HashMap<&str, Letter> {
        let all = self.before.iter().chain(&self.after);
        all.map(|(path, arrival)| (path.as_str(), Letter::of(&arrival.body))).collect()
    }

    /// All receipts, in the order in which they were received.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts_before.iter().chain(&self.receipts_after)
    }

    /// Messages of the same topic, with the topic.
    pub(crate) fn topics<'a>(letters: impl IntoIterator<Item = &'a Letter>) -> HashMap<String, usize> {
        let mut topics = HashMap::new();
        for topic in letters.into_iter().filter_map(Letter::topic) {
            *topics.entry(topic).or_default() += 1;
        }
        topics
    }

    fn nothing_is_lost(&self) {
        let arrived = self.arrived();
        let topics = Self::topics(arrived.values());
        let lost = |(path, letter): &(&String, &Letter)| match letter.topic() {
            // It may have been replaced by its twin, which then was not.
            Some(topic) => !topics.contains_key(&topic),
            None => !arrived.contains_key(path.as_str()),
        };
        let lost: Vec<_> = self.accepted.iter().filter(lost).collect();
        assert!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), self.accepted.len());
        for (path, arrival) in self.before.iter().chain(&self.after) {
            let letter = Letter::of(&arrival.body);
            assert_eq!(arrival.body, letter.body(), "{path} arrived changed");
            assert_eq!(self.accepted.get(path).unwrap_or(&letter), &letter, "{path} arrived as another");
        }
    }

    fn nothing_deleted_comes_back(&self) {
        for (path, arrival) in &self.before {
            let letter = Letter::of(&arrival.body);
            match arrival.deleted {
                None => {}
                // A message whose twin had replaced it is gone before its user agent deletes it.
                Some(StatusCode::NOT_FOUND) if letter.topic().is_some() => {}
                answer => assert_eq!(answer, Some(StatusCode::NO_CONTENT), "DELETE of {letter:?}"),
            }
            let is_back = self.after.contains_key(path);
            assert!(!is_back || arrival.deleted.is_none(), "{letter:?} came back: {:?}", arrival.deleted);
        }
    }

    /// What is stored after a kill, and of no topic twice. That it is not none of two is [`Self::nothing_is_lost`].
    fn one_of_two_with_the_same_topic_survives(&self) {
        let stored: Vec<Letter> = self.after.values().map(|arrival| Letter::of(&arrival.body)).collect();
        let twice: Vec<_> = Self::topics(&stored).into_iter().filter(|(_, messages)| *messages > 1).collect();
        assert!(twice.is_empty(), "stored twice: {twice:?}");
    }

    fn each_receipt_comes_once_and_no_other(&self) {
        let arrived = self.arrived();
        let mut received = HashMap::new();
        for receipt in self.receipts() {
            let path = receipt.message.as_str();
            assert!(received.insert(path, receipt.outcome).is_none(), "doubled: {receipt:?}");
            // A receipt of an earlier round would be doubled: each was received in its round.
            let letter =
                arrived.get(path).unwrap_or_else(|| panic!("{receipt:?} of nothing that arrived in this round"));
            assert!(letter.wants_receipt(), "no sender asked for {receipt:?}");
            assert_eq!(receipt.outcome, letter.outcome(), "{letter:?}");
        }
        for (path, letter) in arrived.iter().filter(|(_, letter)| letter.wants_receipt()) {
            let is_received = received.contains_key(path);
            match self.after.get(*path).or_else(|| self.before.get(*path)).and_then(|arrival| arrival.deleted) {
                Some(StatusCode::NOT_FOUND) => assert!(!is_received, "{letter:?} was replaced and has a receipt"),
                // Its DELETE may have been done, or its twin may have replaced it.
                None if letter.topic().is_some() => {}
                answer => assert!(is_received, "the receipt of {letter:?} is lost; DELETE: {answer:?}"),
            }
        }
    }
}
