//! A message bus, and a connection to it.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::Flags;
use zbus::{Connection, DynamicType, Message, MessageStream};

/// The name, the path and the interface of the bus itself. No other connection can send under this name.
pub(super) const DBUS: Service =
    Service { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };

/// How long a bus may take to accept a connection, and a service to reply to a call.
const OPEN_MAX: Duration = Duration::from_secs(5);
pub(super) const REPLY_MAX: Duration = Duration::from_secs(10);
/// Messages that are read ahead. A message may be large, so few of them.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");
/// The first wait after a connection was lost or refused; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// A connection that held this long shows that the next one is worth an attempt soon.
const STABLE: Duration = Duration::from_secs(60);

/// An object of a program on a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
}

/// Which bus.
#[derive(Clone, Debug)]
pub(super) enum Bus {
    /// The one of the user's session.
    Session,
    /// The one of the machine.
    System,
    /// One with this address.
    #[cfg(test)]
    At(String),
}

impl Bus {
    /// Connects, or reports why that fails.
    pub(super) async fn open(&self) -> Result<Connection, String> {
        let builder = match self {
            Self::Session => Builder::session(),
            Self::System => Builder::system(),
            #[cfg(test)]
            Self::At(address) => Builder::address(address.as_str()),
        };
        let connection = builder.max_queued(QUEUE).method_timeout(REPLY_MAX).build();
        match timeout(OPEN_MAX, connection).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the bus does not answer within {} s", OPEN_MAX.as_secs())),
        }
    }
}

/// A connection whose messages are all read in order, replies too.
///
/// A reply that is awaited elsewhere would never come while the queue of messages is full: it is behind them.
#[derive(Debug)]
pub(super) struct Wire {
    connection: Connection,
    messages: MessageStream,
}

impl Wire {
    pub(super) async fn open(bus: &Bus) -> Result<Self, String> {
        let connection = bus.open().await?;
        Ok(Self { messages: MessageStream::from(&connection), connection })
    }

    /// The identity of the bus: another one after the bus was started anew.
    pub(super) fn bus_id(&self) -> String {
        self.connection.server_guid().to_string()
    }

    /// The next message; `None` once the connection is lost.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.messages.next().await?.ok()
    }

    /// Sends a call. The serial number is the one of its reply. A connection that is lost ends [`Wire::next`].
    pub(super) async fn call<B>(&self, to: Service, member: &'static str, body: &B) -> Option<NonZeroU32>
    where
        B: Serialize + DynamicType,
    {
        self.write(to, member, Flags::empty(), body).await
    }

    /// Sends a call whose outcome does not matter.
    pub(super) async fn send<B>(&self, to: Service, member: &'static str, body: &B)
    where
        B: Serialize + DynamicType,
    {
        self.write(to, member, Flags::NO_REPLY_EXPECTED, body).await;
    }

    async fn write<B>(&self, to: Service, member: &'static str, flags: Flags, body: &B) -> Option<NonZeroU32>
    where
        B: Serialize + DynamicType,
    {
        let call = Message::method_call(to.path, member).destination(to.name).interface(to.interface).with_flags(flags);
        let call = call.build(body).inspect_err(|error| tracing::error!(%error, "a call that cannot be built")).ok()?;
        self.connection.send(&call).await.ok()?;
        Some(call.primary_header().serial_num())
    }
}

/// The waits between attempts to connect.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) const fn new() -> Self {
        Self(PAUSE_FIRST)
    }

    /// A connection held so long.
    pub(super) fn after(&mut self, held: Duration) {
        if held >= STABLE {
            *self = Self::new();
        }
    }

    /// How long to wait now; longer the next time.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause
    }
}
