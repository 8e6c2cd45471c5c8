//! What every engine owes the service: one suite run on each of them, a differential test between them, and what
//! only durable ones owe: crashes, full disks, old files.

#![allow(clippy::duplicate_mod, reason = "the same cases run on each engine")]
#![allow(clippy::unwrap_used, reason = "a test may panic, and so may what helps it")]

mod bed;
mod crash;
mod differential;
mod faults;
mod format;
mod front;
mod on_memory;
mod on_sqlite;
mod sqlite;
