//! How long to wait before trying again: exponential, with full jitter, so that agents that lost their connections
//! together do not return together.

use std::time::Duration;

use crate::random;

/// The bounds of a wait. The n-th failure in a row waits a random share of `first * 2^(n-1)`, of `longest` at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait of all.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row, drawn evenly from zero to the bound by `random`.
    pub fn wait(&self, failures: u32, random: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let bound = self.first.saturating_mul(1 << doublings).min(self.longest);
        bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// The same with randomness from the system.
    pub fn draw(&self, failures: u32) -> Duration {
        self.wait(failures, random::bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

    #[test]
    fn the_bound_doubles_with_each_failure_and_stops_at_the_longest() {
        let longest: Vec<u64> = (1..12).map(|n| BACKOFF.wait(n, u32::MAX).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(BACKOFF.wait(u32::MAX, u32::MAX), BACKOFF.longest);
    }

    #[test]
    fn the_whole_span_down_to_zero_is_drawn_from() {
        for failures in [0, 1, 7, 40] {
            let bound = BACKOFF.wait(failures, u32::MAX);
            assert_eq!(BACKOFF.wait(failures, 0), Duration::ZERO);
            let half = BACKOFF.wait(failures, u32::MAX / 2);
            assert!(half > bound.mul_f64(0.49) && half < bound.mul_f64(0.51));
        }
    }
}
