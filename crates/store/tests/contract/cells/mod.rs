//! What only a store of several cells guarantees: its plan, and receipts of messages in other cells than their receipt
//! subscription.

mod differential;
mod plan;
mod receipts;

use std::path::{Path, PathBuf};

use doorbell_store::{CellSource, FirstCell, Limits, OpenError, SqliteEngine, Store};

use crate::bed::NOON;

/// Opens the store in `dir` with further cells in directories of these names.
fn try_open(dir: &Path, others: &[&str]) -> Result<Store, OpenError> {
    let limits = Limits { reserve_bytes: 0, ..Limits::default() };
    Store::check_first_cell(dir)?;
    let first = FirstCell::sqlite(SqliteEngine::open(dir, limits)?, dir);
    let others: Vec<_> = others.iter().map(|name| CellSource::Sqlite(dir.join(name))).collect();
    Store::open_cells(dir, first, &others, limits, |_, _| NOON)
}

fn open(dir: &Path, others: &[&str]) -> Store {
    try_open(dir, others).unwrap()
}

/// The one line that a start is refused with.
fn refusal(dir: &Path, others: &[&str]) -> String {
    let error = try_open(dir, others).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Cells(_)), "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

fn plan_file(dir: &Path) -> PathBuf {
    dir.join("cells.plan")
}
