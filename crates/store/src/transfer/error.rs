//! Why a move did not end. Each text is one line for the operator, with what to do.

use std::io;

use thiserror::Error;

use crate::error::OpenError;

/// Why a service's data were not moved. The source is as it was.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The source or the target cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nothing was moved.
    #[error("{0}")]
    Refused(String),
    /// It ended on the way: what was moved stays.
    #[error("{0}: run the command again, which continues")]
    Interrupted(String),
    /// It is complete, and the next start does not know.
    #[error("everything is moved, and that could not be recorded in the state directory ({0}): run the command again")]
    Record(io::Error),
    /// It is complete, and not the same as the source.
    #[error(
        "the copy differs from its source ({tables}): empty the target (drop and create the database, or remove \
         doorbell.db) and run the command again"
    )]
    Differs {
        /// The tables that differ, with both counts and checksums.
        tables: String,
    },
}
