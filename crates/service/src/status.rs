//! The status of a running service, for its operator. It identifies no user: it has no URL of a client, no key, and no
//! origin of a site.

use doorbell_store::{Figures, Store};
use serde::Serialize;

/// What a service is and does at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The version of the program.
    pub version: &'static str,
    /// The origin that its URLs begin with.
    pub origin: String,
    /// Where clients connect.
    pub listeners: Vec<ListenerStatus>,
    /// The wall clock, as RFC 3339.
    pub time: String,
    /// How long it has run since its start, without the time in which the machine slept, in seconds.
    pub uptime_secs: u64,
    /// Whether it is stopping: it finishes what it has begun.
    pub is_draining: bool,
    /// Whether it can do its work.
    pub readiness: Readiness,
    /// Open streams to agents, by door.
    pub connected: Connected,
    /// Where the messages are stored.
    pub store: StoreStatus,
    /// What the store holds.
    pub stored: Stored,
    /// The same of each cell, in their order.
    pub cells: Vec<CellStatus>,
    /// What has happened since the start.
    pub since_start: SinceStart,
    /// The certificate that clients get, if TLS ends here.
    pub certificate: Option<CertificateStatus>,
    /// The disk with the state directory; `None` if the messages are in a database.
    pub disk: Option<DiskStatus>,
    /// What is known of the wall clock.
    pub clock: ClockStatus,
    /// The limits that are reached now, by the names of their settings: clients get 429.
    pub limits_reached: Vec<&'static str>,
}

/// One address of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerStatus {
    /// Address and port.
    pub address: String,
    /// What it serves: `tls`, `plain` or `mcs`.
    pub serves: &'static str,
}

/// Whether a service can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether all conditions hold.
    pub is_ready: bool,
    /// All of them, always in the same order.
    pub conditions: Vec<Condition>,
}

/// One thing that a service needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its name, one word.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was seen, in one line.
    pub message: String,
    /// What to do, in one line; `None` if there is nothing to do.
    pub hint: Option<String>,
}

/// Open streams to agents, by door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connected {
    /// Requests that wait for server pushes over HTTP/2.
    pub pushes: u64,
    /// Streams of server-sent events.
    pub events: u64,
    /// WebSockets of Firefox and others with its protocol.
    pub firefox: u64,
    /// MCS connections of Chromium.
    pub chromium: u64,
    /// Wake streams of desktops.
    pub wake: u64,
}

/// Where the messages are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// `sqlite`, in the state directory, or `postgresql`.
    pub engine: &'static str,
    /// The name and the hosts of the database, without user and password; `None` with SQLite.
    pub database: Option<String>,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// User agents.
    pub agents: u64,
    /// Subscriptions of all agents.
    pub subscriptions: u64,
    /// Messages that wait for their agents.
    pub messages: u64,
    /// Bytes of messages and receipts, as `stored_bytes_max` counts them.
    pub bytes: u64,
    /// Receipt subscriptions of application servers.
    pub receipt_subscriptions: u64,
    /// Receipts that were not fetched.
    pub receipts: u64,
    /// Writes that wait for the next commit.
    pub queued_writes: u64,
}

/// What one cell of the store holds and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CellStatus {
    /// Its number, from 1: the first is the state directory or `database`, the others are `cells`.
    pub cell: usize,
    /// User agents.
    pub agents: u64,
    /// Messages that wait for their agents.
    pub messages: u64,
    /// Bytes of messages and receipts.
    pub bytes: u64,
    /// Writes that wait for the next commit.
    pub queued_writes: u64,
    /// Commits since the start.
    pub commits: u64,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinceStart {
    /// Messages that were accepted.
    pub accepted: u64,
    /// Messages that their agents acknowledged.
    pub delivered: u64,
    /// Messages that ended otherwise.
    pub undelivered: u64,
    /// Requests that got an error.
    pub refused: u64,
}

/// The certificate that clients get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Where it comes from: `acme`, `files` or `self-signed`.
    pub source: &'static str,
    /// Its end, as RFC 3339; `None` while there is no certificate.
    pub not_after: Option<String>,
    /// Seconds until its end; negative after it.
    pub ends_in_secs: Option<i64>,
    /// Why the certificate that should follow cannot be used, if it cannot.
    pub problem: Option<String>,
}

/// The disk with the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// Bytes that are free for the store, on the disk and in its files, at its last commit; `None` if the file system does not report it.
    pub available_bytes: Option<u64>,
    /// With less than this, the store does not grow (`disk_floor_bytes`).
    pub floor_bytes: u64,
    /// The file that is given up when the disk is full (`disk_reserve_bytes`).
    pub reserve_bytes: u64,
    /// Whether the reserve is there.
    pub is_reserve_held: bool,
}

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockStatus {
    /// `right`, `jumped` (in the last hour) or `wrong`.
    pub state: &'static str,
}

impl Readiness {
    pub(crate) fn of(conditions: Vec<Condition>) -> Self {
        Self { is_ready: conditions.iter().all(|condition| condition.ok), conditions }
    }
}

impl Condition {
    /// A condition that holds.
    pub(crate) fn holds(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, ok: true, message: message.into(), hint: None }
    }

    /// A condition that does not hold, and what to do.
    pub(crate) fn fails(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, ok: false, message: message.into(), hint: Some(hint.into()) }
    }

    /// The same with something to do, although it holds.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl CellStatus {
    /// Those of all cells of a store, in their order.
    pub(crate) fn all(store: &Store) -> Vec<Self> {
        let status = |(cell, figures): (usize, Figures)| Self {
            cell,
            agents: figures.contents.agents,
            messages: figures.contents.messages,
            bytes: figures.contents.bytes,
            queued_writes: figures.queued_writes,
            commits: figures.commits.duration_micros.count,
        };
        (1..).zip(store.cell_figures()).map(status).collect()
    }
}

impl Connected {
    /// All streams together.
    pub fn all(&self) -> u64 {
        self.pushes + self.events + self.firefox + self.chromium + self.wake
    }
}
