//! Log lines that clients can cause as often as they like: one a minute, with the count.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;

use crate::locked::Locked;

/// The least time between two lines of one kind.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// Counts events of one kind, and decides when a line about them is due.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Locked<Counted>);

#[derive(Debug, Default)]
struct Counted {
    logged: Option<UnixMs>,
    count: u64,
}

impl Seldom {
    /// Counts an event. If a line is due, returns the count since the last line.
    pub(crate) fn count(&self, now: UnixMs) -> Option<u64> {
        self.0.lock().count += 1;
        self.due(now)
    }

    /// The count since the last line, if there was an event and a line is due.
    pub(crate) fn due(&self, now: UnixMs) -> Option<u64> {
        let mut counted = self.0.lock();
        // A clock that was set back must not silence the log.
        let is_due = counted.logged.is_none_or(|logged| now < logged || now >= logged.plus(INTERVAL));
        if counted.count == 0 || !is_due {
            return None;
        }
        counted.logged = Some(now);
        Some(std::mem::take(&mut counted.count))
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
}
