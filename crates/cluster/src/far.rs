//! The far ends of links, at the owner of their agents: which links are open, under which opening, and who must hear that
//! this node is the owner no more.
//!
//! A link is named by the connection that it came on and the number that the other node gave it. Each is one subscriber of
//! a mailbox. What comes for an older opening than the last one is late: the near end has given that one up.

use std::collections::BTreeMap;

use crate::slot::Slot;

/// What becomes of a Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A later one of the same link has come before: nothing is done.
    Late,
    /// Answer that this node is not the owner.
    NotOwner,
    /// Answer that the link is open, and open a subscriber.
    Open {
        /// The subscriber of the opening before is to be closed first.
        replaces: bool,
    },
}

/// A link that is to hear something under its last opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarLink<C> {
    /// The connection that it came on.
    pub connection: C,
    /// Its number there.
    pub link: u64,
    /// The number of its opening.
    pub opening: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    slot: Slot,
    opening: u64,
}

/// The far ends of links at one node. `C` names a connection, and no two connections have one name.
#[derive(Debug)]
pub struct FarEnds<C> {
    open: BTreeMap<(C, u64), Open>,
}

impl<C> Default for FarEnds<C> {
    fn default() -> Self {
        Self { open: BTreeMap::new() }
    }
}

impl<C: Copy + Ord> FarEnds<C> {
    /// A link of an agent of `slot` is opened; `is_owner`: this node serves the slot.
    pub fn connect(&mut self, at: FarLink<C>, slot: Slot, is_owner: bool) -> Opening {
        let key = (at.connection, at.link);
        let before = self.open.get(&key).map(|open| open.opening);
        if before.is_some_and(|before| before >= at.opening) {
            return Opening::Late;
        }
        if !is_owner {
            debug_assert!(before.is_none(), "a slot that was given up has no links");
            return Opening::NotOwner;
        }
        self.open.insert(key, Open { slot, opening: at.opening });
        Opening::Open { replaces: before.is_some() }
    }

    /// The link with its last opening, for what the mailbox says to it; `None`: it is closed.
    pub fn find(&self, connection: C, link: u64) -> Option<FarLink<C>> {
        self.open.get(&(connection, link)).map(|open| FarLink { connection, link, opening: open.opening })
    }

    /// Whether what came for this opening counts.
    pub fn is_open(&self, at: FarLink<C>) -> bool {
        self.find(at.connection, at.link) == Some(at)
    }

    /// The near end closes the link. Returns whether a subscriber is to be closed.
    pub fn disconnect(&mut self, at: FarLink<C>) -> bool {
        self.is_open(at) && self.open.remove(&(at.connection, at.link)).is_some()
    }

    /// This node serves the slot no more, or no slot (`None`). Returns the links that are to hear it; their subscribers are
    /// dropped with the mailboxes.
    pub fn close(&mut self, slot: Option<Slot>) -> Vec<FarLink<C>> {
        self.remove(|_, of| slot.is_none_or(|slot| of == slot))
    }

    /// A connection is lost. Returns the links whose subscribers are to be closed; nobody is told.
    pub fn lost(&mut self, connection: C) -> Vec<FarLink<C>> {
        self.remove(|on, _| on == connection)
    }

    /// It looks at all of them: for rare events.
    fn remove(&mut self, which: impl Fn(C, Slot) -> bool) -> Vec<FarLink<C>> {
        let mut removed = Vec::new();
        self.open.retain(|&(connection, link), &mut Open { slot, opening }| {
            let stays = !which(connection, slot);
            if !stays {
                removed.push(FarLink { connection, link, opening });
            }
            stays
        });
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(connection: u8, link: u64, opening: u64) -> FarLink<u8> {
        FarLink { connection, link, opening }
    }

    #[test]
    fn a_later_opening_replaces_an_older_one_and_not_the_other_way_round() {
        let mut far = FarEnds::default();
        assert_eq!(far.connect(at(1, 7, 1), Slot(3), false), Opening::NotOwner);
        assert_eq!(far.connect(at(1, 7, 2), Slot(3), true), Opening::Open { replaces: false });
        assert_eq!(far.connect(at(1, 7, 4), Slot(3), true), Opening::Open { replaces: true });
        assert_eq!(far.connect(at(1, 7, 3), Slot(3), true), Opening::Late);
        assert!(far.is_open(at(1, 7, 4)) && !far.is_open(at(1, 7, 2)) && !far.is_open(at(2, 7, 4)));
        assert!(!far.disconnect(at(1, 7, 2)), "it is late");
        assert!(far.disconnect(at(1, 7, 4)) && far.find(1, 7).is_none());
    }

    #[test]
    fn who_has_links_to_a_slot_that_is_given_up_hears_it_once() {
        let mut far = FarEnds::default();
        for (link, slot) in [(1, 3), (2, 4), (3, 3)] {
            far.connect(at(1, link, 9), Slot(slot), true);
        }
        assert_eq!(far.close(Some(Slot(3))), [at(1, 1, 9), at(1, 3, 9)]);
        assert_eq!(far.close(Some(Slot(3))), []);
        assert_eq!(far.close(None), [at(1, 2, 9)], "the life is over");
    }

    #[test]
    fn a_lost_connection_takes_its_links_and_no_others() {
        let mut far = FarEnds::default();
        for connection in [1, 2, 3] {
            far.connect(at(connection, 1, 1), Slot(3), true);
        }
        assert_eq!(far.lost(2), [at(2, 1, 1)]);
        assert!(far.lost(2).is_empty() && far.find(1, 1).is_some() && far.find(3, 1).is_some());
    }
}
