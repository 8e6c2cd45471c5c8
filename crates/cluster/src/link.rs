//! The near end of a link: an agent's socket is at this node, and the mailbox is at the owner of its slot.
//!
//! Every error of the way has one answer: the link is opened again, at the owner that the map names then, with a greater
//! number; frames of an older opening are dropped. The new owner sends everything that waits once more, and the near end,
//! which knows what the socket has, drops that. So nothing comes twice on one socket whatever an owner knows, the socket
//! stays open, and the owner's window counts what the agent has.
//!
//! After an opening an owner offers nothing before it has read what waits, in a read that also shows that its life goes
//! on. Otherwise a node that was stopped, and that is asked by one with an old map, would send what was ended meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::NodeId;
use crate::member::Member;
use crate::slot::Slot;

/// After a failed opening the next one waits: the map is read meanwhile.
const BETWEEN_OPENINGS: Duration = Duration::from_millis(100);
/// An opening that is not answered is made again after so long.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What goes to the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToOwner {
    /// Opens the link, instead of an older opening.
    Connect {
        /// The number of the opening.
        opening: u64,
    },
    /// The agent has ended a message.
    Settle {
        /// The message.
        id: i64,
    },
    /// The agent has the message, as its transport shows, and has not ended it.
    Arrived {
        /// The message.
        id: i64,
    },
    /// The agent did not take the message: it may come again.
    Declined {
        /// The message.
        id: i64,
    },
    /// The socket is closed.
    Disconnect {
        /// The number of the last opening.
        opening: u64,
    },
}

/// What comes from the owner, each with the number of the opening that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromOwner {
    /// The link is open.
    Connected,
    /// Send this message.
    Put(i64),
    /// Do not send this message any more.
    Recall(i64),
    /// The end of this message is durable.
    Settled(i64),
    /// This node is not the owner, or not any longer.
    NotOwner,
}

/// What is to be done at the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtSocket {
    /// Send this message.
    Send(i64),
    /// Do not send it any more, if that is possible.
    Recall(i64),
    /// Its end is durable.
    Settled(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { open_at: Duration },
    Opening { at: NodeId, until: Duration },
    Open { at: NodeId },
}

/// The near end of one link.
#[derive(Debug)]
pub struct Link {
    slot: Slot,
    opening: u64,
    state: State,
    /// Sent on the socket, and not ended by the agent. Whether the agent has it, as its transport shows.
    held: BTreeMap<i64, bool>,
    /// Ended by the agent, which the owner has not confirmed.
    settling: BTreeSet<i64>,
}

impl Link {
    /// A socket of an agent of `slot`. It opens with the next [`Link::route`].
    pub fn new(slot: Slot) -> Self {
        let state = State::Closed { open_at: Duration::ZERO };
        Self { slot, opening: 0, state, held: BTreeMap::new(), settling: BTreeSet::new() }
    }

    /// The node with the far end.
    pub fn owner(&self) -> Option<NodeId> {
        match self.state {
            State::Closed { .. } => None,
            State::Opening { at, .. } | State::Open { at } => Some(at),
        }
    }

    /// Whether the owner has confirmed the last opening.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// The number of the last opening.
    pub fn opening(&self) -> u64 {
        self.opening
    }

