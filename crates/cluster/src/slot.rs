//! Slots: the parts of a cell's agents that move between nodes.

use std::fmt;

use crate::NodeId;

/// Slots of a cell, forever: an agent's slot must not change.
pub const SLOTS: usize = 256;

/// A part of a cell's agents, or of its receipt subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u8);

/// 2^64 divided by the golden ratio: its multiples are spread, also those of numbers that follow each other.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Slot {
    /// All slots.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// The slot of an agent, or of a receipt subscription, by its id as a number.
    pub fn of(id: i64) -> Self {
        let [first, ..] = id.cast_unsigned().wrapping_mul(SPREAD).to_be_bytes();
        Self(first)
    }

    /// The node that should hold it: the one with the greatest hash of slot and node, so that a node that comes or goes
    /// moves only its own share. `None` without nodes.
    pub fn target(self, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
        nodes.max_by_key(|node| (mix(u64::from(self.0) << 16 | u64::from(node.0)), *node))
    }
}

/// Any change of the input changes half of the bits of the output (the finalizer of SplitMix64).
fn mix(input: u64) -> u64 {
    let z = input.wrapping_add(SPREAD);
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// A set of slots.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotSet([u64; SLOTS / 64]);

impl SlotSet {
    fn place(slot: Slot) -> (usize, u64) {
        (usize::from(slot.0) / 64, 1 << (slot.0 % 64))
    }

    /// Whether the slot is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = Self::place(slot);
        self.0[word] & bit != 0
    }

    /// Adds a slot. Returns whether it is new.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let is_new = !self.contains(slot);
        let (word, bit) = Self::place(slot);
        self.0[word] |= bit;
        is_new
    }

    /// Removes a slot. Returns whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let was_there = self.contains(slot);
        let (word, bit) = Self::place(slot);
        self.0[word] &= !bit;
        was_there
    }

    /// All slots of both.
    pub fn with(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        self
    }

    /// Its slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + use<> {
        let set = *self;
        Slot::all().filter(move |slot| set.contains(*slot))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|slot| slot.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::Mint;
    use doorbell_protocol::time::UnixMs;

    use super::*;

    #[test]
    fn ids_spread_over_all_slots_whether_they_are_minted_in_a_rush_or_one_a_second() {
        for every_ms in [0, 1, 1_000] {
            let (mint, mut counts) = (Mint::new(3, 0), [0_u32; SLOTS]);
            for n in 0..100_000 {
                let id = mint.next(UnixMs::from_millis(1_800_000_000_000 + n * every_ms));
                counts[usize::from(Slot::of(id).0)] += 1;
            }
            assert!(counts.iter().all(|count| (250..550).contains(count)), "{every_ms}: {counts:?}");
        }
    }

    #[test]
    fn the_slot_of_an_id_never_changes_with_the_program() {
        assert_eq!([1, 2, 3, i64::MAX].map(|id| Slot::of(id).0), [0x9E, 0x3C, 0xDA, 0xE1]);
    }

    #[test]
    fn a_node_that_joins_or_leaves_moves_its_own_share_only() {
        let three = || [1, 2, 5].into_iter().map(NodeId);
        let mut shares = [0; 3];
        for slot in Slot::all() {
            let before = slot.target(three()).unwrap();
            shares[three().position(|node| node == before).unwrap()] += 1;
            let joined = slot.target(three().chain([NodeId(9)])).unwrap();
            assert!(joined == before || joined == NodeId(9));
            let left = slot.target(three().filter(|node| *node != NodeId(5))).unwrap();
            assert!(left == before || before == NodeId(5));
        }
        assert!(shares.iter().all(|share| (60..=110).contains(share)), "{shares:?}");
        assert_eq!(Slot(7).target(std::iter::empty()), None);
    }

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let mut set = SlotSet::default();
        assert!(set.is_empty() && set.insert(Slot(255)) && set.insert(Slot(0)) && !set.insert(Slot(0)));
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (2, vec![Slot(0), Slot(255)]));
        assert!(set.remove(Slot(0)) && !set.remove(Slot(0)) && set.contains(Slot(255)) && !set.contains(Slot(64)));
    }
}
