//! The near end of a link: an agent's socket is at this node, and the mailbox is at the owner of its slot.
//!
//! Every error of the way has one answer: the link is opened again, at the owner that the map names then, with a greater
//! number and with what the socket holds. The new owner takes those messages as sent; frames of an older opening are
//! dropped. So nothing is offered twice on one socket, and the socket stays open.
//!
//! After an opening an owner offers nothing before it has read what waits, in a read that also shows that its life goes
//! on. Otherwise a node that was stopped, and that is asked by one with an old map, would send what was ended meanwhile.

use std::collections::BTreeSet;
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
        /// Messages that were sent on the socket, and whose end the owner has not confirmed.
        holding: Vec<i64>,
    },
    /// The agent has ended a message.
    Settle {
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
    /// Sent on the socket, and not ended by the agent.
    held: BTreeSet<i64>,
    /// Ended by the agent, which the owner has not confirmed.
    settling: BTreeSet<i64>,
}

impl Link {
    /// A socket of an agent of `slot`. It opens with the next [`Link::route`].
    pub fn new(slot: Slot) -> Self {
        let state = State::Closed { open_at: Duration::ZERO };
        Self { slot, opening: 0, state, held: BTreeSet::new(), settling: BTreeSet::new() }
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
        let holding = self.held.union(&self.settling).copied().collect();
        frames.push(ToOwner::Connect { opening: self.opening, holding });
        // The one before may have got them, or not: the end of a message does no harm twice.
        frames.extend(self.settling.iter().map(|id| ToOwner::Settle { id: *id }));
    }

    /// Takes a frame of the owner, for the opening with this number.
    pub fn receive(&mut self, opening: u64, frame: FromOwner, now: Duration, events: &mut Vec<AtSocket>) {
        if opening != self.opening {
            return;
        }
        match frame {
            FromOwner::Connected => {
                if let State::Opening { at, .. } = self.state {
                    self.state = State::Open { at };
                }
            }
            // What the socket has, it does not get twice, whatever the owner knows.
            FromOwner::Put(id) => {
                if !self.settling.contains(&id) && self.held.insert(id) {
                    events.push(AtSocket::Send(id));
                }
            }
            FromOwner::Recall(id) => {
                if self.held.remove(&id) {
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
        if self.held.remove(&id) {
            self.settling.insert(id);
            if self.owner().is_some() {
                frames.push(ToOwner::Settle { id });
            }
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
            assert_eq!(bed.route(ms(0)), [ToOwner::Connect { opening: 1, holding: vec![] }]);
            assert_eq!(bed.receives(1, FromOwner::Connected), []);
            assert!(bed.link.is_open() && bed.link.next_deadline().is_none());
            bed
        }

        fn route(&mut self, now: Duration) -> Vec<ToOwner> {
            let mut frames = Vec::new();
            self.link.route(&self.member, now, &mut frames);
            frames
        }

        fn receives(&mut self, opening: u64, frame: FromOwner) -> Vec<AtSocket> {
            let mut events = Vec::new();
            self.link.receive(opening, frame, ms(0), &mut events);
            events
        }

        fn settles(&mut self, id: i64) -> Vec<ToOwner> {
            let mut frames = Vec::new();
            self.link.settle(id, &mut frames);
            frames
        }
    }

    #[test]
    fn what_the_socket_has_goes_to_the_next_owner_and_comes_once() {
        let mut bed = Bed::open(2);
        for id in [10, 11, 12] {
            assert_eq!(bed.receives(1, FromOwner::Put(id)), [AtSocket::Send(id)]);
        }
        assert_eq!(bed.settles(11), [ToOwner::Settle { id: 11 }]);
        bed.member = member(NodeId(3));
        let opened = [ToOwner::Connect { opening: 2, holding: vec![10, 11, 12] }, ToOwner::Settle { id: 11 }];
        assert_eq!(bed.route(ms(5)), opened);
        assert_eq!(bed.link.owner(), Some(NodeId(3)));
        assert_eq!(bed.receives(1, FromOwner::Put(13)), [], "the owner before is over");
        assert_eq!(bed.receives(2, FromOwner::Put(10)), [], "an owner that does not know better");
        assert_eq!(bed.receives(2, FromOwner::Put(11)), []);
        assert_eq!(bed.receives(2, FromOwner::Settled(11)), [AtSocket::Settled(11)]);
        assert_eq!(bed.receives(2, FromOwner::Recall(12)), [AtSocket::Recall(12)]);
        assert_eq!(bed.receives(2, FromOwner::Put(13)), [AtSocket::Send(13)]);
    }

    #[test]
    fn an_opening_is_made_again_after_silence_a_lost_connection_and_a_wrong_owner() {
        let mut bed = Bed { link: Link::new(Slot(7)), member: member(NodeId(2)) };
        let connect = |opening| [ToOwner::Connect { opening, holding: vec![] }];
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
        assert_eq!(bed.route(ms(10)), [ToOwner::Connect { opening: 2, holding: vec![10] }, ToOwner::Settle { id: 10 }]);
        assert_eq!(bed.link.close(), Some(ToOwner::Disconnect { opening: 2 }));
    }
}
