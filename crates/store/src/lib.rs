//! The durable memory of the push service: one batched trait, and engines in memory, on SQLite and on PostgreSQL.
//!
//! [`Store`] is the handle that the service holds. Its writes wait in a queue for one thread, which commits many of them
//! with one fsync and answers them after that: `Ok` means durable. [`Engine`] is the trait of what commits and reads.

mod answer;
mod cells;
mod clock;
mod cluster;
mod committer;
mod engine;
mod error;
mod failure;
mod figures;
mod limits;
mod lock;
mod memory;
mod model;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
mod quota;
mod readers;
mod recent;
mod rules;
mod seldom;
mod sqlite;
mod store;
mod totals;
#[cfg(feature = "postgres")]
pub mod transfer;

pub use answer::Answer;
pub use cells::{CELLS_MAX, CellPlan, CellSource, FirstCell, NoPosition, ReceiptPosition};
#[cfg(feature = "postgres")]
pub use cluster::Cluster;
pub use cluster::random_id;
pub use engine::{EXPIRY_BUCKET_MS, Engine, Reader, Write, Written, expiry_bucket};
pub use error::{CommitError, Damage, OpenError, ReadError, StoreError, TidyError};
pub use failure::Failure;
pub use figures::{BATCH_WRITES, COMMIT_MICROS, Commits, Contents, Distribution, Ended, Figures, Resolved};
pub use limits::{
    EXPIRE_MAX, Held, Limits, MESSAGE_OVERHEAD_BYTES, PAGE_MAX, RECEIPT_BYTES, REMOVAL_COST_BYTES, SEEN_PRECISION_MS,
    SWEEP_MAX,
};
pub use lock::DirLock;
pub use memory::MemoryEngine;
pub use model::{
    Appended, ClockReading, ClockRecord, Erased, IdleBounds, IdleRemoved, Lookup, NewMessage, Page, Pending, Receipt,
    ReceiptPage, Removed, StoredMessage, Subscription, Swept, UnusedBounds,
};
#[cfg(feature = "postgres")]
pub use postgres::{Identity, Migrated, Migration, PostgresEngine, PostgresOptions};
pub use sqlite::SqliteEngine;
pub use store::Store;
