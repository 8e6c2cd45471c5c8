//! One node in one cell: it joins, renews its life, ends those that are late, and moves slots until each is where it
//! belongs.
//!
//! Everything that it asks the database for may be refused or may have an outcome that is not known. What it believes to
//! hold is never taken from a read: a read may be older than the last change. A slot is opened after its claim was
//! committed, or after a read that began when nothing of it was under way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::map::{Holder, Map, NodeState};
use crate::slot::{SLOTS, Slot, SlotSet};
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
    /// The answer to the [`Effect::ReadMap`] with this number; `None`: the database cannot be read.
    Map(u64, Option<Box<Map>>),
    /// A batch of this life was committed, which renews the lease.
    Committed,
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
    ReadMap(u64),
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
    /// The number of the last read that began when something of the slot was last under way: that read may be older.
    settled: [u64; SLOTS],
    /// Slots that were asked of others, and when.
    asked: BTreeMap<Slot, (NodeId, Duration)>,
    accused: Option<Holder>,
    /// The number of the last read that began.
    reads: u64,
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
            settled: [0; SLOTS],
            asked: BTreeMap::new(),
            accused: None,
            reads: 0,
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
            Input::Map(read, map) => self.read(read, map, now, effects),
            Input::Committed => self.renew_at = now + self.rules.renew_after,
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
                if self.is_draining && self.open.is_empty() && self.claiming.is_empty() && self.yielding.is_empty() {
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
                    self.reads += 1;
                    self.may_read_at = now + self.rules.read_gap;
                    effects.push(Effect::ReadMap(self.reads));
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
                (self.read_at, self.is_renewing) = (now, false);
                // One that is under way may be from before.
                self.is_reading = false;
                self.settled = [self.reads; SLOTS];
            }
            None => self.stage = Stage::Out { join_at: now + self.rules.read_after },
        }
    }

    /// The life is over: another one begins at once.
    fn lose(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        effects.push(Effect::CloseAll);
        (self.open, self.claiming, self.yielding) = Default::default();
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

    fn read(&mut self, read: u64, map: Option<Box<Map>>, now: Duration, effects: &mut Vec<Effect>) {
        let Stage::In(me) = self.stage else { return };
        if read != self.reads || !self.is_reading {
            return;
        }
        self.is_reading = false;
        self.read_at = now + self.rules.read_after;
        // A server that was replaced may still answer reads, of what was before.
        let Some(map) = map.filter(|map| map.version >= self.map.version) else { return };
        self.map = *map;
        if !self.map.is_alive(me) {
            self.lose(now, effects);
            return;
        }
        self.end_late(me, effects);
        for slot in Slot::all() {
            self.settle(slot, me, read, now, effects);
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
    fn settle(&mut self, slot: Slot, me: Holder, read: u64, now: Duration, effects: &mut Vec<Effect>) {
        if self.open.contains(slot) || self.claiming.contains(slot) || self.settled[place(slot)] >= read {
            return;
        }
        let holder = self.map.holder(slot);
        if self.yielding.contains(slot) {
            // Its outcome was not known.
            if holder == Some(me) {
                self.settled[place(slot)] = u64::MAX;
                effects.push(Effect::Yield(me.life, slot));
            } else {
                self.yielding.remove(slot);
            }
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
        self.settled[place(slot)] = u64::MAX;
        effects.push(Effect::Yield(me.life, slot));
    }

    fn claimed(&mut self, life: Life, slot: Slot, holds: Option<bool>, effects: &mut Vec<Effect>) {
        let Some(me) = self.me().filter(|me| me.life == life) else { return };
        let was_claiming = self.claiming.remove(slot);
        debug_assert!(was_claiming, "a claim is answered once");
        self.settled[place(slot)] = self.reads;
        if holds == Some(true) {
            self.open(slot, me, effects);
        }
    }

    fn yielded(&mut self, life: Life, slot: Slot, is_known: bool) {
        if !self.is_mine(life) {
            return;
        }
        self.settled[place(slot)] = self.reads;
        if is_known {
            let was_yielding = self.yielding.remove(slot);
            debug_assert!(was_yielding, "a slot is given up once");
        }
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
        debug_assert!(
            Slot::all().all(|slot| {
                let places = [&self.open, &self.claiming, &self.yielding];
                places.iter().filter(|set| set.contains(slot)).count() <= 1
            }),
            "a slot is in one state"
        );
        let holds_nothing = self.open.is_empty() && self.claiming.is_empty() && self.yielding.is_empty();
        debug_assert!(self.me().is_some() || holds_nothing, "without a life it holds nothing");
    }
}

fn place(slot: Slot) -> usize {
    slot.0.into()
}
