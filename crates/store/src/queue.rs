//! A bounded queue towards the store's threads: entering never waits, leaving does.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Items with the octets that they hold, first in, first out.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    items_max: usize,
    bytes_max: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    waiting: usize,
    closed: bool,
}

/// Why an item was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(items_max: usize, bytes_max: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, waiting: 0, closed: false };
        Self { state: Mutex::new(state), ready: Condvar::new(), items_max, bytes_max }
    }

    /// Puts an item at the end. An empty queue takes one of any size, so that nothing is refused for ever.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        let full = state.items.len() >= self.items_max || state.bytes.saturating_add(bytes) > self.bytes_max;
        if full && !state.items.is_empty() {
            return Err(PushError::Full);
        }
        state.items.push_back((item, bytes));
        state.bytes = state.bytes.saturating_add(bytes);
        if state.waiting > 0 {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for an item and takes it, and those after it for as long as `admit` says yes.
    /// `None`: the queue is closed and empty.
    pub(crate) fn take(&self, mut admit: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state.waiting += 1;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        let mut taken = Vec::new();
        while let Some((item, _)) = state.items.front() {
            // The first is asked about too, because `admit` keeps count, but it goes in any case.
            if !admit(item) && !taken.is_empty() {
                break;
            }
            if let Some((item, bytes)) = state.items.pop_front() {
                state.bytes -= bytes;
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
            queue.push(n, 1).unwrap();
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
        queue.push('a', 4).unwrap();
        assert_eq!(queue.push('b', 7), Err(PushError::Full), "too many octets");
        queue.push('b', 1).unwrap();
        assert_eq!(queue.push('c', 1), Err(PushError::Full), "too many items");
        assert_eq!(queue.take(|_| true), Some(vec!['a', 'b']));
        queue.push('d', 1_000).unwrap();
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_holds_and_then_ends() {
        let queue = Queue::new(2, 10);
        queue.push('a', 1).unwrap();
        queue.close();
        assert_eq!(queue.push('b', 1), Err(PushError::Closed));
        assert_eq!(queue.take(|_| true), Some(vec!['a']));
        assert_eq!(queue.take(|_| true), None);
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_an_item_and_by_the_end() {
        let queue = Queue::new(2, 10);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| (queue.take(|_| true), queue.take(|_| true)));
            queue.push('a', 1).unwrap();
            queue.close();
            assert_eq!(taker.join().unwrap(), (Some(vec!['a']), None));
        });
    }
}
