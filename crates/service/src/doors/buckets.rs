//! Token buckets: how often one subscription, key, device or source may act per minute or day.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use doorbell_protocol::time::UnixMs;
use thiserror::Error;

use crate::locked::Locked;

/// The number of buckets that starts a sweep: full buckets are dropped. The buckets in use cannot grow faster than
/// messages are accepted.
const BUCKETS_SWEPT_AT: usize = 1 << 16;

/// The sender exceeds its rate: 429 with Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limited} exceeds {most} per {period}")]
pub(super) struct TooFast {
    /// What the limit applies to.
    limited: &'static str,
    /// The limit.
    most: u32,
    period: Period,
    /// When the next one is accepted, in whole seconds, at least one.
    pub(super) retry_after_secs: u32,
}

/// What a bucket holds the worth of, and the time in which it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Minute,
    Day,
}

impl Period {
    fn us(self) -> i64 {
        match self {
            Self::Minute => 60_000_000,
            Self::Day => 24 * 3600 * 1_000_000,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Day => "day",
        })
    }
}

/// Buckets of one kind. A bucket that is not in the table is full.
pub(super) struct Table<K> {
    limited: &'static str,
    most: AtomicU32,
    period: Period,
    buckets: Locked<Buckets<K>>,
}

struct Buckets<K> {
    /// When each bucket is full again, in microseconds. A bucket whose moment has passed is full.
    full_at_us: HashMap<K, i64>,
    sweep_at: usize,
}

impl<K: Hash + Eq> Table<K> {
    /// `0` removes the limit.
    pub(super) fn new(limited: &'static str, per_minute: u32) -> Self {
        Self::with(limited, per_minute, Period::Minute)
    }

    /// The same with a limit per day.
    pub(super) fn per_day(limited: &'static str, per_day: u32) -> Self {
        Self::with(limited, per_day, Period::Day)
    }

    fn with(limited: &'static str, most: u32, period: Period) -> Self {
        let buckets = Buckets { full_at_us: HashMap::new(), sweep_at: BUCKETS_SWEPT_AT };
        Self { limited, most: AtomicU32::new(most), period, buckets: Locked::new(buckets) }
    }

    /// Changes the limit; `0` removes it. A bucket that was half full is half full of the new limit.
    pub(super) fn set(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes one's worth. A bucket holds a period's worth, and fills in a period.
    pub(super) fn take(&self, key: K, now: UnixMs) -> Result<(), TooFast> {
        let most = self.most.load(Ordering::Relaxed);
        if most == 0 {
            return Ok(());
        }
        let now_us = now.as_millis().saturating_mul(1000);
        let mut buckets = self.buckets.lock();
        // A bucket that is not in the table is full.
        let full_at_us = buckets.full_at_us.get(&key).copied().unwrap_or(now_us);
        // Two requests may come here in the other order than that in which they read the clock.
        let missing_us = full_at_us.saturating_sub(now_us).clamp(0, self.period.us()) + self.each_us(most);
        if missing_us > self.period.us() {
            let wait_us = missing_us - self.period.us();
            let wait_secs = u32::try_from((wait_us + 999_999) / 1_000_000).expect("a bucket fills within a day");
            let retry_after_secs = wait_secs.max(1);
            return Err(TooFast { limited: self.limited, most, period: self.period, retry_after_secs });
        }
        buckets.full_at_us.insert(key, now_us.saturating_add(missing_us));
        if buckets.full_at_us.len() > buckets.sweep_at {
            buckets.full_at_us.retain(|_, full_at_us| *full_at_us > now_us);
            buckets.sweep_at = (2 * buckets.full_at_us.len()).max(BUCKETS_SWEPT_AT);
        }
        Ok(())
    }

    /// Reverts a `take`.
    pub(super) fn give_back(&self, key: &K) {
        let each_us = self.each_us(self.most.load(Ordering::Relaxed));
        if let Some(full_at_us) = self.buckets.lock().full_at_us.get_mut(key) {
            *full_at_us -= each_us;
        }
    }

    /// How long one's worth takes to fill; without a limit the value is unused.
    fn each_us(&self, most: u32) -> i64 {
        (self.period.us() / i64::from(most.max(1))).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

    #[test]
    fn a_bucket_of_a_day_fills_in_a_day() {
        let table = Table::per_day("x", 24);
        (0..24).for_each(|_| table.take((), NOW).unwrap());
        let refused = table.take((), NOW).unwrap_err();
        assert_eq!((refused.retry_after_secs, refused.to_string().as_str()), (3600, "x exceeds 24 per day"));
        let later = NOW.plus(Duration::from_secs(3600));
        table.take((), later).unwrap();
        table.take((), later).unwrap_err();
    }

    #[test]
    fn a_limit_that_changes_keeps_what_was_taken() {
        let table = Table::new("x", 4);
        (0..2).for_each(|_| table.take((), NOW).unwrap());
        table.set(8);
        (0..4).for_each(|_| table.take((), NOW).unwrap());
        assert!(table.take((), NOW).is_err(), "half of it was taken before");
        table.set(2);
        assert!(table.take((), NOW).is_err());
        table.take((), NOW.plus(Duration::from_secs(30))).unwrap();
        table.set(0);
        (0..100).for_each(|_| table.take((), NOW).unwrap());
    }

    #[test]
    fn buckets_that_have_filled_up_are_forgotten() {
        let table = Table::new("x", 60);
        for n in 0..10 * BUCKETS_SWEPT_AT as i64 {
            let now = NOW.plus(Duration::from_millis(n.unsigned_abs()));
            table.take(n, now).unwrap();
        }
        assert!(table.buckets.lock().full_at_us.len() <= 2 * BUCKETS_SWEPT_AT);
    }
}
