//! The way of writes to the owners of their agents, for one cell: each is sent to the node that the map names, and sent
//! again until it is answered or has waited too long.
//!
//! A write may arrive twice: it carries its id, and `again` says that the owner may have done it before. So a message is
//! stored once, whoever dies in between.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::NodeId;
use crate::member::Member;
use crate::slot::Slot;

/// How long a write waits for an owner. Some senders delete a subscription after one 5xx.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// A write that is not answered is sent again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// After an answer that another node is the owner: the map is read meanwhile.
const AFTER_NOT_OWNER: Duration = Duration::from_millis(100);

/// What is to be done for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The own hub does it.
    Here {
        /// The write.
        id: i64,
        /// It may have been done before.
        again: bool,
    },
    /// A peer does it.
    To {
        /// The peer.
        node: NodeId,
        /// The write.
        id: i64,
        /// It may have been done before.
        again: bool,
    },
    /// It has waited too long, and may have been done.
    GiveUp(i64),
}

/// Whom a write was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Here,
    To(NodeId),
}

struct Waiting {
    slot: Slot,
    until: Duration,
    send_at: Duration,
    sent: Option<Sent>,
    /// It was sent at least once.
    again: bool,
}

/// The writes of one cell that are not answered.
#[derive(Default)]
pub struct Router {
    waiting: BTreeMap<i64, Waiting>,
}

impl Router {
    /// How many writes are not answered.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all are answered.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A new write for an agent of `slot`.
    pub fn submit(&mut self, id: i64, slot: Slot, now: Duration) {
        let waiting = Waiting { slot, until: now + PATIENCE, send_at: now, sent: None, again: false };
        let is_new = self.waiting.insert(id, waiting).is_none();
        debug_assert!(is_new, "ids are minted once");
    }

    /// The owner has answered, however. Returns whether the write was waited for.
    pub fn answered(&mut self, id: i64) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// The node that it was sent to is not the owner, and has not done it. The map is to be read again.
    pub fn not_owner(&mut self, id: i64, now: Duration) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            (waiting.send_at, waiting.sent) = (now + AFTER_NOT_OWNER, None);
        }
    }

    /// The connection to a peer is lost: what was sent there may have been done.
    pub fn lost(&mut self, node: NodeId, now: Duration) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.sent == Some(Sent::To(node))) {
            (waiting.send_at, waiting.sent) = (now, None);
        }
    }

    /// The own life is over: what the hub had is dropped.
    pub fn dropped_here(&mut self, now: Duration) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.sent == Some(Sent::Here)) {
            (waiting.send_at, waiting.sent) = (now, None);
        }
    }

    /// Sends what is due.
    pub fn route(&mut self, member: &Member, now: Duration, routes: &mut Vec<Route>) {
        let late: Vec<_> = self.waiting.iter().filter(|(_, of)| of.until <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.waiting.remove(&id);
            routes.push(Route::GiveUp(id));
        }
        for (&id, waiting) in self.waiting.iter_mut().filter(|(_, of)| of.send_at <= now) {
            waiting.send_at = now + AGAIN_AFTER;
            let is_here = member.is_open(waiting.slot);
            // In the own queue it waits for the own database, and is not lost there.
            if is_here && waiting.sent == Some(Sent::Here) {
                continue;
            }
            let owner = member.map().holder(waiting.slot).map(|holder| holder.node);
            let other = owner.filter(|node| member.me().is_none_or(|me| me.node != *node));
            let again = waiting.again;
            let (route, sent) = match other {
                _ if is_here => (Route::Here { id, again }, Sent::Here),
                Some(node) => (Route::To { node, id, again }, Sent::To(node)),
                // It is free, or on its way here.
                None => continue,
            };
            (waiting.sent, waiting.again) = (Some(sent), true);
            routes.push(route);
        }
    }

    /// When [`Router::route`] has something to do, unless the map changes before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.waiting.values().map(|waiting| waiting.send_at.min(waiting.until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, Holder, Input, Life, Map, NodeRow, NodeState, Rules};

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A member that has joined; `holder` holds all slots.
    fn member(holder: NodeId) -> Member {
        let (mut member, mut effects) = (Member::new(Rules::default(), true), Vec::new());
        let life = Life(1);
        member.handle(Input::Tick, ms(0), &mut effects);
        member.handle(Input::Joined(Some(Holder { node: ME, life })), ms(0), &mut effects);
        let row = NodeRow { life, batch: 0, state: NodeState::Up, is_late: false, is_steady: true, owns_slots: true };
        let nodes = [(ME, row), (OTHER, row)].into_iter().collect();
        let map = Map { nodes, slots: [Some(Holder { node: holder, life }); 256] };
        member.handle(Input::Map(Some(Box::new(map))), ms(0), &mut effects);
        assert_eq!(effects.contains(&Effect::Open(Slot(7))), holder == ME);
        member
    }

    fn routes(router: &mut Router, member: &Member, now: Duration) -> Vec<Route> {
        let mut routes = Vec::new();
        router.route(member, now, &mut routes);
        routes
    }

    #[test]
    fn a_write_of_an_own_slot_is_done_here_once_and_again_after_the_life_was_lost() {
        let (mut router, member) = (Router::default(), member(ME));
        router.submit(1, Slot(7), ms(0));
        assert_eq!(routes(&mut router, &member, ms(0)), [Route::Here { id: 1, again: false }]);
        assert_eq!(routes(&mut router, &member, ms(1_500)), [], "it is in the queue");
        router.dropped_here(ms(1_600));
        assert_eq!(routes(&mut router, &member, ms(1_600)), [Route::Here { id: 1, again: true }]);
        assert!(router.answered(1) && !router.answered(1) && router.is_empty());
    }

    #[test]
    fn a_write_of_another_nodes_slot_is_sent_again_after_silence_a_lost_connection_and_a_wrong_owner() {
        let (mut router, member) = (Router::default(), member(OTHER));
        let to = |again| [Route::To { node: OTHER, id: 1, again }];
        router.submit(1, Slot(7), ms(0));
        assert_eq!(routes(&mut router, &member, ms(0)), to(false));
        assert_eq!(routes(&mut router, &member, ms(900)), []);
        assert_eq!(routes(&mut router, &member, ms(1_000)), to(true));
        router.lost(ME, ms(1_100));
        assert_eq!(routes(&mut router, &member, ms(1_100)), [], "it was sent to another node");
        router.lost(OTHER, ms(1_200));
        assert_eq!(routes(&mut router, &member, ms(1_200)), to(true));
        router.not_owner(1, ms(1_300));
        assert_eq!(router.next_deadline(), Some(ms(1_400)), "the map is read meanwhile");
        assert_eq!(routes(&mut router, &member, ms(1_400)), to(true));
    }

    #[test]
    fn a_write_that_waits_too_long_is_given_up_once() {
        let (mut router, member) = (Router::default(), Member::new(Rules::default(), true));
        router.submit(1, Slot(7), ms(0));
        assert_eq!(routes(&mut router, &member, ms(9_999)), [], "no node is known");
        assert_eq!(routes(&mut router, &member, ms(10_000)), [Route::GiveUp(1)]);
        assert!(router.is_empty() && router.next_deadline().is_none());
    }
}
