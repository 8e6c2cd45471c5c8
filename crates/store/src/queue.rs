//! A bounded queue to the store's threads: `push` never waits, `take` waits for an item.

use std::collections::VecDeque;
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// How long an operation waits at most behind others that wait for an engine that is away ([`Engine::recovers`]).
///
/// [`Engine::recovers`]: crate::engine::Engine::recovers
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

/// Items with the bytes that they hold, first in, first out.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    items_max: usize,
    bytes_max: usize,
    /// How long deferred items wait for an immediate one.
    deferral_max: Duration,
    /// So many deferred items do not wait for an immediate one.
    deferred_items_max: usize,
}

struct State<T> {
    items: VecDeque<Queued<T>>,
    /// What all items hold.
    bytes: usize,
    /// Items with [`Priority::Immediate`].
    immediate: usize,
    /// Threads that wait in `take`.
    waiting: usize,
    closed: bool,
}

struct Queued<T> {
    item: T,
    bytes: usize,
    priority: Priority,
    since: Stopwatch,
}

/// Whether a caller waits for what an item does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The item leaves as soon as a thread is free, and so do all items before it.
    Immediate,
    /// The item leaves with the next immediate item, or without one after a while.
    Deferred,
}

/// Why the queue refused an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(items_max: usize, bytes_max: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, immediate: 0, waiting: 0, closed: false };
        let (deferral_max, deferred_items_max) = (Duration::ZERO, items_max);
        Self { state: Mutex::new(state), ready: Condvar::new(), items_max, bytes_max, deferral_max, deferred_items_max }
    }

    /// Lets deferred items wait for so long, unless there are so many of them.
    pub(crate) fn with_deferral(self, deferral_max: Duration, deferred_items_max: usize) -> Self {
        Self { deferral_max, deferred_items_max, ..self }
    }

    /// Adds an item at the end. An empty queue accepts an item of any size, so that no item is refused forever.
    pub(crate) fn push(&self, item: T, bytes: usize, priority: Priority) -> Result<(), PushError> {
        let since = Stopwatch::start();
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        let full = state.items.len() >= self.items_max || state.bytes.saturating_add(bytes) > self.bytes_max;
        if full && !state.items.is_empty() {
            return Err(PushError::Full);
        }
        state.items.push_back(Queued { item, bytes, priority, since });
        state.bytes += bytes;
        state.immediate += usize::from(priority == Priority::Immediate);
        state.debug_check();
        // A thread that already waits beside deferred items has seen the first of them.
        let is_news = state.items.len() == 1 || !self.may_wait(&state);
        let wake = state.waiting > 0 && is_news;
        // Before the call, because the thread that wakes up takes the lock.
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for an item, and takes it and those after it for as long as `admit` returns true.
    /// `None`: the queue is closed and empty.
    pub(crate) fn take(&self, mut admit: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
        let mut state = self.lock();
        state.waiting += 1;
        let nothing = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        // Another thread may take the deferred items that this one waits beside.
        while nothing(&mut state) || self.may_wait(&state) {
            state = whole(self.ready.wait_while(state, nothing));
            let waited = self.ready.wait_timeout_while(state, self.deferral_max, |state| self.may_wait(state));
            let (after, waited) = whole(waited);
            state = after;
            if waited.timed_out() && !state.items.is_empty() {
                break;
            }
        }
        state.waiting -= 1;
        if state.items.is_empty() {
            debug_assert!(state.closed, "only a closed queue ends a wait without an item");
            return None;
        }
        let mut taken = Vec::new();
        while let Some(Queued { item, .. }) = state.items.front() {
            // `admit` is called for the first item too, because it keeps count, but that item leaves in any case.
            if !admit(item) && !taken.is_empty() {
                break;
            }
            taken.extend(state.pop());
        }
        state.debug_check();
        Some(taken)
    }

    /// Takes the items that have waited for `wait` or longer, and waits for none.
    pub(crate) fn take_overdue(&self, wait: Duration) -> Vec<T> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while state.items.front().is_some_and(|first| first.since.elapsed() >= wait) {
            taken.extend(state.pop());
        }
        state.debug_check();
        taken
    }

    /// The items that wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Refuses new items. Items in the queue can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// Whether all items are deferred, and few.
    fn may_wait(&self, state: &State<T>) -> bool {
        state.immediate == 0 && !state.closed && !state.items.is_empty() && state.items.len() < self.deferred_items_max
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        whole(self.state.lock())
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<T> {
        let Queued { item, bytes, priority, .. } = self.items.pop_front()?;
        self.bytes -= bytes;
        self.immediate -= usize::from(priority == Priority::Immediate);
        Some(item)
    }

    /// The counts agree with the items, as far as that can be seen without a walk through them.
    fn debug_check(&self) {
        debug_assert!(self.immediate <= self.items.len(), "each immediate item is in the queue");
        debug_assert!(!self.items.is_empty() || self.bytes == 0, "an empty queue holds no bytes");
    }
}

