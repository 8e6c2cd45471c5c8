//! Log lines that a client or a broken disk can cause without end: one a minute, with the count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// The least time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts events of one kind, and decides when a line about them is due.
#[derive(Default)]
pub(crate) struct Seldom(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    since_line: Option<Stopwatch>,
    times: u64,
}

impl Seldom {
    /// Counts `events`. If a line is due, returns the count since the last line.
    pub(crate) fn count(&self, events: usize) -> Option<u64> {
        // Both fields are whole after each step, also if a thread panicked.
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.times += u64::try_from(events).expect("`u64` is as large as `usize`");
        if counted.since_line.as_ref().is_some_and(|since| since.elapsed() < INTERVAL) {
            return None;
        }
        counted.since_line = Some(Stopwatch::start());
        Some(std::mem::take(&mut counted.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_has_a_line_and_the_others_of_its_minute_are_counted() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(2), Some(2));
        assert!((0..100).all(|_| seldom.count(1).is_none()));
        assert_eq!(seldom.0.lock().unwrap().times, 100);
        seldom.0.lock().unwrap().since_line = None;
        assert_eq!(seldom.count(1), Some(101));
    }
}
