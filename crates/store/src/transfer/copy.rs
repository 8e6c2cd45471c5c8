//! The move itself: batches of rows in the order of their keys, each in one transaction, so that the greatest key of a
//! table of the target is how far the move is. Then both sides are read, counted and summed.

use super::error::TransferError;
use super::record::{Checksum, Key, Record, key};
use super::table::{TABLES, Table};
use super::{Progress, Report, Step, Verified};

/// Rows of a batch, at most.
pub(super) const ROWS_MAX: usize = 1_000;
/// Once a batch has so many bytes, no further row is read.
pub(super) const BYTES_MAX: usize = 4 << 20;

/// What can be read.
pub(super) trait Side {
    /// Where it is, for the operator.
    fn shown(&self) -> &str;

    fn count(&mut self, table: &Table) -> Result<u64, TransferError>;

    /// The next rows behind `after`; none at the end.
    fn read(&mut self, table: &Table, after: Option<&Key>) -> Result<Vec<Record>, TransferError>;

    /// The record of [`SERVICE`](super::table::SERVICE).
    fn service(&mut self) -> Result<Record, TransferError>;

    /// Fails if another process may have written since this side was opened.
    fn still_held(&mut self) -> Result<(), TransferError>;
}

/// What a target held.
pub(super) enum Begun {
    /// Nothing, or a part of the same source.
    Ready,
    /// Rows, and no move is unfinished.
    NotEmpty,
}

/// What became of rows that were written.
pub(super) enum Wrote {
    All,
    /// The connection was lost: all of them or none.
    Unknown,
}

/// What can be written.
pub(super) trait Target: Side {
    /// Notes in the target that a move from `source` is unfinished, so that no service serves it.
    fn begin(&mut self, source: &Source) -> Result<Begun, TransferError>;

    fn last_key(&mut self, table: &Table) -> Result<Option<Key>, TransferError>;

    /// Writes rows behind all that are there.
    fn write(&mut self, table: &Table, rows: &[Record]) -> Result<Wrote, TransferError>;

    fn write_service(&mut self, record: &Record) -> Result<(), TransferError>;

    /// Removes the note of [`Self::begin`].
    fn finish(&mut self) -> Result<(), TransferError>;
}

/// Which source this is: another one, or the same after a service has run on it, has another checksum.
pub(super) struct Source {
    pub(super) shown: String,
    pub(super) checksum: String,
}

/// Moves everything from `source` to `target`.
pub(super) fn run(
    source: &mut dyn Side,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, TransferError> {
    let identity = Source { shown: source.shown().to_owned(), checksum: fingerprint(source)? };
    let was_complete = match target.begin(&identity)? {
        Begun::Ready => false,
        // Perhaps the last command moved everything, and was killed before it said so.
        Begun::NotEmpty if fingerprint(target)? == identity.checksum => true,
        Begun::NotEmpty => return Err(not_empty(target)),
    };
    if !was_complete {
        for table in TABLES {
            copy(source, target, table, progress)?;
        }
        let record = source.service()?;
        target.write_service(&record)?;
    }
    let tables = verify(source, target, progress)?;
    let differing: Vec<_> = tables.iter().filter(|table| !table.is_same()).map(ToString::to_string).collect();
    if !differing.is_empty() {
        return Err(if was_complete {
            not_empty(target)
        } else {
            TransferError::Differs { tables: differing.join("; ") }
        });
    }
    source.still_held()?;
    if !was_complete {
        target.finish()?;
    }
    Ok(Report { tables, was_complete })
}

fn not_empty(target: &dyn Target) -> TransferError {
    TransferError::Refused(format!(
        "{} is not empty: name an empty database or directory, or move its doorbell.db away; nothing was changed",
        target.shown()
    ))
}

/// The service's record, which changes with each start of a service, and how many rows there are.
fn fingerprint<S: Side + ?Sized>(side: &mut S) -> Result<String, TransferError> {
    let mut checksum = Checksum::new();
    checksum.add(&side.service()?);
    for table in TABLES {
        let rows = i64::try_from(side.count(table)?).expect("a count of rows fits into 63 bits");
        checksum.add(&vec![super::record::Value::Number(rows)]);
    }
    Ok(checksum.text())
}

fn copy(
    source: &mut dyn Side,
    target: &mut dyn Target,
    table: &Table,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), TransferError> {
    let rows = source.count(table)?;
    let mut done = target.count(table)?;
    let mut after = target.last_key(table)?;
    loop {
        progress(Progress { step: Step::Copy, table: table.name, done, rows });
        let batch = source.read(table, after.as_ref())?;
        let Some(last) = batch.last() else { return Ok(()) };
        match target.write(table, &batch)? {
            Wrote::All => {
                done += batch.len() as u64;
                after = Some(key(table, last));
            }
            Wrote::Unknown => {
                after = target.last_key(table)?;
                done = target.count(table)?;
            }
        }
    }
}

/// Counts and sums every row of both sides.
fn verify(
    source: &mut dyn Side,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Verified>, TransferError> {
    let mut tables = Vec::new();
    for table in TABLES {
        let all = source.count(table)? + target.count(table)?;
        let mut done = 0;
        let mut read = |count: u64| {
            done += count;
            progress(Progress { step: Step::Verify, table: table.name, done, rows: all });
        };
        let (source_rows, source_sum) = sum(source, table, &mut read)?;
        let (target_rows, target_sum) = sum(target, table, &mut read)?;
        tables.push(Verified { table: table.name, source_rows, source_sum, target_rows, target_sum });
    }
    let of_service = |record: Record| {
        let mut checksum = Checksum::new();
        checksum.add(&record);
        checksum.text()
    };
    tables.push(Verified {
        table: "clock and marks",
        source_rows: 1,
        source_sum: of_service(source.service()?),
        target_rows: 1,
        target_sum: of_service(target.service()?),
    });
    Ok(tables)
}

fn sum<S: Side + ?Sized>(
    side: &mut S,
    table: &Table,
    read: &mut dyn FnMut(u64),
) -> Result<(u64, String), TransferError> {
    let (mut rows, mut checksum, mut after) = (0, Checksum::new(), None);
    loop {
        let batch = side.read(table, after.as_ref())?;
        read(batch.len() as u64);
        let Some(last) = batch.last() else { return Ok((rows, checksum.text())) };
        after = Some(key(table, last));
        rows += batch.len() as u64;
        batch.iter().for_each(|record| checksum.add(record));
    }
}
