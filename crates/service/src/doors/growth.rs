//! How many agents, receipt subscriptions and Chromium devices may be created per minute, by all clients together and by
//! one source. Creating one needs no permission, and none of them can be charged for it.

use doorbell_protocol::time::UnixMs;

use super::buckets::{Table, TooFast};
use crate::transport::source::Source;

/// The buckets for what is created of one kind.
pub(super) struct Growth {
    all: Table<()>,
    /// So that one client alone does not empty the bucket for all.
    of_source: Table<Source>,
}

impl Growth {
    /// `0` removes a limit.
    pub(super) fn new(per_minute: u32, per_source: u32) -> Self {
        Self { all: Table::new("the service", per_minute), of_source: Table::new("this address", per_source) }
    }

    /// Takes one's worth; `source` is unknown behind a proxy. What the limit for all rejects costs the source nothing.
    pub(super) fn admit(&self, source: Option<Source>, now: UnixMs) -> Result<(), TooFast> {
        if let Some(source) = source {
            self.of_source.take(source, now)?;
        }
        let taken = self.all.take((), now);
        taken.inspect_err(|_| source.iter().for_each(|source| self.of_source.give_back(source)))
    }
}
