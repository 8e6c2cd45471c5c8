//! Token buckets: how often one subscription, key or device may act per minute.

use std::collections::HashMap;
use std::hash::Hash;

use doorbell_protocol::time::UnixMs;
use thiserror::Error;

use crate::locked::Locked;

/// The number of buckets that starts a sweep: full buckets are dropped. The buckets in use cannot grow faster than
/// messages are accepted.
const BUCKETS_SWEPT_AT: usize = 1 << 16;

const MINUTE_US: i64 = 60_000_000;

/// The sender exceeds its rate: 429 with Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limited} exceeds {per_minute} per minute")]
pub(super) struct TooFast {
    /// What the limit applies to.
    limited: &'static str,
    /// The limit.
    per_minute: u32,
    /// When the next message is accepted, in whole seconds, at least one.
    pub(super) retry_after_secs: u32,
}

/// Buckets of one kind. A bucket that is not in the table is full.
pub(super) struct Table<K> {
    limited: &'static str,
    per_minute: u32,
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
        let buckets = Buckets { full_at_us: HashMap::new(), sweep_at: BUCKETS_SWEPT_AT };
        Self { limited, per_minute, buckets: Locked::new(buckets) }
    }

    /// Takes one message's worth. A bucket holds a minute's worth and fills at the same rate.
    pub(super) fn take(&self, key: K, now: UnixMs) -> Result<(), TooFast> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let now_us = now.as_millis().saturating_mul(1000);
        let mut buckets = self.buckets.lock();
        // A bucket that is not in the table is full.
        let full_at_us = buckets.full_at_us.get(&key).copied().unwrap_or(now_us);
        // Two requests may come here in the other order than that in which they read the clock.
        let missing_us = full_at_us.saturating_sub(now_us).clamp(0, MINUTE_US) + self.each_us();
        if missing_us > MINUTE_US {
            let wait_us = missing_us - MINUTE_US;
            let wait_secs = u32::try_from((wait_us + 999_999) / 1_000_000).expect("a bucket fills within a minute");
            let retry_after_secs = wait_secs.max(1);
            return Err(TooFast { limited: self.limited, per_minute: self.per_minute, retry_after_secs });
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
        if let Some(full_at_us) = self.buckets.lock().full_at_us.get_mut(key) {
            *full_at_us -= self.each_us();
        }
    }

    /// How long one message's worth takes to fill; without a limit the value is unused.
    fn each_us(&self) -> i64 {
        (MINUTE_US / i64::from(self.per_minute.max(1))).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

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
