//! One cell: an engine with its committer, its readers and their queues.

use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::committer::{Committer, Job, NewLimits};
use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{OpenError, ReadError, StoreError};
use crate::failure::FailureSender;
use crate::figures::Published;
use crate::limits::Limits;
use crate::model::ClockRecord;
use crate::queue::{Priority, Queue};
use crate::readers::{self, ReadJob};
use crate::seldom::Seldom;

pub(crate) struct Cell {
    pub(crate) writes: Arc<Queue<Job>>,
    reads: Arc<Queue<ReadJob>>,
    failed_reads: Arc<Seldom>,
    pub(crate) greatest_id: i64,
    pub(crate) clock: ClockRecord,
    pub(crate) recovers: bool,
    pub(crate) published: Published,
    pub(crate) new_limits: NewLimits,
    writer: Option<JoinHandle<()>>,
    threads: Vec<ThreadId>,
}

impl Cell {
    /// Starts the threads. `others` are the cells that hold a part of what `limits` allow.
    pub(crate) fn start(
        engine: Box<dyn Engine>,
        published: Published,
        others: Vec<Published>,
        limits: Limits,
        failure: FailureSender,
    ) -> Result<Self, OpenError> {
        let (greatest_id, clock, recovers) = (engine.greatest_id(), engine.clock(), engine.recovers());
        let writes = Queue::new(limits.queued_writes_max, limits.queued_bytes_max);
        let writes = Arc::new(writes.with_deferral(limits.deferral_max, limits.deferred_writes_max));
        let reads = Arc::new(Queue::new(limits.queued_reads_max, usize::MAX));
        let connections = (0..limits.readers.max(1)).map(|_| engine.reader()).collect::<Result<_, _>>()?;
        let readers = readers::spawn(connections, &reads, &failure).map_err(OpenError::Thread)?;
        let mut threads: Vec<_> = readers.iter().map(|reader| reader.thread().id()).collect();
        let (new_limits, failed_reads) = (NewLimits::default(), Arc::<Seldom>::default());
        let mut committer = Committer {
            engine,
            queue: Arc::clone(&writes),
            failure,
            limits,
            new_limits: new_limits.clone(),
            published: published.clone(),
            others,
            rollbacks: Seldom::default(),
            failed_reads: Arc::clone(&failed_reads),
            unsettled: Seldom::default(),
        };
        let readers_end = Arc::clone(&reads);
        let run = move || {
            committer.run();
            // The writer's connection closes last, so that it can leave a single file.
            readers_end.close();
            readers.into_iter().for_each(|reader| drop(reader.join()));
            committer.flush_lines(true);
        };
        let writer = thread::Builder::new().name("store-writer".into()).spawn(run).map_err(|error| {
            reads.close();
            OpenError::Thread(error)
        })?;
        threads.push(writer.thread().id());
        let writer = Some(writer);
        Ok(Self { writes, reads, failed_reads, greatest_id, clock, recovers, published, new_limits, writer, threads })
    }

    pub(crate) fn write<T: Send + 'static>(
        &self,
        priority: Priority,
        write: Write,
        open: fn(Written) -> Option<T>,
    ) -> Answer<T> {
        self.write_then(priority, write, open, |_| {})
    }

    pub(crate) fn note_clock(&self, record: ClockRecord) -> Answer<()> {
        self.write(Priority::Immediate, Write::NoteClock(record), Written::noted)
    }

    /// Calls `then` with the outcome, on the writer's thread, before the answer.
    pub(crate) fn write_then<T: Send + 'static>(
        &self,
        priority: Priority,
        write: Write,
        open: fn(Written) -> Option<T>,
        then: impl FnOnce(&mut Result<T, StoreError>) + Send + 'static,
    ) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let bytes = write.held_bytes();
        let reply = Box::new(move |outcome: Result<Written, StoreError>| {
            let open = |written| open(written).expect("the committer checked the kind of each answer");
            let mut outcome = outcome.map(open);
            then(&mut outcome);
            // The caller may have stopped waiting, which does not undo the write.
            let _ = sender.send(outcome);
        });
        Answer::queued(self.writes.push(Job { write, reply }, bytes, priority), receiver, StoreError::Unknown)
    }

    pub(crate) fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut dyn Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        let failed_reads = Arc::clone(&self.failed_reads);
        let job = Box::new(move |reader: &mut dyn Reader| {
            if sender.is_closed() {
                return;
            }
            let outcome = run(reader).map_err(|error| {
                let reason = error.to_string();
                failed_reads.log(1, move |times| tracing::error!(reason, times, "a read of the store failed"));
                StoreError::from(error)
            });
            let _ = sender.send(outcome);
        });
        Answer::queued(self.reads.push(job, 0, Priority::Immediate), receiver, StoreError::Unavailable)
    }

    /// Refuses further operations.
    pub(crate) fn close(&self) {
        self.writes.close();
        self.reads.close();
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.close();
        // An answer can drop the task with the last handle on a thread of the store, which must not join itself.
        if !self.threads.contains(&thread::current().id())
            && let Some(writer) = self.writer.take()
        {
            // A panic was already declared as a failure.
            let _ = writer.join();
        }
    }
}
