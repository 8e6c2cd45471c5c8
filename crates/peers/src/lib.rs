//! The connections between the nodes of a cell.
//!
//! Each process makes a key when it starts and writes its [`Pin`] into its row of the database. A connection is mutual TLS
//! 1.3 between exactly the keys of lives that are up: who can write the database is in the cluster, and nobody else, so no
//! authority has to be kept or renewed.
//!
//! A node dials every other one, so two nodes have two connections. On each, the node that dialed asks and the other
//! answers. A frame that was sent may be lost with its connection, and no frame overtakes another one on it. What follows
//! from a loss is decided by `doorbell-cluster`: a write is sent again, a link is opened again.

mod connection;
mod dial;
mod identity;
mod network;
mod outgoing;
mod verify;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use identity::{Identity, Pin};
pub use network::{ConnectionId, Event, Network, Peer, SendError, View};

/// The times and bounds of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a connection may take until both sides know each other.
    pub handshake_max: Duration,
    /// Connections that may be at that point at a time; the next ones are closed.
    pub strangers_max: usize,
    /// A side that has sent nothing for so long sends a ping.
    pub ping_after: Duration,
    /// A connection on which nothing came for so long is over. So is one that takes no bytes for so long.
    pub silence_max: Duration,
    /// Bytes that may wait to be sent on one connection.
    pub queue_max: usize,
    /// The longest wait between two attempts to connect.
    pub redial_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            handshake_max: Duration::from_secs(3),
            strangers_max: 64,
            ping_after: Duration::from_secs(1),
            silence_max: Duration::from_secs(4),
            queue_max: 16 << 20,
            redial_max: Duration::from_secs(1),
        }
    }
}
