//! Log lines that a client or a broken disk can cause without end: one a minute, with the count. The end of a burst is
//! logged too: the writer flushes after each batch, and when it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// That of the first events since the last line.
    line: Option<Line>,
}

/// Logs a line with a count.
type Line = Box<dyn FnOnce(u64) + Send>;

impl Seldom {
    /// Counts `events`. If a line is due, `line` logs it, with the count since the last line; otherwise a flush does.
    pub(crate) fn log(&self, events: usize, line: impl FnOnce(u64) + Send + 'static) {
        let mut counted = self.lock();
        counted.times += u64::try_from(events).expect("`u64` is as large as `usize`");
        if let Some((times, _)) = counted.take(false) {
            drop(counted);
            line(times);
        } else if counted.line.is_none() {
            counted.line = Some(Box::new(line));
        }
    }

    /// Logs the events since the last line, if a line is due, or in any case `at_end`.
    pub(crate) fn flush(&self, at_end: bool) {
        let taken = self.lock().take(at_end);
        if let Some((times, Some(line))) = taken {
            line(times);
        }
    }

    /// All fields are whole after each step, also if a thread panicked.
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn take(&mut self, at_end: bool) -> Option<(u64, Option<Line>)> {
        let is_due = at_end || self.since_line.as_ref().is_none_or(|since| since.elapsed() >= INTERVAL);
        if self.times == 0 || !is_due {
            return None;
        }
        self.since_line = Some(Stopwatch::start());
        Some((std::mem::take(&mut self.times), self.line.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_has_a_line_and_the_others_of_its_minute_are_counted_and_flushed() {
        let (seldom, (sender, lines)) = (Seldom::default(), std::sync::mpsc::channel());
        let event = |number, events| {
            let sender = sender.clone();
            seldom.log(events, move |times| sender.send((times, number)).unwrap());
        };
        event(0, 2);
        (1..=100).for_each(|number| event(number, 1));
        seldom.flush(false);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [(2, 0)]);
        seldom.lock().since_line = None;
        seldom.flush(false);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [(100, 1)], "with the line of the first that had none");
        event(101, 3);
        seldom.flush(true);
        seldom.flush(true);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [(3, 101)]);
    }
}
