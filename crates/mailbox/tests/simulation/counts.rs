//! How often something interesting happened: a simulation in which nothing goes wrong proves nothing.

use std::collections::BTreeMap;

/// Everything that has to happen in the default run.
pub(crate) const EVENTS: [&str; 52] = [
    "accepted during a load",
    "ack during the commit",
    "ack of a message that waits",
    "ack of a parked message",
    "ack of a replaced push",
    "ack of an unknown message",
    "agent removed",
    "arrived",
    "body gone",
    "clock ahead after a crash",
    "clock back after a crash",
    "clock far ahead after a crash",
    "connect after the agent was removed",
    "crash loses writes",
    "crash",
    "declined",
    "delivered after a crash",
    "drained after sending",
    "drained without sending",
    "erasure failed",
    "evicted",
    "expired on its way",
    "expired while waiting",
    "floor held back",
    "floor let go",
    "load race: known",
    "load race: over",
    "load race: storing",
    "load: another page",
    "load: stale page",
    "not passed on: again",
    "not passed on: end",
    "not passed on: over",
    "not stored",
    "offered again",
    "parked",
    "quiet",
    "redelivered after a disconnect",
    "redelivered after a refusal",
    "redelivered after a time-out",
    "refused twice",
    "replaced on its way",
    "replaced while waiting",
    "reported: away",
    "reported: more urgent",
    "reported: no life",
    "stored without a subscriber",
    "transient dropped",
    "transient lost",
    "transient sent",
    "unsubscribed on its way",
    "unsubscribed while storing",
];

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn add(&mut self, event: &'static str) {
        assert!(EVENTS.contains(&event), "{event} is not in the list");
        *self.0.entry(event).or_insert(0) += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (event, count) in &other.0 {
            *self.0.entry(event).or_insert(0) += count;
        }
    }

    pub(crate) fn missing(&self) -> Vec<&'static str> {
        EVENTS.into_iter().filter(|event| !self.0.contains_key(event)).collect()
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(event, count)| writeln!(f, "{count:>9}  {event}"))
    }
}
