//! What was sent and what arrived: no message may be lost, and none may come twice, unless a connection ended in between.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::clock::SECOND;

/// An agent that was connected from this long before a message was sent until this long after its TTL ended could have
/// received it.
const MARGIN: u64 = SECOND;

/// A message that arrives this much later than its TTL allows was not just under way.
const LATE: u64 = 10 * SECOND;

/// The messages of one worker, each under its serial number.
#[derive(Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    /// Accepted and not arrived.
    outstanding: u64,
}

/// One message. Times are nanoseconds of the monotonic clock, 0 for what has not happened.
struct Entry {
    sent: u64,
    accepted: u64,
    arrived: u64,
    /// The connection on which it arrived last.
    connection: u32,
    envelope: Envelope,
}

/// Where a message goes, and with which header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) agent: u32,
    pub(super) ttl_secs: u32,
    /// 0: none.
    pub(super) topic: u8,
}

/// What an arrival means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It had not arrived before.
    First,
    /// It had, on an earlier connection, which may have ended before its acknowledgement arrived.
    Again,
    /// It had, on the same connection, on which it was acknowledged.
    Twice,
    /// It is not in this ledger.
    Unknown,
}

impl Ledger {
    /// Enters a message: its serial number.
    pub(super) fn send(&mut self, envelope: Envelope, now: u64) -> u32 {
        let serial = u32::try_from(self.entries.len()).expect("memory ends before four billion entries do");
        self.entries.push(Entry { sent: now, accepted: 0, arrived: 0, connection: 0, envelope });
        serial
    }

    /// The service has accepted it.
    pub(super) fn accept(&mut self, serial: u32, now: u64) {
        let entry = &mut self.entries[serial as usize];
        debug_assert_eq!(entry.accepted, 0, "a message is accepted once");
        entry.accepted = now;
        self.outstanding += u64::from(entry.arrived == 0);
    }

    /// It has arrived, which may be before the answer to its sender.
    pub(super) fn arrive(&mut self, serial: u32, connection: u32, now: u64) -> Arrival {
        let Some(entry) = self.entries.get_mut(serial as usize) else { return Arrival::Unknown };
        let earlier = std::mem::replace(&mut entry.connection, connection);
        if entry.arrived != 0 {
            return if earlier == connection { Arrival::Twice } else { Arrival::Again };
        }
        entry.arrived = now;
        if entry.accepted != 0 {
            debug_assert!(self.outstanding > 0, "an accepted message that had not arrived was outstanding");
            self.outstanding -= 1;
        }
        Arrival::First
    }

    /// What became of all messages, as seen at `now`. `was_connected` returns whether an agent was connected all the time
    /// from one moment to another.
    pub(super) fn judge(&self, now: u64, was_connected: impl Fn(u32, u64, u64) -> bool) -> Verdict {
        let topics = self.topics();
        let mut verdict = Verdict::default();
        for (serial, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.accepted != 0) {
            let Envelope { agent, ttl_secs, topic } = entry.envelope;
            let end = entry.accepted + u64::from(ttl_secs) * SECOND;
            if entry.arrived != 0 {
                verdict.late += u64::from(ttl_secs > 0 && entry.arrived > end + LATE);
                continue;
            }
            let was_connected = || was_connected(agent, entry.sent.saturating_sub(MARGIN), end + MARGIN);
            let replaced = topics.get(&(agent, topic)).is_some_and(|last| last.replaced(serial, entry.sent));
            let fate = if replaced {
                &mut verdict.replaced
            } else if now < end + MARGIN {
                &mut verdict.missing
            } else if was_connected() {
                &mut verdict.expired_there
            } else {
                &mut verdict.expired
            };
            *fate += 1;
        }
        verdict
    }

    /// The last two accepted messages of each topic.
    fn topics(&self) -> HashMap<(u32, u8), Last> {
        let mut topics: HashMap<(u32, u8), Last> = HashMap::new();
        let with_topic =
            self.entries.iter().enumerate().filter(|(_, entry)| entry.envelope.topic > 0 && entry.accepted != 0);
        for (serial, entry) in with_topic {
            let last = topics.entry((entry.envelope.agent, entry.envelope.topic)).or_default();
            if entry.accepted > last.accepted {
                *last = Last { serial, accepted: entry.accepted, before: last.accepted };
            } else {
                last.before = last.before.max(entry.accepted);
            }
        }
        topics
    }

    /// How many were accepted and have not arrived.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }
}

