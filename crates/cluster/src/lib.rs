//! Which node owns which agents: lives, leases and slots in one cell of the store, without IO and without a clock.
//!
//! The database is the only arbiter. A [`Member`] decides what to ask it for and what of its answers means that the node
//! may serve a slot; that nothing is written for a slot by a life that does not hold it is the database's matter, because
//! each batch updates the row of its own life first. So a wrong decision here costs time and never a message.
//!
//! [`wire`] has the frames that the nodes of a cell send each other.

mod far;
mod ids;
mod link;
mod map;
mod member;
mod router;
mod slot;
pub mod wire;

pub use far::{FarEnds, FarLink, Opening};
pub use ids::IdReserve;
pub use link::{AtSocket, FromOwner, Link, ToOwner};
pub use map::{Holder, Map, NodeRow, NodeState};
pub use member::{Effect, Input, Member, Rules};
pub use router::{PATIENCE, Route, Router};
pub use slot::{SLOTS, Slot, SlotSet};

/// The number of a node in a cell: 1 to 1023, which is also a part of the ids that it mints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// One stay of a node in a cell. The next one of the same number is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life(pub i64);
