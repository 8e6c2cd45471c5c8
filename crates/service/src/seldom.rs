//! Log lines that clients can cause as often as they like: one a minute, with the count. The end of a burst is logged too:
//! the owner of each [`Seldom`] flushes it regularly and at the end.

use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use tokio::time::interval;

use crate::locked::Locked;

/// The least time between two lines of one kind.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// The time of the last flush: whatever was counted is due.
pub const AT_THE_END: UnixMs = UnixMs::from_millis(i64::MAX);

/// Counts events of one kind, and decides when a line about them is due.
#[derive(Default)]
pub struct Seldom(Locked<Counted>);

#[derive(Default)]
struct Counted {
    logged: Option<UnixMs>,
    count: u64,
    /// That of the first event since the last line, if there is one.
    line: Option<Line>,
}

/// Logs a line with a count.
type Line = Box<dyn FnOnce(u64) + Send>;

impl Seldom {
    /// Counts an event. If a line is due, `line` logs it, with the count since the last line; otherwise a flush does.
    pub fn log(&self, now: UnixMs, line: impl FnOnce(u64) + Send + 'static) {
        let mut counted = self.0.lock();
        counted.count += 1;
        if let Some(count) = counted.due(now) {
            counted.line = None;
            drop(counted);
            line(count);
        } else if counted.line.is_none() {
            counted.line = Some(Box::new(line));
        }
    }

    /// Logs the events since the last line, if a line is due.
    pub fn flush(&self, now: UnixMs) {
        let mut counted = self.0.lock();
        let Some(count) = counted.due(now) else { return };
        let line = counted.line.take().expect("the first event without a line has left one");
        drop(counted);
        line(count);
    }

    /// The events since the last line.
    #[cfg(test)]
    pub(crate) fn without_line(&self) -> u64 {
        self.0.lock().count
    }
}

/// Calls `flush` once a minute. Never returns.
pub async fn regularly(flush: impl Fn()) {
    let mut times = interval(INTERVAL);
    loop {
        times.tick().await;
        flush();
    }
}

impl Counted {
    fn due(&mut self, now: UnixMs) -> Option<u64> {
        // A clock that was set back must not silence the log.
        let is_due = self.logged.is_none_or(|logged| now < logged || now >= logged.plus(INTERVAL));
        if self.count == 0 || !is_due {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl Debug for Seldom {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seldom").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_and_later_ones_once_a_minute_with_their_count() {
        let (seldom, now) = (Seldom::default(), UnixMs::from_secs(1_790_000_000));
        let (sender, lines) = std::sync::mpsc::channel();
        let event = |now| {
            let sender = sender.clone();
            seldom.log(now, move |count| sender.send(count).unwrap());
        };
        seldom.flush(now);
        assert_eq!(lines.try_iter().count(), 0, "nothing happened");
        (0..101).for_each(|_| event(now));
        assert_eq!((lines.try_iter().collect::<Vec<_>>(), seldom.without_line()), (vec![1], 100));
        event(now.plus(INTERVAL));
        seldom.flush(now.plus(2 * INTERVAL));
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [101]);
        event(now);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [1], "the clock was set back");
    }

    #[test]
    fn the_end_of_a_burst_is_logged_by_a_flush_after_a_minute_or_at_the_end() {
        let (seldom, now) = (Seldom::default(), UnixMs::from_secs(1_790_000_000));
        let lines = std::sync::Arc::new(Locked::<Vec<(u64, u32)>>::default());
        let event = |number, now| {
            let lines = lines.clone();
            seldom.log(now, move |count| lines.lock().push((count, number)));
        };
        (0..5).for_each(|number| event(number, now));
        seldom.flush(now);
        assert_eq!(*lines.lock(), [(1, 0)]);
        seldom.flush(now.plus(INTERVAL));
        assert_eq!(*lines.lock(), [(1, 0), (4, 1)], "the line of the first event that had none");
        seldom.flush(now.plus(3 * INTERVAL));
        event(5, now.plus(3 * INTERVAL));
        event(6, now.plus(3 * INTERVAL));
        seldom.flush(AT_THE_END);
        seldom.flush(AT_THE_END);
        assert_eq!(*lines.lock(), [(1, 0), (4, 1), (1, 5), (1, 6)]);
    }
}
