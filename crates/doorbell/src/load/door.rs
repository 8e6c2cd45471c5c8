//! The ways in which an agent reaches the service, with the names that the service gives its own doors.

pub(super) mod firefox;

use std::convert::Infallible;
use std::io;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::world::{Ear, World};

/// Where agents receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Door {
    /// A WebSocket, as Firefox has it
    Firefox,
}

/// Who an agent is to the service, and where messages for it go. It outlives its connections.
#[derive(Clone)]
pub(super) enum Identity {
    Firefox(firefox::Identity),
}

impl Identity {
    /// The push resource.
    pub(super) fn endpoint(&self) -> &str {
        match self {
            Self::Firefox(identity) => &identity.endpoint,
        }
    }
}

/// An agent that is connected.
pub(super) enum Connection {
    Firefox(firefox::Connection),
}

/// Connects agent `number`: as who it was before, or as somebody new who subscribes.
pub(super) async fn connect(
    world: &World,
    number: usize,
    known: Option<Identity>,
) -> io::Result<(Connection, Identity)> {
    let key = world.keys.public(number);
    match (world.job.door, known) {
        (Door::Firefox, None) => {
            let (connection, identity) = firefox::connect(world, key, None).await?;
            Ok((Connection::Firefox(connection), Identity::Firefox(identity)))
        }
        (_, Some(Identity::Firefox(known))) => {
            let (connection, identity) = firefox::connect(world, key, Some(known)).await?;
            Ok((Connection::Firefox(connection), Identity::Firefox(identity)))
        }
    }
}

impl Connection {
    /// Receives and acknowledges until the connection ends: why it did.
    pub(super) async fn attend(self, ear: &Ear) -> io::Result<Infallible> {
        match self {
            Self::Firefox(connection) => connection.attend(ear).await,
        }
    }
}
