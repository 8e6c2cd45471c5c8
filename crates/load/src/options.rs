//! What is measured with how much load.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::door::Door;
use crate::job::{Mix, Plan, Target};

/// Messages a second that can be sent at all, and that are worth a measurement.
pub const RATES: RangeInclusive<f64> = 0.01..=1e6;

/// How long is measured, in seconds, if no option ends it.
const SECONDS: u64 = 10;

/// What a scenario needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The service; `None`: one of its own is started.
    pub target: Option<Target>,
    /// The process of the service at `target`, if it runs on this machine.
    pub pid: Option<u32>,
    /// Where its own service keeps its state, in a new directory; with a `target`, where that service keeps its state.
    pub state: Option<PathBuf>,
    /// The empty PostgreSQL database where its own service stores messages; `None`: a file in its state.
    pub database: Option<String>,
    /// The first process of each PostgreSQL server of the database that runs on this machine.
    pub database_pids: Vec<u32>,
    /// Whether its own service uses TLS.
    pub tls: bool,
    /// Where agents receive.
    pub door: Door,
    /// How many agents there are.
    pub agents: usize,
    /// How many messages are sent; `None`: as many as there is time for.
    pub messages: Option<u64>,
    /// How long is measured; `None`: until all messages are sent, or ten seconds.
    pub seconds: Option<u64>,
    /// Messages a second, in [`RATES`]; `None`: as fast as they are answered.
    pub rate: Option<f64>,
    /// The bytes of a message's body.
    pub size: usize,
    /// How many connections send.
    pub senders: usize,
    /// Whether they send over HTTP/1.1.
    pub http1: bool,
    /// How many worker processes there are.
    pub processes: usize,
}

impl Options {
    /// As fast as they are answered, or at the given rate, until the messages or the seconds are over.
    pub(crate) fn plan(&self) -> Plan {
        let seconds = self.seconds.or(if self.messages.is_none() { Some(SECONDS) } else { None });
        Plan { messages: self.messages, seconds, rate: self.rate, mix: Mix::Plain }
    }

    /// How long to measure, in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        // A scenario that needs a time has the default one.
        self.seconds.unwrap_or(SECONDS)
    }

    /// As the report shows them.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "service": self.target.as_ref().map_or("own", |target| target.origin()),
            "store": self.database.as_ref().map(|_| "postgresql"),
            "door": self.door,
            "tls": self.tls,
            "agents": self.agents,
            "messages": self.messages,
            "seconds": self.seconds,
            "rate": self.rate,
            "size": self.size,
            "senders": self.senders,
            "http1": self.http1,
            "processes": self.processes,
        })
    }
}