/// What became of the accepted messages that did not arrive in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// They have not arrived, and there is no excuse for that.
    pub(super) missing: u64,
    /// They have not arrived because their TTL ended while their agent was away.
    pub(super) expired: u64,
    /// They have not arrived before their TTL ended although their agent was connected: the service, the network or the load was slow.
    pub(super) expired_there: u64,
    /// They have not arrived because a later one of their topic took their place.
    pub(super) replaced: u64,
    /// They arrived after their TTL had ended.
    pub(super) late: u64,
}

impl Verdict {
    pub(super) fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.expired += other.expired;
        self.expired_there += other.expired_there;
        self.replaced += other.replaced;
        self.late += other.late;
    }
}

/// The message of a topic that was accepted last, and when the one before it was.
#[derive(Default)]
struct Last {
    serial: usize,
    accepted: u64,
    before: u64,
}

impl Last {
    /// Whether another message of the topic, accepted after `sent`, may have replaced the message `serial` that was sent
    /// then.
    fn replaced(&self, serial: usize, sent: u64) -> bool {
        let other = if serial == self.serial { self.before } else { self.accepted };
        other >= sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Envelope = Envelope { agent: 0, ttl_secs: 3600, topic: 0 };
    const NEVER: fn(u32, u64, u64) -> bool = |_, _, _| false;
    const ALWAYS: fn(u32, u64, u64) -> bool = |_, _, _| true;

    /// A ledger in which each of `envelopes` was sent and accepted, a second after the other.
    fn accepted(envelopes: &[Envelope]) -> Ledger {
        let mut ledger = Ledger::default();
        for (n, envelope) in (1..).zip(envelopes) {
            let serial = ledger.send(*envelope, n * SECOND);
            ledger.accept(serial, n * SECOND + 1);
        }
        ledger
    }

    #[test]
    fn a_first_arrival_differs_from_one_that_comes_again_and_one_that_comes_twice() {
        let mut ledger = accepted(&[PLAIN]);
        assert_eq!(ledger.outstanding(), 1);
        assert_eq!(ledger.arrive(0, 1, 5), Arrival::First);
        assert_eq!(ledger.arrive(0, 2, 6), Arrival::Again, "on another connection");
        assert_eq!(ledger.arrive(0, 2, 7), Arrival::Twice, "on the same one");
        assert_eq!(ledger.arrive(1, 2, 7), Arrival::Unknown);
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn a_message_that_arrives_before_its_answer_is_not_waited_for() {
        let mut ledger = Ledger::default();
        let serial = ledger.send(PLAIN, 1);
        assert_eq!(ledger.arrive(serial, 1, 2), Arrival::First);
        ledger.accept(serial, 3);
        assert_eq!(ledger.outstanding(), 0);
        assert_eq!(ledger.judge(4, NEVER), Verdict::default());
    }

    #[test]
    fn an_accepted_message_without_an_excuse_is_missing() {
        assert_eq!(accepted(&[PLAIN]).judge(9 * SECOND, NEVER).missing, 1);
        let mut refused = Ledger::default();
        refused.send(PLAIN, 1);
        assert_eq!(refused.judge(9 * SECOND, NEVER), Verdict::default(), "the service did not accept it");
    }

    #[test]
    fn a_ttl_is_an_excuse_and_counts_by_whether_the_agent_was_connected() {
        for ttl_secs in [0, 2] {
            let ledger = accepted(&[Envelope { ttl_secs, ..PLAIN }]);
            assert_eq!(ledger.judge(9 * SECOND, NEVER).expired, 1, "{ttl_secs}");
            assert_eq!(ledger.judge(9 * SECOND, ALWAYS).expired_there, 1, "{ttl_secs}");
        }
        let waits = accepted(&[Envelope { ttl_secs: 2, ..PLAIN }]);
        assert_eq!(waits.judge(2 * SECOND, NEVER).missing, 1, "its time is not over");
    }

    #[test]
    fn a_message_that_arrives_after_its_ttl_is_late() {
        let mut ledger = accepted(&[Envelope { ttl_secs: 2, ..PLAIN }]);
        ledger.arrive(0, 1, 60 * SECOND);
        assert_eq!(ledger.judge(60 * SECOND, NEVER).late, 1);
    }

    #[test]
    fn the_last_of_a_topic_has_to_arrive() {
        let topic = Envelope { topic: 1, ..PLAIN };
        let other = Envelope { topic: 2, ..PLAIN };
        let verdict = accepted(&[topic, topic, other, topic]).judge(9 * SECOND, NEVER);
        assert_eq!((verdict.replaced, verdict.missing), (2, 2));
    }
}