    /// When [`Link::route`] has something to do, unless the map changes before.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Closed { open_at } => Some(open_at),
            State::Opening { until, .. } => Some(until),
            State::Open { .. } => None,
        }
    }

    /// Opens the link where the map says, if it is not open there.
    pub fn route(&mut self, member: &Member, now: Duration, frames: &mut Vec<ToOwner>) {
        let is_due = match self.state {
            State::Closed { open_at } => open_at <= now,
            State::Opening { until, .. } => until <= now,
            State::Open { .. } => false,
        };
        let Some(at) = member.map().holder(self.slot).map(|holder| holder.node) else { return };
        if !is_due && self.owner().is_none_or(|owner| owner == at) {
            return;
        }
        self.opening += 1;
        self.state = State::Opening { at, until: now + ANSWER_MAX };
        frames.push(ToOwner::Connect { opening: self.opening });
        // The one before may have got them, or not: the end of a message does no harm twice.
        frames.extend(self.settling.iter().map(|id| ToOwner::Settle { id: *id }));
    }

    /// Takes a frame of the owner, for the opening with this number, and answers what it need not have sent.
    pub fn receive(
        &mut self,
        opening: u64,
        frame: FromOwner,
        now: Duration,
        events: &mut Vec<AtSocket>,
        frames: &mut Vec<ToOwner>,
    ) {
        if opening != self.opening {
            return;
        }
        match frame {
            FromOwner::Connected => {
                if let State::Opening { at, .. } = self.state {
                    self.state = State::Open { at };
                }
            }
            // Its end is on the way to this owner.
            FromOwner::Put(id) if self.settling.contains(&id) => {}
            FromOwner::Put(id) => match self.held.get(&id) {
                None => {
                    self.held.insert(id, false);
                    events.push(AtSocket::Send(id));
                }
                // Otherwise the agent's next messages would wait for its end, or for a time-out.
                Some(true) => frames.push(ToOwner::Arrived { id }),
                Some(false) => {}
            },
            FromOwner::Recall(id) => {
                if self.held.remove(&id).is_some() {
                    events.push(AtSocket::Recall(id));
                }
            }
            FromOwner::Settled(id) => {
                if self.settling.remove(&id) {
                    events.push(AtSocket::Settled(id));
                }
            }
            FromOwner::NotOwner => self.state = State::Closed { open_at: now + BETWEEN_OPENINGS },
        }
    }

    /// The agent has ended a message.
    pub fn settle(&mut self, id: i64, frames: &mut Vec<ToOwner>) {
        if self.held.remove(&id).is_some() {
            self.settling.insert(id);
            self.tell(ToOwner::Settle { id }, frames);
        }
    }

    /// The agent's transport shows that it has a message.
    pub fn arrived(&mut self, id: i64, frames: &mut Vec<ToOwner>) {
        if let Some(has_arrived) = self.held.get_mut(&id) {
            *has_arrived = true;
            self.tell(ToOwner::Arrived { id }, frames);
        }
    }

    /// The agent did not take a message. Without an owner the next one offers it anyway.
    pub fn declined(&mut self, id: i64, frames: &mut Vec<ToOwner>) {
        if self.held.remove(&id).is_some() {
            self.tell(ToOwner::Declined { id }, frames);
        }
    }

    fn tell(&self, frame: ToOwner, frames: &mut Vec<ToOwner>) {
        if self.owner().is_some() {
            frames.push(frame);
        }
    }

    /// The connection to a peer is lost.
    pub fn lost(&mut self, node: NodeId, now: Duration) {
        if self.owner() == Some(node) {
            self.state = State::Closed { open_at: now };
        }
    }

    /// The socket is closed.
    pub fn close(self) -> Option<ToOwner> {
        self.owner().map(|_| ToOwner::Disconnect { opening: self.opening })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Holder, Input, Life, Map, NodeRow, NodeState, Rules};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A member that has read that `holder` holds all slots.
    fn member(holder: NodeId) -> Member {
        let (mut member, mut effects) = (Member::new(Rules::default(), true), Vec::new());
        let life = Life(1);
        member.handle(Input::Tick, ms(0), &mut effects);
        member.handle(Input::Joined(Some(Holder { node: NodeId(1), life })), ms(0), &mut effects);
        let row = NodeRow { life, batch: 0, state: NodeState::Up, is_late: false, is_steady: true, owns_slots: true };
        let nodes = [1, 2, 3].map(|node| (NodeId(node), row)).into_iter().collect();
        let map = Map { nodes, slots: [Some(Holder { node: holder, life }); 256] };
        member.handle(Input::Map(Some(Box::new(map))), ms(0), &mut effects);
        member
    }

    struct Bed {
        link: Link,
        member: Member,
    }

    impl Bed {
        fn open(at: u16) -> Self {
            let mut bed = Self { link: Link::new(Slot(7)), member: member(NodeId(at)) };
            assert_eq!(bed.route(ms(0)), [ToOwner::Connect { opening: 1 }]);
            assert_eq!(bed.receives(1, FromOwner::Connected), []);
            assert!(bed.link.is_open() && bed.link.next_deadline().is_none());
            bed
        }

        fn route(&mut self, now: Duration) -> Vec<ToOwner> {
            let mut frames = Vec::new();
            self.link.route(&self.member, now, &mut frames);
            frames
        }

        /// With what it answers to the owner.
        fn answers(&mut self, opening: u64, frame: FromOwner) -> (Vec<AtSocket>, Vec<ToOwner>) {
            let (mut events, mut frames) = (Vec::new(), Vec::new());
            self.link.receive(opening, frame, ms(0), &mut events, &mut frames);
            (events, frames)
        }

        fn receives(&mut self, opening: u64, frame: FromOwner) -> Vec<AtSocket> {
            let (events, frames) = self.answers(opening, frame);
            assert_eq!(frames, []);
            events
        }

        fn tells(&mut self, what: impl FnOnce(&mut Link, &mut Vec<ToOwner>)) -> Vec<ToOwner> {
            let mut frames = Vec::new();
            what(&mut self.link, &mut frames);
            frames
        }

        fn settles(&mut self, id: i64) -> Vec<ToOwner> {
            self.tells(|link, frames| link.settle(id, frames))
        }
    }

    #[test]
    fn what_the_socket_has_comes_once_although_the_next_owner_sends_it_again() {
        let mut bed = Bed::open(2);
        for id in [10, 11, 12] {
            assert_eq!(bed.receives(1, FromOwner::Put(id)), [AtSocket::Send(id)]);
        }
        assert_eq!(bed.settles(11), [ToOwner::Settle { id: 11 }]);
        bed.member = member(NodeId(3));
        assert_eq!(bed.route(ms(5)), [ToOwner::Connect { opening: 2 }, ToOwner::Settle { id: 11 }]);
        assert_eq!(bed.link.owner(), Some(NodeId(3)));
        assert_eq!(bed.receives(1, FromOwner::Put(13)), [], "the owner before is over");
        assert_eq!(bed.receives(2, FromOwner::Put(10)), [], "the new owner does not know that it was sent");
        assert_eq!(bed.receives(2, FromOwner::Put(11)), [], "it ends");
        assert_eq!(bed.receives(2, FromOwner::Settled(11)), [AtSocket::Settled(11)]);
        assert_eq!(bed.receives(2, FromOwner::Recall(12)), [AtSocket::Recall(12)]);
        assert_eq!(bed.receives(2, FromOwner::Put(13)), [AtSocket::Send(13)]);
    }

    #[test]
    fn the_next_owner_learns_again_what_has_arrived_and_what_was_declined_may_come_again() {
        let mut bed = Bed::open(2);
        bed.receives(1, FromOwner::Put(10));
        bed.receives(1, FromOwner::Put(11));
        assert_eq!(bed.tells(|link, frames| link.arrived(10, frames)), [ToOwner::Arrived { id: 10 }]);
        assert_eq!(bed.tells(|link, frames| link.declined(11, frames)), [ToOwner::Declined { id: 11 }]);
        assert_eq!(bed.tells(|link, frames| link.arrived(11, frames)), [], "it is not here any more");
        bed.member = member(NodeId(3));
        bed.route(ms(5));
        assert_eq!(bed.answers(2, FromOwner::Put(10)), (vec![], vec![ToOwner::Arrived { id: 10 }]));
        assert_eq!(bed.receives(2, FromOwner::Put(11)), [AtSocket::Send(11)]);
    }

    #[test]
    fn an_opening_is_made_again_after_silence_a_lost_connection_and_a_wrong_owner() {
        let mut bed = Bed { link: Link::new(Slot(7)), member: member(NodeId(2)) };
        let connect = |opening| [ToOwner::Connect { opening }];
        assert_eq!(bed.route(ms(0)), connect(1));
        assert_eq!(bed.route(ms(999)), []);
        assert_eq!(bed.route(ms(1_000)), connect(2));
        bed.link.lost(NodeId(3), ms(1_100));
        assert_eq!(bed.route(ms(1_100)), []);
        bed.link.lost(NodeId(2), ms(1_200));
        assert_eq!(bed.route(ms(1_200)), connect(3));
        assert_eq!(bed.receives(3, FromOwner::NotOwner), []);
        assert_eq!(bed.route(ms(50)), [], "the map is read meanwhile");
        assert_eq!(bed.route(ms(100)), connect(4));
        assert_eq!(bed.receives(3, FromOwner::Connected), []);
        assert!(!bed.link.is_open());
    }

    #[test]
    fn what_is_settled_while_there_is_no_owner_is_sent_with_the_next_opening() {
        let mut bed = Bed::open(2);
        bed.receives(1, FromOwner::Put(10));
        bed.link.lost(NodeId(2), ms(10));
        assert_eq!(bed.settles(10), []);
        assert_eq!(bed.settles(10), [], "once");
        assert_eq!(bed.route(ms(10)), [ToOwner::Connect { opening: 2 }, ToOwner::Settle { id: 10 }]);
        assert_eq!(bed.link.close(), Some(ToOwner::Disconnect { opening: 2 }));
    }
}
