//! One node in one cell: it joins, renews its life, ends those that are late, and moves slots until each is where it
//! belongs.
//!
//! Everything that it asks the database for may be refused or may have an outcome that is not known. A slot is opened after
//! its claim was committed, or because a read shows that this life holds it. A read may be old, also one that began just
//! now: a server that was replaced still answers. So a read counts only if it shows the last batch of this life.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::map::{Holder, Map, NodeState};
use crate::slot::{Slot, SlotSet};
use crate::{Life, NodeId};

/// The times and bounds of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A lease that no batch has renewed is renewed after so long.
    pub renew_after: Duration,
    /// The map is read again after so long.
    pub read_after: Duration,
    /// The least time between two reads, whatever asks for one.
    pub read_gap: Duration,
    /// Slots that are asked of one node at the same time.
    pub moves_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { renew_after: second, read_after: second, read_gap: Duration::from_millis(100), moves_max: 8 }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The answer to [`Effect::Join`]: the number and the life, or `None` if another node was faster.
    Joined(Option<Holder>),
    /// The answer to [`Effect::ReadMap`]; `None`: the database cannot be read.
    Map(Option<Box<Map>>),
    /// The batch with this number was committed, which renews the lease.
    Committed(Life, u64),
    /// The answer to [`Effect::Renew`]: whether the life goes on. `None`: the database does not answer.
    Renewed(Life, Option<bool>),
    /// The database has refused a batch of this life, which is over.
    Over(Life),
    /// The answer to [`Effect::Claim`]: whether this life holds the slot now. `None`: it is not known.
    Claimed(Life, Slot, Option<bool>),
    /// The answer to [`Effect::Yield`]: the slot is not this life's any more. `false`: it is not known.
    Yielded(Life, Slot, bool),
    /// A node asks for a slot ([`Effect::AskYield`]).
    YieldAsked {
        /// The slot.
        slot: Slot,
        /// The node.
        by: NodeId,
    },
    /// A connection to this node was refused: nothing listens there.
    Refused(NodeId),
    /// The map is old: a peer is not the owner that it names, or has a certificate that it does not know.
    Outdated,
    /// The node stops.
    Drain,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take the lowest free number, and begin a life.
    Join,
    /// Read the map.
    ReadMap,
    /// Renew the lease, on the writer's connection or on another.
    Renew(Life),
    /// End a life whose lease is over, if the database agrees; its slots become free in the same transaction.
    End(Holder),
    /// Shorten the lease of a life: nothing listens at its address.
    Accuse(Holder),
    /// Claim a free slot, in the writer's queue.
    Claim(Life, Slot),
    /// Give up a slot, in the writer's queue behind all that was written for it.
    Yield(Life, Slot),
    /// Ask a node for a slot.
    AskYield(NodeId, Slot),
    /// Serve the agents of this slot.
    Open(Slot),
    /// Drop the mailboxes of this slot, and answer that another node is its owner.
    Close(Slot),
    /// Drop all mailboxes: the life is over.
    CloseAll,
    /// Note in the database that this life drains.
    BeginDrain(Life),
    /// End the own life: it holds nothing any more.
    Leave(Life),
}

/// Where the node is in its stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Out { join_at: Duration },
    Joining,
    In(Holder),
    Left,
}

/// A node in a cell.
#[derive(Debug)]
pub struct Member {
    rules: Rules,
    owns_slots: bool,
    stage: Stage,
    is_draining: bool,
    map: Map,
    open: SlotSet,
    claiming: SlotSet,
    yielding: SlotSet,
    /// Slots that were given up, perhaps: the answer was lost.
    unsure: SlotSet,
    /// The number of the last batch of this life that was committed.
    batch: u64,
    /// Slots that were asked of others, and when.
    asked: BTreeMap<Slot, (NodeId, Duration)>,
    accused: Option<Holder>,
    is_reading: bool,
    read_at: Duration,
    may_read_at: Duration,
    renew_at: Duration,
    is_renewing: bool,
}

impl Member {
    /// A node that has not joined. With `owns_slots` it takes slots.
    pub fn new(rules: Rules, owns_slots: bool) -> Self {
        Self {
            rules,
            owns_slots,
            stage: Stage::Out { join_at: Duration::ZERO },
            is_draining: false,
            map: Map::empty(),
            open: SlotSet::default(),
            claiming: SlotSet::default(),
            yielding: SlotSet::default(),
            unsure: SlotSet::default(),
            batch: 0,
            asked: BTreeMap::new(),
            accused: None,
            is_reading: false,
            read_at: Duration::ZERO,
            may_read_at: Duration::ZERO,
            renew_at: Duration::ZERO,
            is_renewing: false,
        }
    }

