//! The writer's thread: it takes what waits, commits it at once and answers in order. This is the group commit.

use std::sync::Arc;

use crate::engine::{CommitError, Engine, Write, Written};
use crate::error::StoreError;
use crate::failure::FailureSender;
use crate::limits::Limits;
use crate::queue::Queue;

/// Takes the outcome of one write to whoever waits for it.
pub(crate) type Reply = Box<dyn FnOnce(Result<Written, StoreError>) + Send>;

/// A write that waits for a commit.
pub(crate) struct Job {
    pub(crate) write: Write,
    pub(crate) reply: Reply,
}

pub(crate) struct Committer {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) queue: Arc<Queue<Job>>,
    pub(crate) failure: FailureSender,
    pub(crate) limits: Limits,
    pub(crate) done: Done,
}

/// What was committed since the store was opened. Each commit waits for the disk once.
#[derive(Default)]
pub(crate) struct Done {
    commits: u64,
    writes: u64,
}

/// The store has been stopped.
struct Stopped;

impl Committer {
    /// Commits until the queue is closed and empty, or the engine fails.
    pub(crate) fn run(&mut self) {
        let queue = Arc::clone(&self.queue);
        let _guard = self.failure.clone().on_panic(move || close_and_empty(&queue, drop));
        while let Some(batch) = self.next_batch() {
            if self.commit(batch).and_then(|()| self.tidy()).is_err() {
                return;
            }
        }
        let Done { commits, writes } = self.done;
        tracing::info!(commits, writes, "the store is closed");
    }

    /// Waits for a write; with it come those that wait behind it, as far as one commit should carry.
    fn next_batch(&self) -> Option<Vec<Job>> {
        let mut writes_left = self.limits.batch_writes_max;
        let mut bytes_left = self.limits.batch_bytes_max;
        self.queue.take(|job| {
            let bytes = job.write.cost_bytes();
            let fits = writes_left > 0 && bytes <= bytes_left;
            writes_left = writes_left.saturating_sub(1);
            bytes_left = bytes_left.saturating_sub(bytes);
            fits
        })
    }

    fn commit(&mut self, batch: Vec<Job>) -> Result<(), Stopped> {
        let (writes, replies) = split(batch);
        match self.engine.commit(&writes) {
            Ok(outcomes) => {
                self.done.commits += 1;
                self.done.writes += writes.len() as u64;
                answer(replies, outcomes);
            }
            Err(CommitError::Unknown(reason)) => return self.stop(&reason, replies),
            Err(CommitError::RolledBack(reason)) => {
                tracing::warn!(reason, writes = writes.len(), "a batch was rolled back");
                return self.commit_what_frees(writes, replies);
            }
        }
        Ok(())
    }

    /// After a roll-back: on a full disk, what frees room must not fail for sharing a batch with what needs room.
    /// Trying it again is safe because the first try certainly left nothing behind.
    fn commit_what_frees(&mut self, writes: Vec<Write>, replies: Vec<Reply>) -> Result<(), Stopped> {
        let together = writes.into_iter().zip(replies).map(|(write, reply)| Job { write, reply });
        let (frees, needs): (Vec<_>, Vec<_>) = together.partition(|job| job.write.frees());
        let alone = needs.is_empty();
        refuse(needs, StoreError::Unavailable);
        if alone || frees.is_empty() {
            refuse(frees, StoreError::Unavailable);
            return Ok(());
        }
        self.commit(frees)
    }

    fn tidy(&mut self) -> Result<(), Stopped> {
        self.engine.tidy().or_else(|reason| self.stop(&reason, Vec::new()))
    }

    /// Closes the door before it answers, so that nobody who hears of the failure can still get a write in.
    fn stop(&self, reason: &str, unknown: Vec<Reply>) -> Result<(), Stopped> {
        self.queue.close();
        self.failure.declare(reason);
        for reply in unknown {
            reply(Err(StoreError::Unknown));
        }
        close_and_empty(&self.queue, |job| (job.reply)(Err(StoreError::Unavailable)));
        Err(Stopped)
    }
}

fn split(batch: Vec<Job>) -> (Vec<Write>, Vec<Reply>) {
    batch.into_iter().map(|job| (job.write, job.reply)).unzip()
}

/// A reply without an outcome is dropped, which its waiter takes for [`StoreError::Unknown`].
fn answer(replies: Vec<Reply>, outcomes: Vec<Result<Written, StoreError>>) {
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        reply(outcome);
    }
}

fn refuse(jobs: Vec<Job>, error: StoreError) {
    for job in jobs {
        (job.reply)(Err(error));
    }
}

/// Ends a queue and deals with what it still holds.
pub(crate) fn close_and_empty<T>(queue: &Queue<T>, each: impl FnMut(T)) {
    queue.close();
    queue.take(|_| true).into_iter().flatten().for_each(each);
}
