//! What every engine guarantees: one suite that runs on each, a differential test between them, and what only durable
//! engines guarantee: crashes, full disks, old files.

#![allow(clippy::duplicate_mod, reason = "the same cases run on each engine")]
#![allow(clippy::unwrap_used, reason = "a test may panic, and so may what helps it")]

mod bed;
mod cells;
mod crash;
mod differential;
mod faults;
mod format;
mod front;
mod on_cells;
mod on_memory;
#[cfg(feature = "postgres")]
mod on_postgres;
mod on_sqlite;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
