//! Token buckets: how often somebody may do something in a minute, for each who does it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorbell_protocol::time::UnixMs;
use thiserror::Error;

/// Buckets that are not full, in one table. Above it those that have filled up again are dropped; a table of buckets
/// that are all in use cannot grow faster than messages are accepted.
const BUCKETS_SWEPT_AT: usize = 1 << 16;

const MINUTE_US: i64 = 60_000_000;

/// Somebody was too fast: 429 with Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{whose} sends more than {per_minute} messages a minute")]
pub(super) struct TooFast {
    /// What the limit is on.
    whose: &'static str,
    /// The limit.
    per_minute: u32,
    /// When the next message would be taken, in whole seconds, at least one.
    pub(super) retry_after_secs: u32,
}

/// Buckets of one kind. A bucket that is not in the table is full.
pub(super) struct Table<K> {
    whose: &'static str,
    per_minute: u32,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    /// When each bucket will be full again, in microseconds: one number says all, and a bucket whose moment has passed
    /// is full.
    full_at_us: HashMap<K, i64>,
    sweep_at: usize,
}

impl<K: Hash + Eq> Table<K> {
    /// `0` lifts the limit.
    pub(super) fn new(whose: &'static str, per_minute: u32) -> Self {
        let buckets = Buckets { full_at_us: HashMap::new(), sweep_at: BUCKETS_SWEPT_AT };
        Self { whose, per_minute, buckets: Mutex::new(buckets) }
    }

    /// A bucket holds a minute's worth and fills at the same rate.
    pub(super) fn take(&self, who: K, now: UnixMs) -> Result<(), TooFast> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let now_us = now.as_millis().saturating_mul(1000);
        let mut buckets = self.lock();
        let full_at_us = buckets.full_at_us.get(&who).copied().unwrap_or(now_us);
        // No bucket is ever emptier than empty: were the clock set back, it would be.
        let missing_us = full_at_us.saturating_sub(now_us).clamp(0, MINUTE_US) + self.each_us();
        if missing_us > MINUTE_US {
            let wait_us = missing_us - MINUTE_US;
            let retry_after_secs = u32::try_from((wait_us + 999_999) / 1_000_000).unwrap_or(u32::MAX).max(1);
            return Err(TooFast { whose: self.whose, per_minute: self.per_minute, retry_after_secs });
        }
        buckets.full_at_us.insert(who, now_us.saturating_add(missing_us));
        if buckets.full_at_us.len() > buckets.sweep_at {
            buckets.full_at_us.retain(|_, full_at_us| *full_at_us > now_us);
            buckets.sweep_at = (2 * buckets.full_at_us.len()).max(BUCKETS_SWEPT_AT);
        }
        Ok(())
    }

    /// Undoes a `take`.
    pub(super) fn give_back(&self, who: &K) {
        if let Some(full_at_us) = self.lock().full_at_us.get_mut(who) {
            *full_at_us -= self.each_us();
        }
    }

    /// How long one message's worth takes to fill; not asked where there is no limit.
    fn each_us(&self) -> i64 {
        (MINUTE_US / i64::from(self.per_minute.max(1))).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets<K>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(table.buckets.lock().unwrap().full_at_us.len() <= 2 * BUCKETS_SWEPT_AT);
    }
}
