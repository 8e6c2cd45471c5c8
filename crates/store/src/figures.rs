//! Numbers for an operator: what the store holds, how messages ended, and how long commits take.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbell_protocol::receipt::Outcome;

use crate::error::StoreError;

/// The bounds of the buckets of [`Commits::duration_micros`]. A good disk syncs in less than a millisecond, a slow one in
/// some ten; at the last one senders have waited too long.
pub const COMMIT_MICROS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];

/// The bounds of the buckets of [`Commits::batch_writes`], up to the default of `batch_writes_max`.
pub const BATCH_WRITES: [u64; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];

/// What the store knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// After the last commit.
    pub contents: Contents,
    /// Since the store was opened.
    pub commits: Commits,
    /// Writes that wait for a commit.
    pub queued_writes: u64,
}

/// What an engine holds, and what became of the messages that it no longer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Agents.
    pub agents: u64,
    /// Of these, the ones that were never used.
    pub unused_agents: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Messages, with expired ones that no sweep has removed yet.
    pub messages: u64,
    /// What counts for `Limits::bytes_max`.
    pub bytes: u64,
    /// Receipts that no application server has taken.
    pub receipts: u64,
    /// Receipt subscriptions.
    pub receipt_subscriptions: u64,
    /// Of these, the ones from which no receipt was ever taken.
    pub unused_receipt_subscriptions: u64,
    /// The reserve on the disk, in bytes; 0 while it is given up because the disk is full.
    pub reserve_bytes: u64,
    /// What the store may use of the disk: what is free there and inside the database, at its last look, which follows each
    /// commit. `None` if the file system does not report its size.
    pub disk_available_bytes: Option<u64>,
    /// Messages that ended since the store was opened.
    pub ended: Ended,
    /// Batches whose outcome was unknown for a while since the store was opened.
    pub resolved: Resolved,
}

/// Batches whose answer from the database was lost, by what had become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// They had been committed.
    pub happened: u64,
    /// They had not, and cannot be any more.
    pub not_happened: u64,
}

/// How many stored messages ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// In the order of [`Outcome::ALL`].
    outcomes: [u64; Outcome::ALL.len()],
    /// Messages that a newer one of their topic replaced.
    pub replaced: u64,
}

/// The commits of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// How long each took, with its sync, in microseconds.
    pub duration_micros: Distribution<{ COMMIT_MICROS.len() }>,
    /// How many writes each had.
    pub batch_writes: Distribution<{ BATCH_WRITES.len() }>,
    /// Batches that were rolled back: for lack of room, or after an error of the engine.
    pub rolled_back: u64,
}

/// Values, counted in buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution<const BUCKETS: usize> {
    /// Values up to the bound of each bucket and above that of the one before.
    pub buckets: [u64; BUCKETS],
    /// All values, with those above the last bound.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

/// What the committer publishes for other threads.
#[derive(Clone)]
pub(crate) struct Published(Arc<Mutex<State>>);

struct State {
    receipt_room: Result<(), StoreError>,
    contents: Contents,
    commits: Commits,
}

impl Figures {
    /// Those of two cells together.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.contents.add(&other.contents);
        self.commits.duration_micros.add_all(&other.commits.duration_micros);
        self.commits.batch_writes.add_all(&other.commits.batch_writes);
        self.commits.rolled_back += other.commits.rolled_back;
        self.queued_writes += other.queued_writes;
        self
    }
}

impl Contents {
    fn add(&mut self, other: &Self) {
        // The disk with the least room is the one to look after. A database has none of ours.
        self.reserve_bytes = match (self.disk_available_bytes, other.disk_available_bytes) {
            (Some(_), Some(_)) => self.reserve_bytes.min(other.reserve_bytes),
            _ => self.reserve_bytes.max(other.reserve_bytes),
        };
        let known = self.disk_available_bytes.into_iter().chain(other.disk_available_bytes);
        self.disk_available_bytes = known.min();
        self.agents += other.agents;
        self.unused_agents += other.unused_agents;
        self.subscriptions += other.subscriptions;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.receipts += other.receipts;
        self.receipt_subscriptions += other.receipt_subscriptions;
        self.unused_receipt_subscriptions += other.unused_receipt_subscriptions;
        self.ended.outcomes.iter_mut().zip(other.ended.outcomes).for_each(|(count, other)| *count += other);
        self.ended.replaced += other.ended.replaced;
        self.resolved.happened += other.resolved.happened;
        self.resolved.not_happened += other.resolved.not_happened;
    }
}

impl Ended {
    /// The messages with this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[place(outcome)]
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.outcomes[place(outcome)] += 1;
    }
}

/// The place of an outcome in [`Outcome::ALL`].
fn place(outcome: Outcome) -> usize {
    usize::from(outcome.code()) - 1
}

impl<const BUCKETS: usize> Distribution<BUCKETS> {
    pub(crate) fn add(&mut self, value: u64, bounds: &[u64; BUCKETS]) {
        if let Some(bucket) = self.buckets.get_mut(bounds.partition_point(|bound| *bound < value)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }
}

impl<const BUCKETS: usize> Distribution<BUCKETS> {
    fn add_all(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(count, other)| *count += other);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }
}

impl<const BUCKETS: usize> Default for Distribution<BUCKETS> {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, sum: 0 }
    }
}

impl Published {
    pub(crate) fn new(receipt_room: Result<(), StoreError>, contents: Contents) -> Self {
        Self(Arc::new(Mutex::new(State { receipt_room, contents, commits: Commits::default() })))
    }

    pub(crate) fn receipt_room(&self) -> Result<(), StoreError> {
        self.with(|state| state.receipt_room)
    }

    pub(crate) fn contents(&self) -> Contents {
        self.with(|state| state.contents)
    }

    /// What the store knows of itself, with the length of its queue.
    pub(crate) fn figures(&self, queued_writes: usize) -> Figures {
        let (contents, commits) = self.with(|state| (state.contents, state.commits));
        Figures { contents, commits, queued_writes: queued_writes as u64 }
    }

    /// An engine has changed what it holds.
    pub(crate) fn set(&self, receipt_room: Result<(), StoreError>, contents: Contents) {
        self.with(|state| (state.receipt_room, state.contents) = (receipt_room, contents));
    }

    pub(crate) fn committed(&self, took: Duration, writes: usize) {
        let micros = u64::try_from(took.as_micros()).expect("no commit takes half a million years");
        self.with(|state| {
            state.commits.duration_micros.add(micros, &COMMIT_MICROS);
            state.commits.batch_writes.add(writes as u64, &BATCH_WRITES);
        });
    }

    pub(crate) fn rolled_back(&self) {
        self.with(|state| state.commits.rolled_back += 1);
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("an addition does not panic"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut distribution = Distribution::default();
        for value in [0, 10, 11, 20, 21] {
            distribution.add(value, &[10, 20]);
        }
        assert_eq!(distribution, Distribution { buckets: [2, 2], count: 5, sum: 62 });
    }

    #[test]
    fn each_outcome_has_a_count_of_its_own() {
        let mut ended = Ended::default();
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| ended.add(outcome));
        }
        assert!(Outcome::ALL.into_iter().enumerate().all(|(times, outcome)| ended.of(outcome) == times as u64));
    }
}