    /// Its number and its life.
    pub fn me(&self) -> Option<Holder> {
        if let Stage::In(me) = self.stage { Some(me) } else { None }
    }

    /// The last map that was read.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Whether this node serves the agents of the slot.
    pub fn is_open(&self, slot: Slot) -> bool {
        self.open.contains(slot)
    }

    /// Whether it has left, and the process may end.
    pub fn has_left(&self) -> bool {
        self.stage == Stage::Left
    }

    /// When it wants to be ticked.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Out { join_at } => Some(join_at),
            Stage::Joining | Stage::Left => None,
            Stage::In(_) => {
                let read = (!self.is_reading).then_some(self.read_at.max(self.may_read_at));
                let renew = (!self.is_renewing).then_some(self.renew_at);
                read.into_iter().chain(renew).min()
            }
        }
    }

    /// Takes an input. `now` is a time that never goes back, of this process alone.
    pub fn handle(&mut self, input: Input, now: Duration, effects: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Joined(joined) => self.joined(joined, now),
            Input::Map(map) => self.read(map, now, effects),
            Input::Committed(life, batch) => self.committed(life, batch, now),
            Input::Renewed(life, goes_on) => self.renewed(life, goes_on, now, effects),
            Input::Over(life) => {
                if self.is_mine(life) {
                    self.lose(now, effects);
                }
            }
            Input::Claimed(life, slot, holds) => self.claimed(life, slot, holds, effects),
            Input::Yielded(life, slot, is_known) => self.yielded(life, slot, is_known),
            Input::YieldAsked { slot, by } => self.yield_asked(slot, by, effects),
            Input::Refused(node) => self.refused(node, effects),
            Input::Outdated => self.read_at = now,
            Input::Drain => self.drain(effects),
        }
        self.go_on(now, effects);
        self.check();
    }

    /// What is due.
    fn go_on(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match self.stage {
            Stage::Out { .. } if self.is_draining => self.stage = Stage::Left,
            Stage::Out { join_at } if join_at <= now => {
                self.stage = Stage::Joining;
                effects.push(Effect::Join);
            }
            Stage::In(me) => {
                if self.is_draining && self.holds_nothing() {
                    self.stage = Stage::Left;
                    effects.push(Effect::Leave(me.life));
                    return;
                }
                if !self.is_renewing && self.renew_at <= now {
                    self.is_renewing = true;
                    effects.push(Effect::Renew(me.life));
                }
                if !self.is_reading && self.read_at.max(self.may_read_at) <= now {
                    self.is_reading = true;
                    self.may_read_at = now + self.rules.read_gap;
                    effects.push(Effect::ReadMap);
                }
            }
            Stage::Out { .. } | Stage::Joining | Stage::Left => {}
        }
    }

    fn is_mine(&self, life: Life) -> bool {
        self.me().is_some_and(|me| me.life == life)
    }

    fn joined(&mut self, joined: Option<Holder>, now: Duration) {
        debug_assert_eq!(self.stage, Stage::Joining, "a join is answered once");
        match joined {
            Some(me) => {
                self.stage = Stage::In(me);
                self.renew_at = now + self.rules.renew_after;
                (self.read_at, self.is_renewing, self.batch) = (now, false, 0);
            }
            None => self.stage = Stage::Out { join_at: now + self.rules.read_after },
        }
    }

    /// The life is over: another one begins at once.
    fn lose(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        effects.push(Effect::CloseAll);
        (self.open, self.claiming, self.yielding, self.unsure) = Default::default();
        self.asked.clear();
        self.stage = Stage::Out { join_at: now };
    }

    fn renewed(&mut self, life: Life, goes_on: Option<bool>, now: Duration, effects: &mut Vec<Effect>) {
        if !self.is_mine(life) {
            return;
        }
        self.is_renewing = false;
        self.renew_at = now + self.rules.renew_after;
        if goes_on == Some(false) {
            self.lose(now, effects);
        }
    }

    fn committed(&mut self, life: Life, batch: u64, now: Duration) {
        if self.is_mine(life) {
            self.batch = self.batch.max(batch);
            self.renew_at = now + self.rules.renew_after;
        }
    }

    fn read(&mut self, map: Option<Box<Map>>, now: Duration, effects: &mut Vec<Effect>) {
        self.is_reading = false;
        self.read_at = now + self.rules.read_after;
        let (Stage::In(me), Some(map)) = (self.stage, map) else { return };
        // Lives only rise, and so do the batches of one.
        let Some(own) = map.nodes.get(&me.node).filter(|own| (own.life, own.batch) >= (me.life, self.batch)) else {
            return;
        };
        let is_over = own.life != me.life || own.state == NodeState::Ended;
        self.map = *map;
        if is_over {
            self.lose(now, effects);
            return;
        }
        self.end_late(me, effects);
        for slot in Slot::all() {
            self.settle(slot, me, now, effects);
        }
    }

    /// Ends the lives that are late, if this one may.
    fn end_late(&self, me: Holder, effects: &mut Vec<Effect>) {
        if !self.map.nodes.get(&me.node).is_some_and(|own| own.is_steady && !own.is_late) {
            return;
        }
        let late = self.map.nodes.iter().filter(|(_, row)| row.is_late && row.state != NodeState::Ended);
        effects.extend(late.map(|(node, row)| Effect::End(Holder { node: *node, life: row.life })));
    }

    /// Moves a slot towards where it belongs.
    fn settle(&mut self, slot: Slot, me: Holder, now: Duration, effects: &mut Vec<Effect>) {
        if self.open.contains(slot) || self.claiming.contains(slot) || self.yielding.contains(slot) {
            return;
        }
        let holder = self.map.holder(slot);
        if self.unsure.remove(slot) && holder == Some(me) {
            self.give_up(slot, me, effects);
            return;
        }
        let is_wanted = self.owns_slots && !self.is_draining && self.map.target(slot) == Some(me.node);
        match holder {
            Some(holder) if holder == me => self.open(slot, me, effects),
            None if is_wanted => {
                self.asked.remove(&slot);
                self.claiming.insert(slot);
                effects.push(Effect::Claim(me.life, slot));
            }
            // That of a life that has ended becomes free with its end.
            Some(holder) if is_wanted && holder.node != me.node => self.ask(slot, holder.node, now, effects),
            _ => drop(self.asked.remove(&slot)),
        }
    }

    fn ask(&mut self, slot: Slot, of: NodeId, now: Duration, effects: &mut Vec<Effect>) {
        let is_asked = self.asked.get(&slot).is_some_and(|(node, at)| *node == of && now < *at + self.rules.read_after);
        let under_way = self.asked.iter().filter(|(other, (node, _))| **other != slot && *node == of).count();
        if !is_asked && under_way < self.rules.moves_max {
            self.asked.insert(slot, (of, now));
            effects.push(Effect::AskYield(of, slot));
        }
    }

    fn open(&mut self, slot: Slot, me: Holder, effects: &mut Vec<Effect>) {
        if self.is_draining {
            self.give_up(slot, me, effects);
            return;
        }
        self.asked.remove(&slot);
        self.open.insert(slot);
        effects.push(Effect::Open(slot));
    }

    /// Gives up a slot that this life holds.
    fn give_up(&mut self, slot: Slot, me: Holder, effects: &mut Vec<Effect>) {
        if self.open.remove(slot) {
            effects.push(Effect::Close(slot));
        }
        self.yielding.insert(slot);
        effects.push(Effect::Yield(me.life, slot));
    }

    fn claimed(&mut self, life: Life, slot: Slot, holds: Option<bool>, effects: &mut Vec<Effect>) {
        let Some(me) = self.me().filter(|me| me.life == life) else { return };
        let was_claiming = self.claiming.remove(slot);
        debug_assert!(was_claiming, "a claim is answered once");
        if holds == Some(true) {
            self.open(slot, me, effects);
        }
    }

    fn yielded(&mut self, life: Life, slot: Slot, is_known: bool) {
        if !self.is_mine(life) {
            return;
        }
        let was_yielding = self.yielding.remove(slot);
        debug_assert!(was_yielding, "a slot is given up once");
        if !is_known {
            self.unsure.insert(slot);
        }
    }

    fn holds_nothing(&self) -> bool {
        [&self.open, &self.claiming, &self.yielding, &self.unsure].into_iter().all(SlotSet::is_empty)
    }

    fn yield_asked(&mut self, slot: Slot, by: NodeId, effects: &mut Vec<Effect>) {
        let Some(me) = self.me().filter(|_| self.open.contains(slot)) else { return };
        if self.map.target(slot) == Some(by) {
            self.give_up(slot, me, effects);
        } else {
            // It may know a node that is new. It asks again.
            self.read_at = Duration::ZERO;
        }
    }

    fn refused(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(row) = self.map.nodes.get(&node).filter(|row| row.state != NodeState::Ended) else { return };
        let accused = Holder { node, life: row.life };
        if self.me().is_some_and(|me| me.node != node) && self.accused != Some(accused) {
            self.accused = Some(accused);
            effects.push(Effect::Accuse(accused));
        }
    }

    fn drain(&mut self, effects: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.is_draining, true) {
            return;
        }
        let Some(me) = self.me() else { return };
        effects.push(Effect::BeginDrain(me.life));
        for slot in self.open.iter() {
            self.give_up(slot, me, effects);
        }
    }

    fn check(&self) {
        let sets = [&self.open, &self.claiming, &self.yielding, &self.unsure];
        let all: usize = sets.iter().map(|set| set.len()).sum();
        debug_assert!(all == sets.into_iter().fold(SlotSet::default(), SlotSet::with).len(), "a slot is in one state");
        debug_assert!(self.me().is_some() || self.holds_nothing(), "without a life it holds nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeRow;

    const ME: Holder = Holder { node: NodeId(1), life: Life(5) };
    const OTHER: Holder = Holder { node: NodeId(2), life: Life(9) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn row(of: Holder) -> NodeRow {
        NodeRow { life: of.life, batch: 0, state: NodeState::Up, is_late: false, is_steady: true, owns_slots: true }
    }

    /// A map of these nodes, whose slots `holder` holds.
    fn map(nodes: &[(Holder, NodeRow)], holder: Option<Holder>) -> Map {
        let nodes = nodes.iter().map(|(of, row)| (of.node, *row)).collect();
        Map { nodes, slots: [holder; 256] }
    }

    struct Bed {
        member: Member,
        now: Duration,
    }

    impl Bed {
        /// A member that has joined and reads the map.
        fn new() -> Self {
            let mut bed = Self { member: Member::new(Rules::default(), true), now: seconds(1) };
            assert_eq!(bed.input(Input::Tick), [Effect::Join]);
            assert_eq!(bed.input(Input::Joined(Some(ME))), [Effect::ReadMap]);
            bed
        }

        fn input(&mut self, input: Input) -> Vec<Effect> {
            let mut effects = Vec::new();
            self.member.handle(input, self.now, &mut effects);
            effects
        }

        fn reads(&mut self, map: Map) -> Vec<Effect> {
            self.input(Input::Map(Some(Box::new(map))))
        }

        /// With all slots, alone.
        fn with_all() -> Self {
            let mut bed = Self::new();
            let claims = bed.reads(map(&[(ME, row(ME))], None));
            assert_eq!(claims, Slot::all().map(|slot| Effect::Claim(ME.life, slot)).collect::<Vec<_>>());
            for slot in Slot::all() {
                assert_eq!(bed.input(Input::Claimed(ME.life, slot, Some(true))), [Effect::Open(slot)]);
            }
            bed
        }
    }

    #[test]
    fn a_claim_whose_answer_was_lost_is_opened_by_a_read_that_shows_the_last_batch_and_by_no_older_one() {
        let mut bed = Bed::new();
        bed.reads(map(&[(ME, row(ME))], None));
        assert_eq!(bed.input(Input::Committed(ME.life, 3)), []);
        assert_eq!(bed.input(Input::Claimed(ME.life, Slot(0), None)), []);
        for (batch, opened) in [(2, vec![]), (3, vec![Effect::Open(Slot(0))])] {
            bed.now += seconds(1);
            bed.input(Input::Tick);
            assert_eq!(bed.reads(map(&[(ME, NodeRow { batch, ..row(ME) })], Some(ME))), opened);
        }
    }

    #[test]
    fn slots_are_asked_of_their_holder_a_few_at_a_time_and_claimed_once_they_are_free() {
        let mut bed = Bed::new();
        let both = [(ME, row(ME)), (OTHER, row(OTHER))];
        let asked = bed.reads(map(&both, Some(OTHER)));
        assert_eq!(asked.len(), Rules::default().moves_max);
        let Effect::AskYield(of, first) = asked[0] else { panic!("{asked:?}") };
        assert_eq!(of, OTHER.node);
        let mut next = map(&both, Some(OTHER));
        next.slots[usize::from(first.0)] = None;
        bed.now += seconds(1);
        bed.input(Input::Tick);
        let effects = bed.reads(next);
        assert!(effects.contains(&Effect::Claim(ME.life, first)), "{effects:?}");
        let again = effects.iter().filter(|effect| matches!(effect, Effect::AskYield(..))).count();
        assert_eq!(again, Rules::default().moves_max, "the others are asked again, and one more");
    }

    #[test]
    fn a_slot_is_closed_before_it_is_given_up_and_only_for_the_node_that_it_belongs_to() {
        let mut bed = Bed::with_all();
        let both = map(&[(ME, row(ME)), (OTHER, row(OTHER))], Some(ME));
        let (theirs, mine) = (
            Slot::all().find(|slot| both.target(*slot) == Some(OTHER.node)).unwrap(),
            Slot::all().find(|slot| both.target(*slot) == Some(ME.node)).unwrap(),
        );
        bed.now += seconds(1);
        assert_eq!(
            bed.input(Input::YieldAsked { slot: theirs, by: OTHER.node }),
            [Effect::Renew(ME.life), Effect::ReadMap]
        );
        assert_eq!(bed.reads(both), []);
        assert_eq!(bed.input(Input::YieldAsked { slot: mine, by: OTHER.node }), []);
        let yielded = [Effect::Close(theirs), Effect::Yield(ME.life, theirs)];
        assert_eq!(bed.input(Input::YieldAsked { slot: theirs, by: OTHER.node }), yielded);
        assert_eq!(bed.input(Input::YieldAsked { slot: theirs, by: OTHER.node }), [], "once");
        assert!(!bed.member.is_open(theirs) && bed.member.is_open(mine));
    }

    #[test]
    fn a_life_that_is_over_closes_everything_and_another_one_begins() {
        for input in [Input::Over(ME.life), Input::Renewed(ME.life, Some(false))] {
            let mut bed = Bed::with_all();
            assert_eq!(bed.input(input), [Effect::CloseAll, Effect::Join]);
            assert_eq!(bed.input(Input::Over(ME.life)), [], "what is left of the old one changes nothing");
        }
        let mut bed = Bed::with_all();
        bed.now += seconds(1);
        bed.input(Input::Tick);
        let ended = NodeRow { life: Life(6), state: NodeState::Ended, ..row(ME) };
        assert_eq!(bed.reads(map(&[(ME, ended)], None)), [Effect::CloseAll, Effect::Join]);
    }

    #[test]
    fn only_a_steady_node_ends_those_that_are_late() {
        let late = NodeRow { is_late: true, ..row(OTHER) };
        for (own, ends) in
            [(row(ME), 1), (NodeRow { is_steady: false, ..row(ME) }, 0), (NodeRow { is_late: true, ..row(ME) }, 0)]
        {
            let effects = Bed::new().reads(map(&[(ME, own), (OTHER, late)], Some(OTHER)));
            assert_eq!(effects.iter().filter(|effect| **effect == Effect::End(OTHER)).count(), ends);
        }
    }

    #[test]
    fn a_node_that_refuses_connections_is_accused_once_in_a_life() {
        let mut bed = Bed::new();
        bed.reads(map(&[(ME, row(ME)), (OTHER, row(OTHER))], Some(OTHER)));
        assert_eq!(bed.input(Input::Refused(OTHER.node)), [Effect::Accuse(OTHER)]);
        assert_eq!(bed.input(Input::Refused(OTHER.node)), []);
        assert_eq!(bed.input(Input::Refused(NodeId(7))), [], "it is not known");
    }

    #[test]
    fn a_drain_gives_up_every_slot_and_then_the_life() {
        let mut bed = Bed::with_all();
        let effects = bed.input(Input::Drain);
        assert_eq!(effects.len(), 1 + 2 * 256);
        assert_eq!(effects[0], Effect::BeginDrain(ME.life));
        let (last, others) = (Slot(255), Slot::all().take(255));
        others.for_each(|slot| assert_eq!(bed.input(Input::Yielded(ME.life, slot, true)), []));
        assert_eq!(bed.input(Input::Yielded(ME.life, last, false)), [], "it is not known");
        bed.now += seconds(1);
        bed.input(Input::Tick);
        let effects = bed.reads(map(&[(ME, row(ME))], Some(ME)));
        assert!(effects.contains(&Effect::Yield(ME.life, last)), "{effects:?}");
        // What others did not free either would be given up too, but this life holds it no more.
        for slot in Slot::all().filter(|slot| effects.contains(&Effect::Yield(ME.life, *slot)) && *slot != last) {
            bed.input(Input::Yielded(ME.life, slot, true));
        }
        assert_eq!(bed.input(Input::Yielded(ME.life, last, true)), [Effect::Leave(ME.life)]);
        assert!(bed.member.has_left() && bed.member.next_deadline().is_none());
    }
}
