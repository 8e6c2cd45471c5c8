//! The writer's thread: it takes the writes that wait, commits them together and answers in order (group commit).

use std::sync::{Arc, Mutex};

use crate::clock::Stopwatch;
use crate::engine::{Engine, Write, Written};
use crate::error::{CommitError, StoreError};
use crate::failure::FailureSender;
use crate::figures::Published;
use crate::limits::{Held, Limits};
use crate::queue::{Queue, WAIT_MAX};
use crate::seldom::Seldom;

/// Sends the outcome of one write to its caller.
pub(crate) type Reply = Box<dyn FnOnce(Result<Written, StoreError>) + Send>;

/// A write that waits for a commit.
pub(crate) struct Job {
    pub(crate) write: Write,
    pub(crate) reply: Reply,
}

/// How often a batch that found a full disk is divided: each attempt may write to the disk.
const ATTEMPTS_MAX: u32 = 16;

pub(crate) struct Committer {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) queue: Arc<Queue<Job>>,
    pub(crate) failure: FailureSender,
    pub(crate) limits: Limits,
    pub(crate) new_limits: NewLimits,
    pub(crate) published: Published,
    /// The other cells of the store, which hold a part of what its bounds allow.
    pub(crate) others: Vec<Published>,
    pub(crate) rollbacks: Seldom,
    pub(crate) failed_reads: Arc<Seldom>,
    pub(crate) unsettled: Seldom,
}

/// The bounds that the engine gets before the next commit, if they have changed.
#[derive(Clone, Default)]
pub(crate) struct NewLimits(Arc<Mutex<Option<Limits>>>);

impl NewLimits {
    pub(crate) fn set(&self, limits: Limits) {
        *self.0.lock().expect("an assignment does not panic") = Some(limits);
    }

    fn take(&self) -> Option<Limits> {
        self.0.lock().expect("an assignment does not panic").take()
    }
}

/// The store has been stopped.
struct Stopped;

/// The writes of a batch that was not committed, and are not answered.
enum Refused {
    Nothing,
    NoRoom(Vec<Job>),
    RolledBack(Vec<Job>),
}

impl Committer {
    /// Commits until the queue is closed and empty, or the engine fails.
    pub(crate) fn run(&mut self) {
        let queue = Arc::clone(&self.queue);
        let _guard = self.failure.clone().on_panic(move || close_and_empty(&queue, drop));
        while let Some(batch) = self.next_batch() {
            // After the batch was taken: its writes that were queued after the change are judged by it.
            if let Some(limits) = self.new_limits.take() {
                self.engine.set_limits(Limits { elsewhere: self.elsewhere(), ..limits });
            } else if !self.others.is_empty() {
                self.engine.set_elsewhere(self.elsewhere());
            }
            if self.commit(batch).and_then(|()| self.tidy()).is_err() {
                return;
            }
            self.flush_lines(false);
        }
        let commits = self.published.figures(0).commits.batch_writes;
        tracing::info!(commits = commits.count, writes = commits.sum, "the store is closed");
    }

    /// Logs the events that have had no line, where one is due, or all of them `at_end`.
    pub(crate) fn flush_lines(&self, at_end: bool) {
        self.rollbacks.flush(at_end);
        self.unsettled.flush(at_end);
        self.failed_reads.flush(at_end);
        self.engine.flush_lines(at_end);
    }

    /// What the other cells hold. What they commit meanwhile is not counted: together the cells may exceed a bound by a
    /// batch for each of them.
    fn elsewhere(&self) -> Held {
        self.others.iter().fold(Held::default(), |held, other| held.plus(&other.contents()))
    }

    /// Waits for a write, and takes those behind it too, up to the bounds of one commit.
    fn next_batch(&self) -> Option<Vec<Job>> {
        let mut writes_left = self.limits.batch_writes_max;
        let mut bytes_left = self.limits.batch_bytes_max;
        let batch = self.queue.take(|job| {
            let bytes = job.write.cost_bytes();
            let fits = writes_left > 0 && bytes <= bytes_left;
            writes_left = writes_left.saturating_sub(1);
            bytes_left = bytes_left.saturating_sub(bytes);
            fits
        });
        debug_assert!(batch.as_ref().is_none_or(|batch| !batch.is_empty()), "a batch has a write");
        batch
    }

    fn commit(&mut self, batch: Vec<Job>) -> Result<(), Stopped> {
        match self.try_commit(batch)? {
            Refused::Nothing => Ok(()),
            Refused::NoRoom(batch) => self.commit_what_fits(batch),
            Refused::RolledBack(batch) => self.commit_what_frees(batch),
        }
    }

