//! The ways in which an agent reaches the service, with the names that the service gives its own doors.

pub(crate) mod chromium;
pub(crate) mod firefox;
pub(crate) mod http2;
pub(crate) mod wake;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::context::{Context, Receiver};
use crate::tickets::Tickets;

/// Where agents receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// A WebSocket, as Firefox has it
    Firefox,
    /// A held GET with server pushes, as RFC 8030 has it
    Http2,
    /// MCS, as Chromium has it
    Chromium,
    /// Wake streams, as a desktop process has them. They carry no message, so a scenario of their own uses them
    #[value(skip)]
    Wake,
}

/// How the service knows an agent that has connected once, and where messages for it go. It outlives its connections.
#[derive(Clone)]
pub(super) enum Identity {
    Firefox(Option<firefox::Identity>),
    Http2(Option<http2::Identity>),
    Chromium(Option<chromium::Identity>),
    Wake(Option<wake::Identity>),
}

impl Identity {
    /// An agent that the service does not know yet.
    pub(super) fn new(door: Door) -> Self {
        match door {
            Door::Firefox => Self::Firefox(None),
            Door::Http2 => Self::Http2(None),
            Door::Chromium => Self::Chromium(None),
            Door::Wake => Self::Wake(None),
        }
    }

    /// The push resource, once it has subscribed.
    pub(super) fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Firefox(known) => known.as_ref().map(|known| known.endpoint.as_str()),
            Self::Http2(known) => known.as_ref().map(|known| known.endpoint.as_str()),
            Self::Chromium(known) => known.as_ref().map(|known| known.endpoint.as_str()),
            Self::Wake(known) => known.as_ref().map(|known| known.endpoint.as_str()),
        }
    }
}

/// An agent that is connected.
pub(super) enum Connection {
    Firefox(firefox::Connection),
    Http2(http2::Connection),
    Chromium(chromium::Connection),
    Wake(wake::Connection),
}

impl Connection {
    /// Connects as `identity`; one that the service does not know yet subscribes, for messages signed with `key`.
    pub(super) async fn open(
        context: &Context,
        key: &str,
        identity: &mut Identity,
        tickets: &Arc<Tickets>,
    ) -> io::Result<Self> {
        Ok(match identity {
            Identity::Firefox(known) => Self::Firefox(firefox::connect(context, key, known, tickets).await?),
            Identity::Http2(known) => Self::Http2(http2::connect(context, key, known, tickets).await?),
            Identity::Chromium(known) => Self::Chromium(chromium::connect(context, key, known, tickets).await?),
            Identity::Wake(known) => Self::Wake(wake::connect(context, key, known, tickets).await?),
        })
    }

    /// Receives and acknowledges until the connection ends: the reason.
    pub(super) async fn receive(self, receiver: &Receiver) -> io::Result<Infallible> {
        match self {
            Self::Firefox(connection) => connection.receive(receiver).await,
            Self::Http2(connection) => connection.receive(receiver).await,
            Self::Chromium(connection) => connection.receive(receiver).await,
            Self::Wake(connection) => connection.hold(receiver).await,
        }
    }
}
