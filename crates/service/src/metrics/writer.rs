//! Writes families with their samples.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// What may go wrong: nothing, because the text is a `String`.
pub(super) type Result = std::result::Result<(), fmt::Error>;

/// Writes one family after the other.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    /// A counter; its name has no `_total` here.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> Result {
        count(self.0.encode_descriptor(name, help, None, MetricType::Counter)?, &value)
    }

    /// Counters that one label distinguishes.
    pub(super) fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(of, value)| count(family.encode_family(&[(label, of)])?, &value))
    }

    /// Counters that two labels distinguish.
    pub(super) fn counters_by_two<'v>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: impl IntoIterator<Item = ([&'v str; 2], u64)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values
            .into_iter()
            .try_for_each(|(of, value)| count(family.encode_family(&[(labels[0], of[0]), (labels[1], of[1])])?, &value))
    }

    /// A gauge; without a value when it is not known.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: Option<impl EncodeGaugeValue>) -> Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| family.encode_gauge(&value))
    }

    /// Gauges that one label distinguishes.
    pub(super) fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(of, value)| family.encode_family(&[(label, of)])?.encode_gauge(&value))
    }

    /// A histogram. `rest` counts what is above the last bound; bounds and sum are divided by `scale`.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        scale: f64,
        values: impl IntoIterator<Item = (u64, u64)>,
        rest: u64,
        sum: u64,
    ) -> Result {
        // Division by a power of ten gives the shortest text, such as 0.025.
        let scaled = |value: u64| value as f64 / scale;
        let buckets = values.into_iter().map(|(bound, count)| (scaled(bound), count));
        let buckets: Vec<_> = buckets.chain([(f64::INFINITY, rest)]).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(scaled(sum), count, &buckets, None)
    }

    /// What does not change while the process lives; its name has no `_info` here.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str); 1]) -> Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }
}

fn count(mut family: MetricEncoder<'_>, value: &impl EncodeCounterValue) -> Result {
    family.encode_counter::<NoLabelSet, _, u64>(value, None)
}