    fn try_commit(&mut self, batch: Vec<Job>) -> Result<Refused, Stopped> {
        let (writes, replies) = split(batch);
        let stopwatch = Stopwatch::start();
        match self.engine.commit(&writes) {
            Ok(outcomes) => {
                // Before the first answer: after a bug of the engine nothing that it reports may be taken for done.
                if let Err(bug) = check(&writes, &outcomes) {
                    return self.stop(&bug, replies, StoreError::Unknown);
                }
                self.published.committed(stopwatch.elapsed(), writes.len());
                self.publish();
                answer(replies, outcomes);
                Ok(Refused::Nothing)
            }
            Err(CommitError::Unknown(reason)) => self.stop(&reason, replies, StoreError::Unknown),
            Err(CommitError::Ended(reason)) => self.stop(&reason, replies, StoreError::Unavailable),
            Err(CommitError::Unsettled(reason)) => {
                let writes = writes.len();
                self.unsettled.log(1, move |times| {
                    tracing::warn!(reason, writes, times, "it is not known yet whether a batch was committed");
                });
                replies.into_iter().for_each(|reply| reply(Err(StoreError::Unknown)));
                refuse(self.queue.take_overdue(WAIT_MAX), StoreError::Unavailable);
                Ok(Refused::Nothing)
            }
            Err(CommitError::NoRoom(reason)) => {
                tracing::debug!(reason, writes = writes.len(), "the disk has no room for a batch");
                self.published.rolled_back();
                Ok(Refused::NoRoom(join(writes, replies)))
            }
            Err(CommitError::Away(_)) => {
                self.published.rolled_back();
                refuse(join(writes, replies), StoreError::Unavailable);
                refuse(self.queue.take_overdue(WAIT_MAX), StoreError::Unavailable);
                Ok(Refused::Nothing)
            }
            Err(CommitError::RolledBack(reason)) => {
                let writes_of_batch = writes.len();
                self.rollbacks.log(1, move |times| {
                    tracing::warn!(reason, writes = writes_of_batch, times, "a batch was rolled back");
                });
                self.published.rolled_back();
                Ok(Refused::RolledBack(join(writes, replies)))
            }
        }
    }

    /// On a full disk: writes that free room must not fail because they share a batch with writes that need room, or
    /// with too many others. Another attempt is safe, because the first one left nothing behind.
    fn commit_what_fits(&mut self, batch: Vec<Job>) -> Result<(), Stopped> {
        let (frees, needs) = batch.into_iter().partition(|job| job.write.frees());
        refuse(needs, StoreError::NoRoom);
        let mut parts = vec![frees];
        let mut attempts_left = ATTEMPTS_MAX;
        while let Some(part) = parts.pop() {
            if attempts_left == 0 {
                refuse(part, StoreError::NoRoom);
                continue;
            }
            attempts_left -= 1;
            match self.try_commit(part)? {
                // The next part finds the room that this one has freed.
                Refused::Nothing => self.tidy()?,
                Refused::NoRoom(mut part) if part.len() > 1 => {
                    let later = part.split_off(part.len() / 2);
                    parts.extend([later, part]);
                }
                Refused::NoRoom(part) => refuse(part, StoreError::NoRoom),
                Refused::RolledBack(part) => refuse(part, StoreError::Unavailable),
            }
        }
        Ok(())
    }

    /// After a roll-back for another reason: what frees room, once more.
    fn commit_what_frees(&mut self, batch: Vec<Job>) -> Result<(), Stopped> {
        let (frees, needs): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.write.frees());
        let alone = needs.is_empty();
        refuse(needs, StoreError::Unavailable);
        if alone || frees.is_empty() {
            refuse(frees, StoreError::Unavailable);
            return Ok(());
        }
        match self.try_commit(frees)? {
            Refused::Nothing => {}
            Refused::NoRoom(frees) => refuse(frees, StoreError::NoRoom),
            Refused::RolledBack(frees) => refuse(frees, StoreError::Unavailable),
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), Stopped> {
        self.engine.tidy().or_else(|error| self.stop(&error.to_string(), Vec::new(), StoreError::Unknown))?;
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        self.published.set(self.engine.receipt_room(), self.engine.contents());
    }

    /// Closes the queue before it answers, so that a caller that learns of the failure cannot add a write any more.
    fn stop<T>(&self, reason: &str, batch: Vec<Reply>, answer: StoreError) -> Result<T, Stopped> {
        self.queue.close();
        self.failure.declare(reason);
        batch.into_iter().for_each(|reply| reply(Err(answer)));
        close_and_empty(&self.queue, |job| (job.reply)(Err(StoreError::Unavailable)));
        Err(Stopped)
    }
}

fn split(batch: Vec<Job>) -> (Vec<Write>, Vec<Reply>) {
    batch.into_iter().map(|job| (job.write, job.reply)).unzip()
}

fn join(writes: Vec<Write>, replies: Vec<Reply>) -> Vec<Job> {
    debug_assert_eq!(writes.len(), replies.len(), "each write of a batch has a reply");
    writes.into_iter().zip(replies).map(|(write, reply)| Job { write, reply }).collect()
}

/// Compares what an engine answered with what it was asked; the error is for the operator.
fn check(writes: &[Write], outcomes: &[Result<Written, StoreError>]) -> Result<(), String> {
    if outcomes.len() != writes.len() {
        let (answers, writes) = (outcomes.len(), writes.len());
        return Err(format!("the engine has a bug: it gave {answers} answers to {writes} writes"));
    }
    let is_wrong = |(write, outcome): (&Write, &Result<Written, StoreError>)| {
        outcome.as_ref().is_ok_and(|written| !written.answers(write))
    };
    match writes.iter().zip(outcomes).position(is_wrong) {
        Some(place) => {
            Err(format!("the engine has a bug: its answer to write {place} is of another kind than the write"))
        }
        None => Ok(()),
    }
}

fn answer(replies: Vec<Reply>, outcomes: Vec<Result<Written, StoreError>>) {
    debug_assert_eq!(replies.len(), outcomes.len(), "each write of a batch has a reply and an outcome");
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        reply(outcome);
    }
}

fn refuse(jobs: Vec<Job>, error: StoreError) {
    for job in jobs {
        (job.reply)(Err(error));
    }
}

/// Closes a queue and passes what it still holds to `each`.
pub(crate) fn close_and_empty<T>(queue: &Queue<T>, each: impl FnMut(T)) {
    queue.close();
    queue.take(|_| true).into_iter().flatten().for_each(each);
}
