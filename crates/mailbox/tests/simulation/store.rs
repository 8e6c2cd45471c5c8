//! A model of the store: one queue of writes in front, commits that take their time, pages that are old when they come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use doorbell_mailbox::{Entry, Input, RequestId};
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use crate::random::Random;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) entry: Entry,
    pub(crate) topic: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    Append { request: RequestId, row: Row },
    Erase { id: MessageId },
    RemoveSubscription(SubscriptionId),
    RemoveAgent,
}

/// An answer on its way to the mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) input: Input,
    /// Answers about the same message keep their order; others may overtake each other.
    about: Option<MessageId>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<MessageId, Row>,
    pub(crate) subscriptions: BTreeSet<SubscriptionId>,
    pub(crate) agent_removed: bool,
    queue: VecDeque<Write>,
    answers: Vec<Answer>,
    /// A page that was asked for and not read yet.
    asked: Option<Option<MessageId>>,
    /// A page that was read and not delivered yet.
    page: Option<Input>,
    /// Whether writes may be refused and erasures may fail.
    pub(crate) faulty: bool,
}

impl Store {
    pub(crate) fn new(subscriptions: BTreeSet<SubscriptionId>) -> Self {
        Self { subscriptions, faulty: true, ..Self::default() }
    }

    pub(crate) fn write(&mut self, write: Write) {
        self.queue.push_back(write);
    }

    pub(crate) fn ask(&mut self, after: Option<MessageId>) {
        self.asked = Some(after);
    }

    /// Commits the first `count` writes of the queue.
    pub(crate) fn commit(&mut self, count: usize, random: &mut Random) {
        for _ in 0..count {
            let Some(write) = self.queue.pop_front() else { return };
            let answer = match write {
                Write::Append { request, row } => self.append(request, row, random),
                Write::Erase { id } => self.erase(id, random),
                Write::RemoveSubscription(gone) => {
                    self.subscriptions.remove(&gone);
                    self.rows.retain(|_, row| row.entry.subscription != gone);
                    Answer { input: Input::Unsubscribed { subscription: gone }, about: None }
                }
                Write::RemoveAgent => {
                    self.agent_removed = true;
                    self.subscriptions.clear();
                    self.rows.clear();
                    Answer { input: Input::AgentRemoved, about: None }
                }
            };
            self.answers.push(answer);
        }
    }

    fn append(&mut self, request: RequestId, row: Row, random: &mut Random) -> Answer {
        let id = row.entry.id;
        let known = self.subscriptions.contains(&row.entry.subscription);
        if !known || (self.faulty && random.percent(3)) {
            return Answer { input: Input::NotStored { request }, about: Some(id) };
        }
        let same = |other: &Row| other.entry.subscription == row.entry.subscription && other.topic == row.topic;
        let older = self.rows.iter().find(|(_, other)| row.topic.is_some() && same(other)).map(|(id, _)| *id);
        let replaced = older.and_then(|older| self.rows.remove(&older)).map(|older| older.entry.id);
        self.rows.insert(id, row);
        Answer { input: Input::Stored { request, replaced }, about: Some(id) }
    }

    fn erase(&mut self, id: MessageId, random: &mut Random) -> Answer {
        if !(self.faulty && random.percent(3)) {
            self.rows.remove(&id);
        }
        Answer { input: Input::Erased { id }, about: Some(id) }
    }

    /// Reads the page that was asked for; it is delivered later.
    pub(crate) fn read(&mut self, size: usize, now: UnixMs) {
        let Some(after) = self.asked.take() else { return };
        let first = after.map_or(i64::MIN, |id| id.raw() + 1);
        let from = self.rows.range(MessageId::from_raw(first)..);
        let mut live = from.map(|(_, row)| row.entry).filter(|entry| entry.expires_at > now);
        let entries: Vec<Entry> = live.by_ref().take(size).collect();
        self.page = Some(Input::Loaded { entries, more: live.next().is_some() });
    }

    pub(crate) fn take_page(&mut self) -> Option<Input> {
        self.page.take()
    }

    /// An answer that may come next.
    pub(crate) fn take_answer(&mut self, random: &mut Random) -> Option<Input> {
        if self.answers.is_empty() {
            return None;
        }
        let at = random.below(self.answers.len());
        let about = self.answers[at].about;
        let first = self.answers.iter().position(|answer| answer.about == about).unwrap_or(at);
        Some(self.answers.remove(first).input)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.answers.is_empty() && self.asked.is_none() && self.page.is_none()
    }

    /// Removes what has expired.
    pub(crate) fn sweep(&mut self, now: UnixMs) {
        self.rows.retain(|_, row| row.entry.expires_at > now);
    }

    /// What was not committed is lost, and the rest is not answered. Returns whether a write was lost.
    pub(crate) fn crash(&mut self) -> bool {
        let lost = !self.queue.is_empty();
        self.queue.clear();
        self.answers.clear();
        self.asked = None;
        self.page = None;
        lost
    }
}
