//! When to try again: exponential back-off with jitter, Retry-After where there is one, and an end to it
//! (RFC 8030 s8.4). Pure: the time and the dice are arguments.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a message is sent at most, the first time included.
    pub attempts_max: u32,
    /// For how long after the first attempt another one may begin.
    pub total_max: Duration,
    /// The wait after the first failure; it doubles with each further one.
    pub delay_first: Duration,
    /// The longest wait that we choose ourselves; Retry-After may ask for a longer one.
    pub delay_max: Duration,
}

impl RetryPolicy {
    /// For somebody who waits at a terminal, or a job of some minutes: 6 attempts within 5 minutes.
    pub const BRIEF: Self = Self {
        attempts_max: 6,
        total_max: Duration::from_secs(300),
        delay_first: Duration::from_secs(1),
        delay_max: Duration::from_secs(60),
    };

    /// One attempt.
    pub const ONCE: Self = Self { attempts_max: 1, ..Self::BRIEF };
}

/// The retries of one message.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    policy: RetryPolicy,
    started_at: UnixMs,
    attempts: u32,
}

impl Retry {
    /// Before the first attempt, which begins `now`.
    pub const fn new(policy: RetryPolicy, now: UnixMs) -> Self {
        Self { policy, started_at: now, attempts: 0 }
    }

    /// How many attempts have failed.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// An attempt failed at `now`, and the push service asked for `asked`: how long to wait, or `None` to give up.
    ///
    /// `dice` is any number, all equally likely. The wait is never shorter than asked for, and never the same for
    /// everybody: senders that failed together should not come back together.
    pub fn after_failure(&mut self, asked: Option<Duration>, now: UnixMs, dice: u32) -> Option<Duration> {
        self.attempts = self.attempts.saturating_add(1);
        let delay = asked.map_or_else(|| self.own_delay(dice), |asked| asked + spread(self.jitter_for(asked), dice));
        let begins_at = now.plus(delay);
        let enough = self.attempts >= self.policy.attempts_max;
        (!enough && begins_at.since(self.started_at) <= self.policy.total_max).then_some(delay)
    }

    /// Between half of the step and the whole of it.
    fn own_delay(&self, dice: u32) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(20);
        let step = self.policy.delay_first.saturating_mul(1 << doublings).min(self.policy.delay_max);
        step / 2 + spread(step / 2, dice)
    }

    /// Up to a tenth of what was asked for, but not more than the first step: nobody waits long for good manners.
    fn jitter_for(&self, asked: Duration) -> Duration {
        (asked / 10).min(self.policy.delay_first)
    }
}

/// A part of `range`, as the dice fell.
fn spread(range: Duration, dice: u32) -> Duration {
    range.mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: UnixMs = UnixMs::from_secs(1_800_000_000);
    const POLICY: RetryPolicy = RetryPolicy {
        attempts_max: 5,
        total_max: Duration::from_secs(100),
        delay_first: Duration::from_secs(2),
        delay_max: Duration::from_secs(10),
    };

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn waits_double_up_to_a_limit_and_end_as_8030_7_3_1() {
        let mut retry = Retry::new(POLICY, START);
        let waits: Vec<_> = (0..5).map(|_| retry.after_failure(None, START, u32::MAX)).collect();
        assert_eq!(waits, [Some(secs(2)), Some(secs(4)), Some(secs(8)), Some(secs(10)), None]);
        assert_eq!(retry.attempts(), 5);
    }

    #[test]
    fn jitter_spreads_over_the_upper_half() {
        let wait = |dice| Retry::new(POLICY, START).after_failure(None, START, dice).unwrap();
        assert_eq!(wait(0), secs(1));
        assert_eq!(wait(u32::MAX), secs(2));
        assert!(wait(u32::MAX / 2) > secs(1) && wait(u32::MAX / 2) < secs(2));
    }

    #[test]
    fn retry_after_is_honoured_even_beyond_our_own_limit_as_8030_7_3_1() {
        let mut retry = Retry::new(POLICY, START);
        assert_eq!(retry.after_failure(Some(secs(50)), START, 0), Some(secs(50)));
        assert_eq!(retry.after_failure(Some(secs(0)), START, u32::MAX), Some(secs(0)));
        assert_eq!(retry.after_failure(Some(secs(50)), START, u32::MAX), Some(secs(52)));
    }

    #[test]
    fn nobody_waits_beyond_the_total() {
        assert_eq!(Retry::new(POLICY, START).after_failure(Some(secs(101)), START, 0), None);
        let mut late = Retry::new(POLICY, START);
        assert_eq!(late.after_failure(None, START.plus(secs(99)), 0), Some(secs(1)));
        assert_eq!(late.after_failure(None, START.plus(secs(100)), 0), None);
    }

    #[test]
    fn one_attempt_means_one() {
        assert_eq!(Retry::new(RetryPolicy::ONCE, START).after_failure(Some(secs(0)), START, 0), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_asked_for_and_always_within_the_total(
            asked in proptest::option::of(0u64..10_000), dice: u32, failures in 1u32..50, late in 0u64..200,
        ) {
            let policy = RetryPolicy { attempts_max: 100, ..POLICY };
            let mut retry = Retry::new(policy, START);
            for _ in 0..failures {
                let now = START.plus(secs(late));
                if let Some(wait) = retry.after_failure(asked.map(secs), now, dice) {
                    prop_assert!(wait >= secs(asked.unwrap_or(0)));
                    prop_assert!(wait + secs(late) <= policy.total_max);
                }
            }
        }
    }
}
