//! What was sent and what arrived: nothing may be lost, and nothing come twice but where a connection ended in between.

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
    post: Post,
}

/// To whom a message goes, and with which wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Post {
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
    /// It is none of this ledger's.
    Strange,
}

impl Ledger {
    /// Enters a message: its serial number.
    pub(super) fn send(&mut self, post: Post, now: u64) -> u32 {
        let serial = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { sent: now, accepted: 0, arrived: 0, connection: 0, post });
        serial
    }

    /// The service has accepted it.
    pub(super) fn accept(&mut self, serial: u32, now: u64) {
        if let Some(entry) = self.entries.get_mut(serial as usize) {
            entry.accepted = now;
            self.outstanding += u64::from(entry.arrived == 0);
        }
    }

    /// It has arrived, which may be before its sender has heard that it was accepted.
    pub(super) fn arrive(&mut self, serial: u32, connection: u32, now: u64) -> Arrival {
        let Some(entry) = self.entries.get_mut(serial as usize) else { return Arrival::Strange };
        let earlier = std::mem::replace(&mut entry.connection, connection);
        if entry.arrived != 0 {
            return if earlier == connection { Arrival::Twice } else { Arrival::Again };
        }
        entry.arrived = now;
        if entry.accepted != 0 {
            self.outstanding -= 1;
        }
        Arrival::First
    }

    /// How many were accepted and have not arrived.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }
}
