//! The messages between the coordinator and its workers: one JSON value in each line.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;
use url::Url;

use crate::door::Door;
use crate::error::{Blame, LoadError, Result};
use crate::latencies::Latencies;
use crate::ledger::Verdict;

/// The push service that is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Scheme and authority, without a slash at the end.
    pub(super) origin: String,
    /// The host alone, without brackets.
    pub(super) host: String,
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
    /// The only certificate authorities to trust; `None`: the system's.
    pub(super) ca: Option<PathBuf>,
}

impl Target {
    /// The service at `url`, whose certificate an authority in the file `ca` signed, or one of the system's.
    pub async fn resolve(url: &str, ca: Option<PathBuf>) -> Result<Self, LoadError> {
        let parsed = Url::parse(url).blame_usage(format_args!("{url} is not a URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(LoadError::Usage(format!("{url} begins neither with https:// nor with http://")));
        }
        let (host, port) =
            parsed.host_str().zip(parsed.port_or_known_default()).blame_usage("the URL names no host")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let found = lookup_host((host.as_str(), port)).await;
        let address = found.blame_usage(format_args!("cannot look {host} up"))?.next();
        Ok(Self {
            origin: parsed.origin().ascii_serialization(),
            address: address.blame_usage(format_args!("{host} has no address"))?,
            host,
            tls: parsed.scheme() == "https",
            ca,
        })
    }

    /// Scheme and authority, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it uses TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Host and port, as `Host` and `:authority` have them.
    pub(super) fn authority(&self) -> &str {
        self.origin.split_once("://").map_or(&self.origin, |(_, authority)| authority)
    }
}

/// A worker's part: the first line that it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) target: Target,
    /// The address that its connections come from; `None`: whichever the system takes.
    pub(super) source: Option<IpAddr>,
    pub(super) door: Door,
    /// How many agents it has at most.
    pub(super) agents: usize,
    /// How many connections it sends on.
    pub(super) senders: usize,
    /// Whether it sends over HTTP/1.1.
    pub(super) http1: bool,
    /// The bytes of a message's body.
    pub(super) size: usize,
}

/// What a worker does next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Connect agents until there are this many; one that was connected before has the same identity again.
    Connect(usize),
    /// Connect one agent and receive a message.
    First,
    /// Open wake streams on each connection until it has this many.
    Profiles(usize),
    /// Disconnect all agents.
    Leave,
    /// Send messages to the agents that have subscribed, in turn, and wait for the answers.
    Send(Plan),
    /// The same, while agents disconnect and connect again.
    Day(Plan),
    /// Wait until everything that was accepted has arrived.
    Settle,
}

/// How much is sent, how fast, and what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// How many messages; `None`: as many as there is time for.
    pub(super) messages: Option<u64>,
    /// For how long; `None`: until all are sent.
    pub(super) seconds: Option<u64>,
    /// How many a second, whatever the service does; `None`: as fast as they are answered.
    pub(super) rate: Option<f64>,
    pub(super) mix: Mix,
}

/// What is sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Mix {
    /// Messages that are kept for an hour.
    Plain,
    /// All urgencies, TTLs of nothing, of seconds and of an hour, some with topics.
    Day,
}

/// What a worker reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Update {
    /// How far it is with the order.
    Progress(Progress),
    /// The order is carried out.
    Done(Box<Outcome>),
    /// It failed.
    Failed(LoadError),
}

/// Counted since the worker began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) connected: u64,
    pub(super) accepted: u64,
    pub(super) arrived: u64,
}

impl Progress {
    pub(super) fn add(&mut self, other: Self) {
        self.connected += other.connected;
        self.accepted += other.accepted;
        self.arrived += other.arrived;
    }
}

/// The result of one order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// How long it took, in nanoseconds; of several workers the longest.
    pub(super) wall: u64,
    /// How long the worker's thread ran, and how long it waited for a core, in nanoseconds.
    pub(super) ran: u64,
    pub(super) waited: u64,
    /// Agents that connected, and how: after a full TLS handshake or a resumed one.
    pub(super) connected: u64,
    pub(super) full_handshakes: u64,
    pub(super) resumed_handshakes: u64,
    /// How long that took each.
    pub(super) connects: Latencies,
    /// Connections that had to be tried again.
    pub(super) retries: u64,
    /// What the first of them failed with.
    pub(super) retry_why: Option<String>,
    /// Connections of agents that the service ended.
    pub(super) broken: u64,
    /// What the first of them ended with.
    pub(super) broken_why: Option<String>,
    /// Bytes that agents received over TCP, with those of TLS.
    pub(super) down: u64,
    /// Messages that were accepted, and how long after they were due the answer came.
    pub(super) accepted: u64,
    pub(super) answers: Latencies,
    /// How many were answered with which other status.
    pub(super) refused: BTreeMap<u16, u64>,
    /// How long after they were due messages were sent.
    pub(super) slips: Latencies,
    /// What became of all messages so far; only [`Order::Settle`] sets it.
    pub(super) verdict: Verdict,
    /// Messages that arrived for the first time, and how long after they were due.
    pub(super) arrivals: Latencies,
    /// Messages that came once more: on a later connection, or on the same one.
    pub(super) again: u64,
    pub(super) twice: u64,
}

impl Outcome {
    /// Adds the result of another worker, which worked at the same time.
    pub(super) fn add(&mut self, other: Self) {
        self.wall = self.wall.max(other.wall);
        self.ran += other.ran;
        self.waited += other.waited;
        self.connected += other.connected;
        self.full_handshakes += other.full_handshakes;
        self.resumed_handshakes += other.resumed_handshakes;
        self.connects.add(&other.connects);
        self.retries += other.retries;
        self.retry_why = self.retry_why.take().or(other.retry_why);
        self.broken += other.broken;
        self.broken_why = self.broken_why.take().or(other.broken_why);
        self.down += other.down;
        self.accepted += other.accepted;
        self.answers.add(&other.answers);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.slips.add(&other.slips);
        self.verdict.add(other.verdict);
        self.arrivals.add(&other.arrivals);
        self.again += other.again;
        self.twice += other.twice;
    }
}
