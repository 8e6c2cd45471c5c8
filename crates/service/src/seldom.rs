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
pub(crate) const AT_THE_END: UnixMs = UnixMs::from_millis(i64::MAX);

/// Counts events of one kind, and decides when a line about them is due.
#[derive(Default)]
pub(crate) struct Seldom(Locked<Counted>);

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
    pub(crate) fn log(&self, now: UnixMs, line: impl FnOnce(u64) + Send + 'static) {
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
    pub(crate) fn flush(&self, now: UnixMs) {
        let mut counted = self.0.lock();
        let Some(count) = counted.due(now) else { return };
        let line = counted.line.take();
        drop(counted);
        // An event that was counted without one has no line here.
        if let Some(line) = line {
            line(count);
        }
    }

    /// Counts an event. If a line is due, returns the count since the last line.
    pub(crate) fn count(&self, now: UnixMs) -> Option<u64> {
        self.0.lock().count += 1;
        self.due(now)
    }

    /// The count since the last line, if there was an event and a line is due.
    pub(crate) fn due(&self, now: UnixMs) -> Option<u64> {
        self.0.lock().due(now)
    }
}

/// Calls `flush` once a minute. Never returns.
pub(crate) async fn regularly(flush: impl Fn()) {
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
        assert_eq!(seldom.due(now), None, "nothing happened");
        assert_eq!(seldom.count(now), Some(1));
        assert!((0..100).all(|_| seldom.count(now).is_none()));
        assert_eq!(seldom.due(now.plus(INTERVAL)), Some(100));
        assert_eq!(seldom.due(now.plus(2 * INTERVAL)), None);
        assert_eq!(seldom.count(now), Some(1), "the clock was set back");
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
