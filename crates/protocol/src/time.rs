//! Wall-clock time as a value: milliseconds since the Unix epoch, passed in by the owner of a clock.

use std::time::Duration;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates: no input can make it overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(i64);

impl UnixMs {
    /// The moment `ms` milliseconds after the epoch (negative: before it).
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// The moment `s` seconds after the epoch, as JWT claims count (RFC 7519 s2, NumericDate).
    pub const fn from_secs(s: i64) -> Self {
        Self(s.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `d` later.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(saturated(d)))
    }

    /// The moment `d` before this one.
    pub fn minus(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(saturated(d)))
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

/// A duration in milliseconds; one that does not fit is longer than any that matters.
fn saturated(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_at_the_edges_saturates() {
        let last = UnixMs::from_millis(i64::MAX);
        assert_eq!(last.plus(Duration::from_secs(u64::MAX)), last);
        assert_eq!(UnixMs::from_secs(i64::MAX), last);
        assert_eq!(UnixMs::from_millis(5).since(last), Duration::ZERO);
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(UnixMs::from_millis(-1).as_secs(), -1);
        assert_eq!(UnixMs::from_millis(1999).as_secs(), 1);
    }
}
