//! How long things took: a histogram of nanoseconds that workers send to the coordinator.

use hdrhistogram::Histogram;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Three digits of each value are kept.
const DIGITS: u8 = 3;

/// Why adding to a histogram that resizes by itself does not fail.
const RESIZES: &str = "a histogram that resizes takes every value";

/// A distribution of times.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are a precision that histograms have"))
    }
}

impl Latencies {
    /// Notes one time.
    pub(super) fn record(&mut self, nanoseconds: u64) {
        self.0.record(nanoseconds).expect(RESIZES);
    }

    /// How many were noted.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time, in milliseconds, that `percent` of all are not above; 0 if none was noted.
    pub(super) fn percentile_ms(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e6
    }

    /// The longest, in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        self.percentile_ms(100.0)
    }

    /// Adds the times of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect(RESIZES);
    }
}

impl Serialize for Latencies {
    /// Pairs of a value and how often it was noted.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter_recorded();
        serializer.collect_seq(recorded.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.0.record_n(value, count).map_err(D::Error::custom)?;
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_two_workers_are_added_with_their_percentiles() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        (1..=99).for_each(|n| one.record(n * 1_000_000));
        other.record(7_000_000_000);
        let text = serde_json::to_string(&other).unwrap();
        one.add(&serde_json::from_str(&text).unwrap());
        assert_eq!(one.count(), 100);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert!(near(one.percentile_ms(50.0), 50.0), "{}", one.percentile_ms(50.0));
        assert!(near(one.percentile_ms(99.0), 99.0), "{}", one.percentile_ms(99.0));
        assert!(near(one.max_ms(), 7000.0), "{}", one.max_ms());
        assert!(Latencies::default().percentile_ms(99.0).abs() < f64::EPSILON);
    }
}
