//! The last hour, minute by minute, in memory of a fixed size.

use std::collections::VecDeque;
use std::time::Duration;

use doorbell_protocol::time::UnixMs;

use crate::health::Figures;
use crate::status::Connected;

/// How many minutes are kept.
pub(super) const MINUTES: usize = 60;
/// The time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Samples of the figures, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// By the time of the service, which no one can set.
    at: UnixMs,
    /// What the wall clock showed.
    wall: UnixMs,
    figures: Figures,
}

/// What happened in one minute, and what was there at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Minute {
    /// Its end, by the wall clock.
    pub(super) end: UnixMs,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) refused: u64,
    pub(super) stored: u64,
    pub(super) connected: Connected,
}

impl History {
    /// Adds a sample; the oldest one leaves when an hour is complete.
    pub(super) fn add(&mut self, at: UnixMs, wall: UnixMs, figures: Figures) {
        // The first one is only what the next is compared with.
        if self.samples.len() > MINUTES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at, wall, figures });
    }

    /// The last hour before `now`, the oldest minute first. One that was not measured, because the service did not run or
    /// the machine slept, is `None`.
    pub(super) fn minutes(&self, now: UnixMs) -> [Option<Minute>; MINUTES] {
        let mut minutes = [None; MINUTES];
        for (before, after) in self.samples.iter().zip(self.samples.iter().skip(1)) {
            let age = now.since(after.at).as_secs() / INTERVAL.as_secs();
            // What is older than an hour is left out.
            let Some(place) = usize::try_from(age).ok().and_then(|age| (MINUTES - 1).checked_sub(age)) else {
                continue;
            };
            let (old, new) = (before.figures.since_start, after.figures.since_start);
            minutes[place] = Some(Minute {
                end: after.wall,
                accepted: new.accepted.saturating_sub(old.accepted),
                delivered: new.delivered.saturating_sub(old.delivered),
                refused: new.refused.saturating_sub(old.refused),
                stored: after.figures.stored.messages,
                connected: after.figures.connected,
            });
        }
        minutes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{SinceStart, Stored};

    const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);

    fn at(minute: u32) -> UnixMs {
        NOON.plus(minute * INTERVAL)
    }

    fn figures(accepted: u64) -> Figures {
        let since_start = SinceStart { accepted, ..SinceStart::default() };
        let stored = Stored { messages: 10 * accepted, ..Stored::default() };
        Figures { since_start, stored, ..Figures::default() }
    }

    #[test]
    fn a_minute_is_the_difference_of_two_samples_and_an_hour_is_kept() {
        let mut history = History::default();
        for minute in 0..1000 {
            history.add(at(minute), at(minute), figures(u64::from(minute * minute)));
        }
        assert_eq!(history.samples.len(), MINUTES + 1);
        let minutes = history.minutes(at(999).plus(Duration::from_secs(59)));
        assert!(minutes.iter().all(Option::is_some));
        let last = minutes[MINUTES - 1].unwrap();
        assert_eq!((last.accepted, last.stored, last.end), (999 * 999 - 998 * 998, 10 * 999 * 999, at(999)));
    }

    #[test]
    fn minutes_that_were_not_measured_are_gaps_and_old_ones_are_left_out() {
        let mut history = History::default();
        assert!(history.minutes(NOON).iter().all(Option::is_none));
        for minute in [0, 1, 2, 30] {
            history.add(at(minute), at(minute), figures(u64::from(minute)));
        }
        let minutes = history.minutes(at(31));
        let measured: Vec<_> = (0..MINUTES).filter(|place| minutes[*place].is_some()).collect();
        assert_eq!(measured, [29, 30, 58]);
        assert_eq!(minutes[58].unwrap().accepted, 28, "what happened in the gap");
        assert!(history.minutes(at(200)).iter().all(Option::is_none));
    }
}
