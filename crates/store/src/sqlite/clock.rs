//! The record of the service's clock. It is what the service wrote: this file reads no clock.

use doorbell_protocol::time::UnixMs;
use rusqlite::{Connection, params};

use super::batch::Batch;
use super::sql;
use crate::model::{ClockReading, ClockRecord};

/// The last record. One that is damaged, or that a foreign program wrote in part, counts as none.
pub(super) fn read(conn: &Connection) -> rusqlite::Result<ClockRecord> {
    conn.query_row(sql::CLOCK, [], |row| {
        let moment = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(UnixMs::from_millis));
        let (time, wall, newest_wall) = (moment("time")?, moment("wall")?, moment("newest_wall")?);
        let boot = moment("boot")?.map(|boot| boot.since(UnixMs::default()));
        let boot_id = row.get("boot_id")?;
        let last = match (time, wall, newest_wall, boot) {
            (Some(time), Some(wall), Some(newest_wall), Some(boot)) => {
                Some(ClockReading { time, wall, newest_wall, boot, boot_id })
            }
            _ => None,
        };
        Ok(ClockRecord { served: moment("served")?, last })
    })
}

impl Batch<'_> {
    pub(super) fn note_clock(&mut self, record: &ClockRecord) -> rusqlite::Result<()> {
        let last = record.last.as_ref();
        let millis = |moment: UnixMs| moment.as_millis();
        // SQLite has no greater numbers; a machine does not run that long.
        let boot = last.map(|last| i64::try_from(last.boot.as_millis()).unwrap_or(i64::MAX));
        self.run(
            sql::NOTE_CLOCK,
            params![
                record.served.map(millis),
                last.map(|last| millis(last.time)),
                last.map(|last| millis(last.wall)),
                last.map(|last| millis(last.newest_wall)),
                boot,
                last.and_then(|last| last.boot_id.as_deref()),
            ],
        )?;
        Ok(())
    }
}
