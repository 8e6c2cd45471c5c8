//! A bounded queue towards the store's threads: entering never waits, leaving does.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Items with the octets that they hold, first in, first out.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    items_max: usize,
    bytes_max: usize,
    /// How long items that are not urgent wait for one that is.
    patience: Duration,
    /// So many of them are worth going without one.
    patient_items_max: usize,
}

struct State<T> {
    items: VecDeque<Queued<T>>,
    bytes: usize,
    urgent: usize,
    waiting: usize,
    closed: bool,
}

struct Queued<T> {
    item: T,
    bytes: usize,
    haste: Haste,
}

/// Whether somebody waits for what an item does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// It goes as soon as a thread is free, and everything before it.
    Urgent,
    /// It goes with the next urgent item, or after a while alone.
    Patient,
}

/// Why an item was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(items_max: usize, bytes_max: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, urgent: 0, waiting: 0, closed: false };
        let (patience, patient_items_max) = (Duration::ZERO, items_max);
        Self { state: Mutex::new(state), ready: Condvar::new(), items_max, bytes_max, patience, patient_items_max }
    }

    /// Lets items that are not urgent wait for so long, unless there are so many of them.
    pub(crate) fn with_patience(self, patience: Duration, patient_items_max: usize) -> Self {
        Self { patience, patient_items_max, ..self }
    }

    /// Puts an item at the end. An empty queue takes one of any size, so that nothing is refused for ever.
    pub(crate) fn push(&self, item: T, bytes: usize, haste: Haste) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        let full = state.items.len() >= self.items_max || state.bytes.saturating_add(bytes) > self.bytes_max;
        if full && !state.items.is_empty() {
            return Err(PushError::Full);
        }
        state.items.push_back(Queued { item, bytes, haste });
        state.bytes = state.bytes.saturating_add(bytes);
        state.urgent += usize::from(haste == Haste::Urgent);
        // A thread that waits beside patient items knows of them since the first.
        let is_news = state.items.len() == 1 || !self.may_wait(&state);
        let wake = state.waiting > 0 && is_news;
        // Before the call: whoever wakes up wants the lock.
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for an item and takes it, and those after it for as long as `admit` says yes.
    /// `None`: the queue is closed and empty.
    pub(crate) fn take(&self, mut admit: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
        let mut state = self.lock();
        state.waiting += 1;
        let nothing = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        // Another thread may take what this one was patient about.
        while nothing(&mut state) || self.may_wait(&state) {
            state = self.ready.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner);
            let waited = self.ready.wait_timeout_while(state, self.patience, |state| self.may_wait(state));
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if waited.timed_out() && !state.items.is_empty() {
                break;
            }
        }
        state.waiting -= 1;
        if state.items.is_empty() {
            return None;
        }
        let mut taken = Vec::new();
        while let Some(Queued { item, .. }) = state.items.front() {
            // The first is asked about too, because `admit` keeps count, but it goes in any case.
            if !admit(item) && !taken.is_empty() {
                break;
            }
            if let Some(Queued { item, bytes, haste }) = state.items.pop_front() {
                state.bytes -= bytes;
                state.urgent -= usize::from(haste == Haste::Urgent);
                taken.push(item);
            }
        }
        Some(taken)
    }

    /// Refuses new items. Those inside can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    fn may_wait(&self, state: &State<T>) -> bool {
        state.urgent == 0 && !state.closed && !state.items.is_empty() && state.items.len() < self.patient_items_max
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock, so a poisoned queue is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_where_admit_says_no_and_the_rest_stays_in_order() {
        let queue = Queue::new(10, 100);
        for n in 0..5 {
            queue.push(n, 1, Haste::Urgent).unwrap();
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
        queue.push('a', 4, Haste::Urgent).unwrap();
        assert_eq!(queue.push('b', 7, Haste::Urgent), Err(PushError::Full), "too many octets");
        queue.push('b', 1, Haste::Urgent).unwrap();
        assert_eq!(queue.push('c', 1, Haste::Urgent), Err(PushError::Full), "too many items");
        assert_eq!(queue.take(|_| true), Some(vec!['a', 'b']));
        queue.push('d', 1_000, Haste::Urgent).unwrap();
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_holds_and_then_ends() {
        let queue = Queue::new(2, 10);
        queue.push('a', 1, Haste::Urgent).unwrap();
        queue.close();
        assert_eq!(queue.push('b', 1, Haste::Urgent), Err(PushError::Closed));
        assert_eq!(queue.take(|_| true), Some(vec!['a']));
        assert_eq!(queue.take(|_| true), None);
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_an_item_and_by_the_end() {
        let queue = Queue::new(2, 10);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| (queue.take(|_| true), queue.take(|_| true)));
            queue.push('a', 1, Haste::Urgent).unwrap();
            queue.close();
            assert_eq!(taker.join().unwrap(), (Some(vec!['a']), None));
        });
    }

    /// With patience for a day, so that nothing here goes for having waited long enough.
    fn patient_queue() -> Queue<char> {
        Queue::new(10, 100).with_patience(Duration::from_secs(86_400), 3)
    }

    #[test]
    fn a_patient_item_goes_with_the_next_urgent_one() {
        let queue = patient_queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(|_| true));
            queue.push('p', 1, Haste::Patient).unwrap();
            queue.push('u', 1, Haste::Urgent).unwrap();
            assert_eq!(taker.join().unwrap(), Some(vec!['p', 'u']));
        });
    }

    #[test]
    fn enough_patient_items_go_without_an_urgent_one() {
        let queue = patient_queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(|_| true));
            "abc".chars().for_each(|item| queue.push(item, 1, Haste::Patient).unwrap());
            assert_eq!(taker.join().unwrap(), Some(vec!['a', 'b', 'c']));
        });
    }

    #[test]
    fn a_patient_item_goes_alone_once_it_has_waited() {
        let queue = Queue::new(10, 100).with_patience(Duration::from_millis(1), 3);
        queue.push('p', 1, Haste::Patient).unwrap();
        assert_eq!(queue.take(|_| true), Some(vec!['p']));
    }

    #[test]
    fn the_end_does_not_wait_for_patient_items() {
        let queue = patient_queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| (queue.take(|_| true), queue.take(|_| true)));
            queue.push('p', 1, Haste::Patient).unwrap();
            queue.close();
            assert_eq!(taker.join().unwrap(), (Some(vec!['p']), None));
        });
    }
}