/// Only a failed assertion panics with the lock. Its items are whole then, and their callers must still get answers.
fn whole<G>(locked: LockResult<G>) -> G {
    locked.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_where_admit_returns_false_and_the_rest_stays_in_order() {
        let queue = Queue::new(10, 100);
        for n in 0..5 {
            queue.push(n, 1, Priority::Immediate).unwrap();
        }
        let mut left = 2;
        let two = queue.take(|_| {
            left -= 1;
            left >= 0
        });
        assert_eq!(two, Some(vec![0, 1]));
        assert_eq!(queue.take(|_| false), Some(vec![2]));
        assert_eq!(queue.take(|_| true), Some(vec![3, 4]));
    }

    #[test]
    fn a_full_queue_refuses_and_takes_again_once_there_is_room() {
        let queue = Queue::new(2, 10);
        queue.push('a', 4, Priority::Immediate).unwrap();
        assert_eq!(queue.push('b', 7, Priority::Immediate), Err(PushError::Full), "too many bytes");
        queue.push('b', 1, Priority::Immediate).unwrap();
        assert_eq!(queue.push('c', 1, Priority::Immediate), Err(PushError::Full), "too many items");
        assert_eq!(queue.take(|_| true), Some(vec!['a', 'b']));
        queue.push('d', 1_000, Priority::Immediate).unwrap();
    }

    #[test]
    fn what_has_waited_too_long_can_be_taken_without_a_wait() {
        let queue = Queue::new(10, 100);
        queue.push('a', 1, Priority::Immediate).unwrap();
        queue.push('b', 1, Priority::Deferred).unwrap();
        assert_eq!(queue.take_overdue(Duration::from_secs(86_400)), []);
        assert_eq!(queue.take_overdue(Duration::ZERO), ['a', 'b']);
        assert_eq!(queue.take_overdue(Duration::ZERO), []);
        queue.push('c', 1, Priority::Immediate).unwrap();
        assert_eq!(queue.take(|_| true), Some(vec!['c']));
    }

    #[test]
    fn a_closed_queue_returns_what_it_holds_and_then_ends() {
        let queue = Queue::new(2, 10);
        queue.push('a', 1, Priority::Immediate).unwrap();
        queue.close();
        assert_eq!(queue.push('b', 1, Priority::Immediate), Err(PushError::Closed));
        assert_eq!(queue.take(|_| true), Some(vec!['a']));
        assert_eq!(queue.take(|_| true), None);
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_an_item_and_by_the_end() {
        let queue = Queue::new(2, 10);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| (queue.take(|_| true), queue.take(|_| true)));
            queue.push('a', 1, Priority::Immediate).unwrap();
            queue.close();
            assert_eq!(taker.join().unwrap(), (Some(vec!['a']), None));
        });
    }

    /// Its deferred items wait for a day, so that no item here leaves because its time is over.
    fn deferring_queue() -> Queue<char> {
        Queue::new(10, 100).with_deferral(Duration::from_secs(86_400), 3)
    }

    #[test]
    fn a_deferred_item_leaves_with_the_next_immediate_one() {
        let queue = deferring_queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(|_| true));
            queue.push('d', 1, Priority::Deferred).unwrap();
            queue.push('i', 1, Priority::Immediate).unwrap();
            assert_eq!(taker.join().unwrap(), Some(vec!['d', 'i']));
        });
    }

    #[test]
    fn enough_deferred_items_leave_without_an_immediate_one() {
        let queue = deferring_queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(|_| true));
            "abc".chars().for_each(|item| queue.push(item, 1, Priority::Deferred).unwrap());
            assert_eq!(taker.join().unwrap(), Some(vec!['a', 'b', 'c']));
        });
    }

    #[test]
    fn a_deferred_item_leaves_alone_once_it_has_waited() {
        let queue = Queue::new(10, 100).with_deferral(Duration::from_millis(1), 3);
        queue.push('d', 1, Priority::Deferred).unwrap();
        assert_eq!(queue.take(|_| true), Some(vec!['d']));
    }

    #[test]
    fn the_end_does_not_wait_for_deferred_items() {
        let queue = deferring_queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| (queue.take(|_| true), queue.take(|_| true)));
            queue.push('d', 1, Priority::Deferred).unwrap();
            queue.close();
            assert_eq!(taker.join().unwrap(), (Some(vec!['d']), None));
        });
    }
}
