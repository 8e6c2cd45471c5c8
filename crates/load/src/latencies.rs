//! How long things took: a histogram of nanoseconds that workers hand to the coordinator.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Three digits of each value are kept.
const DIGITS: u8 = 3;

/// A distribution of times.
#[derive(Debug)]
pub(super) struct Latencies(Option<Histogram<u64>>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).ok())
    }
}

impl Latencies {
    /// Notes one time.
    pub(super) fn record(&mut self, nanoseconds: u64) {
        self.record_n(nanoseconds, 1);
    }

    /// How many were noted.
    pub(super) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The time, in milliseconds, that `percent` of all are not above; 0 if none was noted.
    #[allow(clippy::cast_precision_loss, reason = "three digits are kept")]
    pub(super) fn percentile_ms(&self, percent: f64) -> f64 {
        self.0.as_ref().map_or(0.0, |histogram| histogram.value_at_percentile(percent) as f64 / 1e6)
    }

    /// The longest, in milliseconds.
    pub(super) fn most_ms(&self) -> f64 {
        self.percentile_ms(100.0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        if let (Some(ours), Some(theirs)) = (&mut self.0, &other.0) {
            // Both resize by themselves, so that there is nothing that could not be added.
            let _ = ours.add(theirs);
        }
    }

    fn record_n(&mut self, nanoseconds: u64, count: u64) {
        if let Some(histogram) = &mut self.0 {
            // It grows with what it is given, so that there is no time that it could not take.
            let _ = histogram.record_n(nanoseconds, count);
        }
    }
}

impl Serialize for Latencies {
    /// Pairs of a value and how often it was noted.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter().flat_map(Histogram::iter_recorded);
        serializer.collect_seq(recorded.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latencies.record_n(value, count);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_workers_noted_comes_together_with_its_percentiles() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        (1..=99).for_each(|n| one.record(n * 1_000_000));
        other.record(7_000_000_000);
        let text = serde_json::to_string(&other).unwrap();
        one.add(&serde_json::from_str(&text).unwrap());
        assert_eq!(one.count(), 100);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert!(near(one.percentile_ms(50.0), 50.0), "{}", one.percentile_ms(50.0));
        assert!(near(one.percentile_ms(99.0), 99.0), "{}", one.percentile_ms(99.0));
        assert!(near(one.most_ms(), 7000.0), "{}", one.most_ms());
        assert!(Latencies::default().percentile_ms(99.0).abs() < f64::EPSILON);
    }
}
