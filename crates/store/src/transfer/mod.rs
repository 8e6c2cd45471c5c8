//! Moves a service's data between the engines: `doorbell import` and `doorbell export`.
//!
//! Both directions are one procedure over two sides (`copy.rs`); what is moved is a list of tables (`table.rs`). Neither
//! side is served meanwhile: the lock of the directory and the life of the database belong to the move. A move that was
//! ended at any moment is continued by the next one, and until then its target is refused by the service.

mod copy;
mod error;
mod postgres;
mod record;
mod sqlite;
mod table;

use std::fmt::{Display, Formatter};
use std::io;
use std::path::Path;

use crate::error::OpenError;
use crate::postgres::{PostgresOptions, connection};
use postgres::Database;
use sqlite::Directory;

pub use error::TransferError;
#[doc(hidden)]
pub use table::known_columns;

/// What a move does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It writes the rows to the target.
    Copy,
    /// It reads both sides again.
    Verify,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub step: Step,
    /// The table.
    pub table: &'static str,
    /// Rows of the table that this step has done.
    pub done: u64,
    /// Rows of the table in all; for [`Step::Verify`] of both sides.
    pub rows: u64,
}

impl Display for Progress {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let step = match self.step {
            Step::Copy => "copying",
            Step::Verify => "verifying",
        };
        write!(f, "{step} {}: {} of {} rows", self.table, self.done, self.rows)
    }
}

/// A table as it was read from both sides after the move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its name.
    pub table: &'static str,
    /// Rows of the source.
    pub source_rows: u64,
    /// SHA-256 of all rows of the source in the order of their keys, in hexadecimal.
    pub source_sum: String,
    /// Rows of the target.
    pub target_rows: u64,
    /// SHA-256 of all rows of the target.
    pub target_sum: String,
}

impl Verified {
    /// Whether both sides hold the same.
    pub fn is_same(&self) -> bool {
        (self.source_rows, &self.source_sum) == (self.target_rows, &self.target_sum)
    }
}

impl Display for Verified {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { table, source_rows, source_sum, target_rows, target_sum } = self;
        write!(f, "{table}: source {source_rows} rows {source_sum}, target {target_rows} rows {target_sum}")
    }
}

/// A move that is complete: every table was the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The tables, and at last the record of the service's clock and greatest numbers.
    pub tables: Vec<Verified>,
    /// An earlier move had completed it, so that nothing was written.
    pub was_complete: bool,
}

/// Moves what the store in `dir` holds to an empty database. `dir` stays as it is. Blocks until it is done. `record` notes
/// for the next start where the data is now, while neither side can be served.
///
/// # Errors
/// [`TransferError`].
pub fn import(
    dir: &Path,
    options: &PostgresOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
    record: impl FnOnce() -> io::Result<()> + Send,
) -> Result<Report, TransferError> {
    connection::outside_runtimes(|| {
        let mut source = Directory::source(dir)?;
        let mut target = Database::target(options)?;
        let report = copy::run(&mut source, &mut target, progress)?;
        record().map_err(TransferError::Record)?;
        Ok(report)
    })
    .map_err(OpenError::Thread)?
}

/// Moves what a database holds to the store in `dir`, which is created if it is missing. Blocks until it is done. `record`
/// is that of [`import`].
///
/// # Errors
/// [`TransferError`].
pub fn export(
    options: &PostgresOptions,
    dir: &Path,
    progress: &mut (dyn FnMut(Progress) + Send),
    record: impl FnOnce() -> io::Result<()> + Send,
) -> Result<Report, TransferError> {
    connection::outside_runtimes(|| {
        let mut source = Database::source(options)?;
        let mut target = Directory::target(dir)?;
        let report = copy::run(&mut source, &mut target, progress)?;
        record().map_err(TransferError::Record)?;
        Ok(report)
    })
    .map_err(OpenError::Thread)?
}
