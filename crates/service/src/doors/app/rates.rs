//! How much one subscription and one signing key may send. The token buckets belong to them, never to the address of a
//! request (RFC 8030 s8.4).

use doorbell_protocol::id::SubscriptionId;
use doorbell_protocol::time::UnixMs;

use crate::capability::KeyFingerprint;
use crate::doors::buckets::{Table, TooFast};

/// The buckets of all subscriptions and keys.
pub(in crate::doors) struct Rates {
    subscriptions: Table<SubscriptionId>,
    keys: Table<KeyFingerprint>,
}

impl Rates {
    /// `0` removes a limit.
    pub(in crate::doors) fn new(per_subscription_per_minute: u32, per_key_per_minute: u32) -> Self {
        Self {
            subscriptions: Table::new("this subscription", per_subscription_per_minute),
            keys: Table::new("this application server key", per_key_per_minute),
        }
    }

    /// Changes the limits.
    pub(in crate::doors) fn set(&self, per_subscription_per_minute: u32, per_key_per_minute: u32) {
        self.subscriptions.set(per_subscription_per_minute);
        self.keys.set(per_key_per_minute);
    }

    /// Takes one message's worth from the subscription and, for a signed message, from its key.
    pub(in crate::doors) fn admit(
        &self,
        subscription: SubscriptionId,
        key: Option<KeyFingerprint>,
        now: UnixMs,
    ) -> Result<(), TooFast> {
        self.subscriptions.take(subscription, now)?;
        // A message that its key's limit rejects costs the subscription nothing.
        key.map_or(Ok(()), |key| self.keys.take(key, now)).inspect_err(|_| self.subscriptions.give_back(&subscription))
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
    fn no_limit_is_no_limit() {
        let rates = Rates::new(0, 0);
        assert!((0..100_000).all(|_| rates.admit(A, Some([1; 16]), NOW).is_ok()));
    }
}
