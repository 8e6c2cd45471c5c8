//! How many agents, receipt subscriptions and Chromium devices may be created, by all clients together and by one source.
//! Creating one needs no permission, and none of them can be charged for it.

use doorbell_protocol::time::UnixMs;
use tracing::warn;

use super::buckets::{Table, TooFast};
use crate::config::Limits;
use crate::seldom::Seldom;
use crate::transport::source::Source;

/// The buckets for what is created of one kind.
pub(super) struct Growth {
    /// The kind, in a log line.
    what: &'static str,
    all: Table<()>,
    /// So that one client alone does not empty the bucket for all.
    of_source: Table<Source>,
    /// So that it does not fill the store either: what it created and did not use stays for days.
    of_source_a_day: Table<Source>,
    refusals: Seldom,
}

/// How much may be created; `0` removes a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) per_minute: u32,
    pub(super) per_minute_of_source: u32,
    pub(super) per_day_of_source: u32,
}

impl Bounds {
    /// In a day one source creates at most a tenth of the agents that may be unused, which stay for a week.
    pub(super) fn of_agents(limits: &Limits) -> Self {
        Self::of(limits.new_agents_per_minute, limits.new_agents_per_source, limits.unused_agents_max / 10)
    }

    /// In a day one source creates at most a quarter of the receipt subscriptions that may be unused, which stay for two days.
    pub(super) fn of_receipt_subscriptions(limits: &Limits) -> Self {
        let (per_minute, of_source) =
            (limits.new_receipt_subscriptions_per_minute, limits.new_receipt_subscriptions_per_source);
        Self::of(per_minute, of_source, limits.unused_receipt_subscriptions_max / 4)
    }

    fn of(per_minute: u32, per_minute_of_source: u32, share: u32) -> Self {
        // Without a limit per minute a source has none at all.
        let per_day_of_source = if per_minute_of_source == 0 { 0 } else { share.max(1) };
        Self { per_minute, per_minute_of_source, per_day_of_source }
    }
}

impl Growth {
    pub(super) fn new(what: &'static str, bounds: Bounds) -> Self {
        Self {
            what,
            all: Table::new("the service", bounds.per_minute),
            of_source: Table::new("this address", bounds.per_minute_of_source),
            of_source_a_day: Table::per_day("this address", bounds.per_day_of_source),
            refusals: Seldom::default(),
        }
    }

    /// Changes how much may be created.
    pub(super) fn set(&self, bounds: Bounds) {
        self.all.set(bounds.per_minute);
        self.of_source.set(bounds.per_minute_of_source);
        self.of_source_a_day.set(bounds.per_day_of_source);
    }

    /// Takes one's worth; `source` is unknown behind a proxy.
    pub(super) fn admit(&self, source: Option<Source>, now: UnixMs) -> Result<(), TooFast> {
        self.take(source, now).inspect_err(|limit| {
            let (what, limit) = (self.what, *limit);
            self.refusals.log(now, move |times| {
                warn!(what, %limit, times, "too many are created: refused with 429");
            });
        })
    }

    /// Logs the refusals that have had no line, if one is due.
    pub(super) fn flush_lines(&self, now: UnixMs) {
        self.refusals.flush(now);
    }

    /// What one limit rejects costs nothing at the others.
    fn take(&self, source: Option<Source>, now: UnixMs) -> Result<(), TooFast> {
        let Some(source) = source else { return self.all.take((), now) };
        self.of_source.take(source, now)?;
        self.of_source_a_day.take(source, now).inspect_err(|_| self.of_source.give_back(&source))?;
        self.all.take((), now).inspect_err(|_| {
            self.of_source.give_back(&source);
            self.of_source_a_day.give_back(&source);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

    fn source(address: &str) -> Option<Source> {
        Some(Source::of(address.parse::<IpAddr>().unwrap()))
    }

    /// How many are admitted before one is refused.
    fn admitted(growth: &Growth, from: &str, now: UnixMs) -> usize {
        (0..100).take_while(|_| growth.admit(source(from), now).is_ok()).count()
    }

    #[test]
    fn a_source_has_its_share_of_a_minute_and_of_a_day_and_what_is_refused_costs_others_nothing() {
        let bounds = Bounds { per_minute: 12, per_minute_of_source: 5, per_day_of_source: 8 };
        let growth = Growth::new("x", bounds);
        assert_eq!(admitted(&growth, "192.0.2.1", NOW), 5);
        assert_eq!(admitted(&growth, "192.0.2.2", NOW), 5);
        assert_eq!(admitted(&growth, "192.0.2.3", NOW), 2, "what is left of the minute of all");
        let later = NOW.plus(Duration::from_secs(60));
        assert_eq!(admitted(&growth, "192.0.2.1", later), 3, "what is left of its day");
        assert_eq!(admitted(&growth, "192.0.2.3", later), 5, "what was refused is not charged");
    }

    #[test]
    fn a_source_without_a_limit_a_minute_has_none_a_day() {
        let bounds = Bounds::of(0, 0, 1);
        assert_eq!(admitted(&Growth::new("x", bounds), "192.0.2.1", NOW), 100);
    }
}
