//! When to try again: exponential back-off with jitter, Retry-After if there is one, and a limit (RFC 8030 s8.4). Free of
//! IO: the time and the randomness are arguments.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;

/// How often and for how long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts, the first one included.
    pub attempts_max: u32,
    /// How long after the first attempt another one may begin.
    pub total_max: Duration,
    /// The delay after the first failure; it doubles with each further failure.
    pub delay_first: Duration,
    /// The longest delay that the client chooses itself; Retry-After may ask for a longer one.
    pub delay_max: Duration,
}

impl RetryPolicy {
    /// For a person at a terminal, or a job of some minutes: 6 attempts within 5 minutes.
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

    /// An attempt failed at `now`, and Retry-After was `asked`. Returns how long to wait, or `None` to give up.
    ///
    /// `random` is any number, all equally likely. The delay is never shorter than `asked`, and differs between senders:
    /// those that failed together should not try again together.
    pub fn after_failure(&mut self, asked: Option<Duration>, now: UnixMs, random: u32) -> Option<Duration> {
        self.attempts = self.attempts.saturating_add(1);
        let delay =
            asked.map_or_else(|| self.own_delay(random), |asked| asked + spread(self.jitter_for(asked), random));
        let begins_at = now.plus(delay);
        let enough = self.attempts >= self.policy.attempts_max;
        (!enough && begins_at.since(self.started_at) <= self.policy.total_max).then_some(delay)
    }

    /// Between half of the step and the whole of it.
    fn own_delay(&self, random: u32) -> Duration {
        debug_assert!(self.attempts > 0, "a delay follows a failure");
        let doublings = self.attempts.saturating_sub(1).min(20);
        let step = self.policy.delay_first.saturating_mul(1 << doublings).min(self.policy.delay_max);
        step / 2 + spread(step / 2, random)
    }

    /// Up to a tenth of what Retry-After asks for, but not more than the first step.
    fn jitter_for(&self, asked: Duration) -> Duration {
        (asked / 10).min(self.policy.delay_first)
    }
}

/// The part of `range` that `random` selects.
fn spread(range: Duration, random: u32) -> Duration {
    range.mul_f64(f64::from(random) / f64::from(u32::MAX))
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
        let wait = |random| Retry::new(POLICY, START).after_failure(None, START, random).unwrap();
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
    fn no_attempt_begins_beyond_the_total() {
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
            asked in proptest::option::of(0u64..10_000), random: u32, failures in 1u32..50, late in 0u64..200,
        ) {
            let policy = RetryPolicy { attempts_max: 100, ..POLICY };
            let mut retry = Retry::new(policy, START);
            for _ in 0..failures {
                let now = START.plus(secs(late));
                if let Some(wait) = retry.after_failure(asked.map(secs), now, random) {
                    prop_assert!(wait >= secs(asked.unwrap_or(0)));
                    prop_assert!(wait + secs(late) <= policy.total_max);
                }
            }
        }
    }
}
