//! The clocks: the record of the service's clock, and the one place of this engine that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;
use tokio_postgres::{Error, Row};

use crate::model::{ClockReading, ClockRecord};

/// How far the wall clocks of this machine and of the database may be apart, in milliseconds.
const SKEW_MAX_MS: i64 = 2_000;

/// The wall clock, in milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this is a clock file")]
pub(super) fn wall_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).expect("no clock shows a year so late")
}

/// Refuses a clock that is too far off. `theirs` was read by the database between `before` and `after`.
pub(super) fn check(before: i64, theirs: i64, after: i64) -> Result<(), String> {
    let off = if theirs < before { theirs - before } else { (theirs - after).max(0) };
    if off.abs() <= SKEW_MAX_MS {
        return Ok(());
    }
    let (seconds, which) = (off.abs() / 1_000, if off > 0 { "ahead of" } else { "behind" });
    Err(format!("its clock is {seconds} s {which} the clock of this machine: set both by NTP"))
}

/// The last record. One that a foreign program wrote in part counts as none.
pub(super) fn record(row: &Row) -> Result<ClockRecord, Error> {
    let moment = |column| Ok::<_, Error>(row.try_get::<_, Option<i64>>(column)?.map(UnixMs::from_millis));
    let (time, wall, newest_wall) = (moment("time")?, moment("wall")?, moment("newest_wall")?);
    let boot = moment("boot")?.map(|boot| boot.since(UnixMs::default()));
    let boot_id = row.try_get("boot_id")?;
    let last = match (time, wall, newest_wall, boot) {
        (Some(time), Some(wall), Some(newest_wall), Some(boot)) => {
            Some(ClockReading { time, wall, newest_wall, boot, boot_id })
        }
        _ => None,
    };
    Ok(ClockRecord { served: moment("served")?, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_more_than_two_seconds_is_refused() {
        assert_eq!(check(10_000, 8_000, 10_100), Ok(()));
        assert_eq!(check(10_000, 12_100, 10_100), Ok(()));
        assert!(check(10_000, 7_000, 10_100).unwrap_err().contains("3 s behind"));
        assert!(check(10_000, 3_610_101, 10_100).unwrap_err().contains("3600 s ahead of"));
    }
}
