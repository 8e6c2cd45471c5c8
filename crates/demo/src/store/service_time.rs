//! Service time: for how long the demo has run in all. What is old is old by it and not by the wall clock, so that a
//! clock that jumps, or that is wrong at boot, ages nothing and no one.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use super::Store;
use crate::error::DemoError;

/// How often it is written. What is not written at a crash is not counted, and everything is kept a little longer.
const WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// A point of it, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceTime(pub(crate) i64);

impl ServiceTime {
    pub(super) fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    pub(super) fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

/// It as the store counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// Up to the last time that it was written.
    written: ServiceTime,
    at: Instant,
}

impl Meter {
    /// What was counted before, from `now` on.
    pub(super) fn resume(connection: &Connection, now: Instant) -> rusqlite::Result<Self> {
        let written = connection.query_row("SELECT ms FROM service_time", [], |row| row.get(0)).optional()?;
        // A new store has none.
        Ok(Self { written: ServiceTime(written.unwrap_or(0)), at: now })
    }

    fn read(self, now: Instant) -> ServiceTime {
        self.written.plus(now.saturating_duration_since(self.at))
    }
}

impl Store {
    /// The service time at `now`. It is written from time to time.
    pub(crate) fn service_time(&self, now: Instant) -> Result<ServiceTime, DemoError> {
        let connection = self.connection();
        let mut meter = crate::lock::lock(&self.meter);
        let time = meter.read(now);
        if time >= meter.written.plus(WRITTEN_EVERY) {
            connection.execute("INSERT OR REPLACE INTO service_time (id, ms) VALUES (1, ?1)", [time.0])?;
            *meter = Meter { written: time, at: now };
        }
        Ok(time)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn service_time_goes_on_where_it_was_when_the_demo_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, start) = (folder.path().join("demo.sqlite"), clock::moment().instant);
        let store = Store::open(&file, start).unwrap();
        assert_eq!(store.service_time(start).unwrap(), ServiceTime(0));
        let later = start + Duration::from_secs(3600);
        assert_eq!(store.service_time(later).unwrap(), ServiceTime(3_600_000));
        drop(store);
        let much_later = later + Duration::from_secs(1_000_000);
        let store = Store::open(&file, much_later).unwrap();
        assert_eq!(store.service_time(much_later).unwrap(), ServiceTime(3_600_000), "it did not run in between");
    }
}
