//! How much one subscription and one signing key may send: token buckets, charged to them and never to the address
//! that a request comes from (RFC 8030 s8.4).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorbell_protocol::id::SubscriptionId;
use doorbell_protocol::time::UnixMs;
use thiserror::Error;

use crate::capability::KeyFingerprint;

/// Buckets that are not full, in one table. Above it those that have filled up again are dropped; a table of buckets
/// that are all in use cannot grow faster than messages are accepted.
const BUCKETS_SWEPT_AT: usize = 1 << 16;

const MINUTE_US: i64 = 60_000_000;

/// A sender was too fast: 429 with Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{whose} sends more than {per_minute} messages a minute")]
pub(crate) struct TooFast {
    /// What the limit is on.
    whose: &'static str,
    /// The limit.
    per_minute: u32,
    /// When the next message would be taken, in whole seconds, at least one.
    pub(crate) retry_after_secs: u32,
}

/// The buckets of all subscriptions and keys.
pub(crate) struct Rates {
    subscriptions: Table<SubscriptionId>,
    keys: Table<KeyFingerprint>,
}

/// Buckets of one kind. A bucket that is not in the table is full.
struct Table<K> {
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

impl Rates {
    /// `0` lifts a limit.
    pub(crate) fn new(per_subscription_per_minute: u32, per_key_per_minute: u32) -> Self {
        Self {
            subscriptions: Table::new("this subscription", per_subscription_per_minute),
            keys: Table::new("this application server key", per_key_per_minute),
        }
    }

    /// Takes one message's worth from the subscription and, if the message is signed, from its key.
    pub(crate) fn admit(
        &self,
        subscription: SubscriptionId,
        key: Option<KeyFingerprint>,
        now: UnixMs,
    ) -> Result<(), TooFast> {
        self.subscriptions.take(subscription, now)?;
        // Who is too fast with one key has not sent anything to the subscription.
        key.map_or(Ok(()), |key| self.keys.take(key, now)).inspect_err(|_| self.subscriptions.give_back(&subscription))
    }
}

impl<K: Hash + Eq> Table<K> {
    fn new(whose: &'static str, per_minute: u32) -> Self {
        let buckets = Buckets { full_at_us: HashMap::new(), sweep_at: BUCKETS_SWEPT_AT };
        Self { whose, per_minute, buckets: Mutex::new(buckets) }
    }

    /// A bucket holds a minute's worth and fills at the same rate.
    fn take(&self, who: K, now: UnixMs) -> Result<(), TooFast> {
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
    fn give_back(&self, who: &K) {
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
    const A: SubscriptionId = SubscriptionId::from_raw(1);
    const B: SubscriptionId = SubscriptionId::from_raw(2);

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_as_fast_as_it_fills_ps_8030_8_4_1() {
        let rates = Rates::new(60, 0);
        assert!((0..60).all(|_| rates.admit(A, None, NOW).is_ok()));
        let refused = rates.admit(A, None, NOW).unwrap_err();
        assert_eq!(refused.retry_after_secs, 1);
        let later = NOW.plus(Duration::from_secs(refused.retry_after_secs.into()));
        assert!(rates.admit(A, None, later).is_ok(), "PS-8030-8.4-3: the time that was named is the right one");
        assert!(rates.admit(A, None, later).is_err());
        let much_later = NOW.plus(Duration::from_secs(3600));
        assert!((0..60).all(|_| rates.admit(A, None, much_later).is_ok()));
        assert!(rates.admit(A, None, much_later).is_err(), "an idle hour saves up no more than a minute");
    }

    #[test]
    fn one_subscription_is_not_charged_for_another_but_their_key_is_for_both_ps_8030_8_4_5() {
        let rates = Rates::new(10, 15);
        let key = Some([1; 16]);
        assert!((0..10).all(|_| rates.admit(A, key, NOW).is_ok()));
        assert!(rates.admit(A, key, NOW).is_err());
        assert!((0..5).all(|_| rates.admit(B, key, NOW).is_ok()));
        assert!(rates.admit(B, key, NOW).is_err());
        assert!(rates.admit(B, Some([2; 16]), NOW).is_ok());
    }

    #[test]
    fn a_limit_is_the_one_that_was_set_however_high_ps_8030_8_4_1() {
        for limit in [7_000, 120_000] {
            let rates = Rates::new(0, limit);
            assert!((0..limit).all(|_| rates.admit(A, Some([1; 16]), NOW).is_ok()), "{limit}");
            assert!((0..2).any(|_| rates.admit(A, Some([1; 16]), NOW).is_err()), "{limit}");
        }
    }

    #[test]
    fn a_message_that_its_key_may_not_send_costs_its_subscription_nothing_ps_8030_8_4_5() {
        let rates = Rates::new(10, 1);
        assert!(rates.admit(A, Some([1; 16]), NOW).is_ok());
        assert!((0..100).all(|_| rates.admit(A, Some([1; 16]), NOW).is_err()));
        assert!((2..11).all(|n| rates.admit(A, Some([n; 16]), NOW).is_ok()));
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nobody_for_longer_than_a_minute() {
        let rates = Rates::new(60, 0);
        assert!(rates.admit(A, None, NOW.plus(Duration::from_secs(3600))).is_ok());
        assert_eq!(rates.admit(A, None, NOW).unwrap_err().retry_after_secs, 1);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let rates = Rates::new(0, 0);
        assert!((0..100_000).all(|_| rates.admit(A, Some([1; 16]), NOW).is_ok()));
    }

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
