//! A store in several databases, its cells: each has its own writer, readers and disk.
//!
//! An agent's cell is a pure function of its id ([`CellPlan`]), so an operation needs no directory to find it, and one
//! machine uses several disks and writer threads. A store of one cell has no plan, and costs nothing more.

mod cell;
mod merge;
mod open;
mod plan;
mod plan_file;
mod position;
mod routes;

pub(crate) use cell::Cell;
pub(crate) use merge::{merged, receipts};
pub(crate) use open::has_plan;
pub use open::{CellSource, FirstCell};
pub use plan::{CELLS_MAX, CellPlan};
pub use position::{NoPosition, ReceiptPosition};
pub(crate) use routes::Routes;
