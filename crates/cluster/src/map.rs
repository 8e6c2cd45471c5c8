//! What the database holds of the nodes and the slots of a cell, as one read of it saw.

use std::collections::BTreeMap;

use crate::slot::{SLOTS, Slot};
use crate::{Life, NodeId};

/// The nodes and the slots of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// By their numbers, also those whose life is over.
    pub nodes: BTreeMap<NodeId, NodeRow>,
    /// Who holds each slot; `None`: it is free.
    pub slots: [Option<Holder>; SLOTS],
}

/// The row of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its life, or the last one.
    pub life: Life,
    /// The last batch of this life that was committed.
    pub batch: u64,
    /// What it does.
    pub state: NodeState,
    /// Its lease is over, by the clock of the database.
    pub is_late: bool,
    /// It has renewed its lease for five seconds without a gap of two: it may end the lives of others. After an outage of the
    /// database so long that a lease could lapse, no node is steady before each has had time to renew.
    pub is_steady: bool,
    /// Whether it takes slots.
    pub owns_slots: bool,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It serves.
    Up,
    /// It yields its slots, and then ends.
    Draining,
    /// Its life is over.
    Ended,
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// The life that holds it.
    pub life: Life,
}

impl Map {
    /// Before anything was read.
    pub fn empty() -> Self {
        Self { nodes: BTreeMap::new(), slots: [None; SLOTS] }
    }

    /// Who holds a slot.
    pub fn holder(&self, slot: Slot) -> Option<Holder> {
        self.slots[usize::from(slot.0)]
    }

    /// The node that should hold a slot: of those that serve and take slots. One that is late is one of them until its
    /// life is ended: otherwise a pause of a second would move all that it has.
    pub fn target(&self, slot: Slot) -> Option<NodeId> {
        let takes = |row: &NodeRow| row.state == NodeState::Up && row.owns_slots;
        slot.target(self.nodes.iter().filter(|(_, row)| takes(row)).map(|(node, _)| *node))
    }
}
