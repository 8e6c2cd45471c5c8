//! Which ids a node may mint. Its number is a part of them, and another process may have the number later.
//!
//! An id that is minted here may be committed by another node, even after this one has died. So the database knows
//! beforehand how far this life may mint: each of its batches reserves the ids of the next seconds, and the next life of
//! the number begins behind them, whatever its clock shows.

use std::time::Duration;

use doorbell_protocol::id::first_id_at;
use doorbell_protocol::time::UnixMs;

/// So many seconds are reserved. A life that commits nothing for longer than its lease is ended anyway.
const AHEAD: Duration = Duration::from_secs(10);

/// The ids that a life has reserved.
#[derive(Clone, Copy, Debug)]
pub struct IdReserve {
    end: i64,
}

impl IdReserve {
    /// Of a life that begins behind the ids that its number has reserved before. Until its first batch it may mint none.
    pub fn new(end: i64) -> Self {
        Self { end }
    }

    /// What the next batch reserves: all ids below this one.
    pub fn wanted(&self, now: UnixMs) -> i64 {
        self.end.max(first_id_at(now.plus(AHEAD)))
    }

    /// A batch that reserves all ids below `end` was committed.
    pub fn committed(&mut self, end: i64) {
        self.end = self.end.max(end);
    }

    /// Whether this life may mint the id.
    pub fn allows(&self, id: i64) -> bool {
        id < self.end
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::Mint;

    use super::*;

    const NOON: UnixMs = UnixMs::from_millis(1_800_000_000_000);

    #[test]
    fn a_life_mints_what_a_committed_batch_has_reserved_and_the_next_one_begins_behind_it() {
        let mut first = IdReserve::new(0);
        let mint = Mint::new(3, 0);
        let wanted = first.wanted(NOON);
        assert!(!first.allows(mint.next(NOON)), "nothing is reserved yet");
        first.committed(wanted);
        assert!(first.allows(mint.next(NOON.plus(Duration::from_secs(9)))));
        assert!(!first.allows(mint.next(NOON.plus(Duration::from_secs(10)))));
        // The clock of the next process is behind.
        let (next, clock) = (IdReserve::new(wanted), UnixMs::from_millis(NOON.as_millis() - 2_000));
        assert!(Mint::new(3, wanted).next(clock) > wanted);
        assert_eq!(next.wanted(clock), wanted, "it never goes back");
    }
}
