//! Ids inside the service: a moment, a node and a counter in 63 bits, so that rows append and order is age.
//!
//! They do not leave the service in clear: capability URLs seal them (RFC 8030 s8.2, s8.3). The exceptions are a message's
//! id on its own agent's socket (`firefox::Version`, `mcs::persistent_id`), and an agent's id that is a Chromium's device
//! id, which that Chromium alone gets.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::time::UnixMs;

/// 2026-01-01T00:00:00Z, where the ids' clock starts.
const EPOCH_MS: i64 = 1_767_225_600_000;
const NODE_BITS: u32 = 10;
const COUNTER_BITS: u32 = 12;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The id that was stored as `raw`, or that a [`Mint`] made.
            pub const fn from_raw(raw: i64) -> Self {
                Self(raw)
            }

            /// The 63-bit number, for the store and for sealing.
            pub const fn raw(self) -> i64 {
                self.0
            }

            /// When the id was minted, to the millisecond (later than that only under heavy load).
            pub const fn minted_at(self) -> UnixMs {
                UnixMs::from_millis((self.0 >> (NODE_BITS + COUNTER_BITS)) + EPOCH_MS)
            }
        }
    };
}

id!(
    /// A user agent: a subscription set (RFC 8030 s4.1), a Firefox uaid, a Chromium device. It has one mailbox.
    AgentId
);
id!(
    /// A subscription (RFC 8030 s4) of one agent.
    SubscriptionId
);
id!(
    /// A push message (RFC 8030 s5). A greater id was accepted later on the same node.
    MessageId
);
id!(
    /// A receipt subscription (RFC 8030 s5.1): where an application server receives the outcomes of its messages.
    ReceiptSubscriptionId
);

/// The least id that is minted at this moment, by whatever node.
pub const fn first_id_at(at: UnixMs) -> i64 {
    ms_since_epoch(at) << (NODE_BITS + COUNTER_BITS)
}

/// What fits into the 41 bits of an id.
const fn ms_since_epoch(at: UnixMs) -> i64 {
    let ms = at.as_millis() - EPOCH_MS;
    if ms < 0 {
        0
    } else if ms >= 1 << 41 {
        (1 << 41) - 1
    } else {
        ms
    }
}

/// Makes ids: 41 bits of milliseconds since 2026, 10 bits of node, 12 bits of counter; strictly increasing.
#[derive(Debug)]
pub struct Mint {
    node: i64,
    last: AtomicI64,
}

impl Mint {
    /// A mint for `node` (its low 10 bits) that continues after `last`, the greatest id that the store holds.
    pub fn new(node: u16, last: i64) -> Self {
        Self { node: i64::from(node) & ((1 << NODE_BITS) - 1), last: AtomicI64::new(last) }
    }

    /// The next id, greater than all before it even when the clock steps back.
    pub fn next(&self, now: UnixMs) -> i64 {
        let fresh = first_id_at(now) | self.node << COUNTER_BITS;
        let step = |last: i64| {
            if fresh > last { fresh } else { self.after(last) }
        };
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(step(last)));
        // The update never fails: its closure always returns a value.
        step(before.unwrap_or_else(|last| last))
    }

    /// The id after `last` that still carries this mint's node.
    fn after(&self, last: i64) -> i64 {
        let counter_full = (last + 1) & ((1 << COUNTER_BITS) - 1) == 0;
        let same_node = (last >> COUNTER_BITS) & ((1 << NODE_BITS) - 1) == self.node;
        if same_node && !counter_full {
            last + 1
        } else {
            let ms = (last >> (NODE_BITS + COUNTER_BITS)) + 1;
            ms << (NODE_BITS + COUNTER_BITS) | self.node << COUNTER_BITS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixMs = UnixMs::from_millis(EPOCH_MS + 43_200_000);

    #[test]
    fn ids_rise_and_keep_their_node_through_a_full_counter_and_a_clock_step_back() {
        let mint = Mint::new(7, 0);
        let mut last = mint.next(NOON);
        for n in 0..10_000 {
            let now = UnixMs::from_millis(NOON.as_millis() - n);
            let id = mint.next(now);
            assert!(id > last);
            assert_eq!((id >> COUNTER_BITS) & 0x3ff, 7);
            last = id;
        }
    }

    #[test]
    fn no_id_of_a_moment_is_below_the_first_one() {
        for node in [0, 1, 1023] {
            let id = Mint::new(node, 0).next(NOON);
            assert!(first_id_at(NOON) <= id && id < first_id_at(UnixMs::from_millis(NOON.as_millis() + 1)));
        }
        assert_eq!(first_id_at(UnixMs::from_millis(0)), 0);
    }

    #[test]
    fn ids_contain_when_they_were_minted() {
        let id = MessageId::from_raw(Mint::new(1, 0).next(NOON));
        assert_eq!(id.minted_at(), NOON);
    }

    #[test]
    fn a_restart_continues_after_what_is_stored_even_from_another_node() {
        let stored = Mint::new(9, 0).next(UnixMs::from_millis(NOON.as_millis() + 5_000));
        let id = Mint::new(3, stored).next(NOON);
        assert!(id > stored);
        assert_eq!((id >> COUNTER_BITS) & 0x3ff, 3);
    }
}
