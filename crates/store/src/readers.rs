//! The reading threads: each has its own connection and takes one read at a time.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::{io, thread};

use crate::committer::close_and_empty;
use crate::engine::Reader;
use crate::failure::FailureSender;
use crate::queue::{Queue, WAIT_MAX};

/// A read that waits for a thread.
pub(crate) type ReadJob = Box<dyn FnOnce(&mut dyn Reader) + Send>;

/// Starts one thread for each of `readers`. The threads end when `queue` is closed and empty.
pub(crate) fn spawn(
    readers: Vec<Box<dyn Reader>>,
    queue: &Arc<Queue<ReadJob>>,
    failure: &FailureSender,
) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |reader| {
        let (queue, failure) = (Arc::clone(queue), failure.clone());
        thread::Builder::new().name("store-reader".into()).spawn(move || run(reader, &queue, failure))
    };
    let threads: io::Result<Vec<_>> = readers.into_iter().map(start).collect();
    if threads.is_err() {
        queue.close();
    }
    threads
}

fn run(mut reader: Box<dyn Reader>, queue: &Queue<ReadJob>, failure: FailureSender) {
    let _guard = failure.on_panic(|| close_and_empty(queue, drop));
    while let Some(jobs) = queue.take(|_| false) {
        debug_assert_eq!(jobs.len(), 1, "the other reads are left to the other threads");
        for job in jobs {
            job(&mut *reader);
        }
        if reader.is_away() {
            // Their callers learn that the store is unavailable.
            drop(queue.take_overdue(WAIT_MAX));
        }
    }
}
