//! A model of the database: rows with locks, a fence, leases by its own clock, and a failover that keeps or drops what
//! was under way.

use std::collections::{BTreeMap, BTreeSet};

use doorbell_cluster::{Holder, Life, Map, NodeId, NodeRow, NodeState, SLOTS, Slot};

use crate::random::Random;
use crate::sockets::agent_of;
use crate::{Bug, Time};

const LEASE: Time = 5_000;
const STEADY: Time = 5_000;
/// A longer gap between two renewals breaks the run of a node. It is so much shorter than a lease that after an outage
/// either all leases last, or no run does.
const GAP: Time = 2_000;
const ACCUSED: Time = 1_500;

/// What a batch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put(u64, Slot),
    Erase(u64, Slot),
    Claim(Slot),
    Yield(Slot),
    /// Nothing but the lease.
    Renew,
}

#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) by: Holder,
    pub(crate) number: u64,
    pub(crate) ops: Vec<Op>,
    pub(crate) ids_end: i64,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Whether each operation had an effect.
    Done(Vec<bool>),
    Over,
}

/// What a look at a batch of unknown outcome shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Happened,
    /// It did not, and cannot any more.
    Barred,
    Over,
    /// The row is locked by the batch itself.
    Waits,
}

#[derive(Clone, Debug)]
struct Row {
    life: i64,
    state: NodeState,
    batch: u64,
    barred: u64,
    lease_until: Time,
    steady_since: Time,
    /// No life of this number has minted an id from here on.
    ids_end: i64,
}

/// A batch that the server has.
struct Running {
    batch: Batch,
    /// It has passed the fence and holds the lock of its row.
    is_locked: bool,
}

pub(crate) struct Database {
    bug: Option<Bug>,
    now: Time,
    pub(crate) is_down: bool,
    rows: BTreeMap<NodeId, Row>,
    slots: [Option<Holder>; SLOTS],
    stored: BTreeSet<u64>,
    erased: BTreeSet<u64>,
    /// Stored again after their end: their owner died between the commit and its answer.
    pub(crate) back: BTreeSet<u64>,
    /// By their connections.
    running: BTreeMap<u64, Running>,
    connections: u64,
    /// A map of before.
    old: Map,
    pub(crate) may_be_old: bool,
    /// Lives that others have ended.
    pub(crate) ended: Vec<Holder>,
    /// What was written by a life that did not hold the slot.
    pub(crate) faults: Vec<String>,
}

impl Database {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self {
            bug,
            now: 0,
            is_down: false,
            rows: BTreeMap::new(),
            slots: [None; SLOTS],
            stored: BTreeSet::new(),
            erased: BTreeSet::new(),
            back: BTreeSet::new(),
            running: BTreeMap::new(),
            connections: 0,
            old: Map::empty(),
            may_be_old: true,
            ended: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.stored.contains(&id) || self.erased.contains(&id)
    }

    /// Whether a life goes on.
    pub(crate) fn is_current(&self, of: Holder) -> bool {
        self.rows.get(&of.node).is_some_and(|row| row.life == of.life.0 && row.state != NodeState::Ended)
    }

    /// What waits for an agent.
    pub(crate) fn pending(&self, agent: u8) -> impl Iterator<Item = i64> {
        self.stored.iter().filter(move |id| agent_of(**id) == agent).map(|id| id.cast_signed())
    }

    pub(crate) fn pass(&mut self, time: Time) {
        self.now += time;
    }

    /// Begins a life of the lowest free number. Its ids begin behind those of the lives before.
    pub(crate) fn join(&mut self) -> (Holder, i64) {
        let is_free = |row: &Row| row.state == NodeState::Ended;
        let node = (1..).map(NodeId).find(|node| self.rows.get(node).is_none_or(is_free)).unwrap();
        let life = self.rows.get(&node).map_or(1, |row| row.life + 1);
        let (lease_until, steady_since) = (self.now + LEASE, self.now);
        let ids_end = self.rows.get(&node).filter(|_| self.bug != Some(Bug::NoReserve)).map_or(0, |row| row.ids_end);
        let row = Row { life, state: NodeState::Up, batch: 0, barred: 0, lease_until, steady_since, ids_end };
        self.rows.insert(node, row);
        (Holder { node, life: Life(life) }, ids_end)
    }

    /// A read, which a server that was replaced may answer.
    pub(crate) fn read(&mut self, random: &mut Random) -> Map {
        if self.may_be_old && random.percent(3) {
            return self.old.clone();
        }
        let map = self.map();
        if random.percent(3) {
            self.old = map.clone();
        }
        map
    }

    pub(crate) fn map(&self) -> Map {
        let row = |row: &Row| NodeRow {
            life: Life(row.life),
            batch: row.batch,
            state: row.state,
            is_late: row.lease_until < self.now,
            is_steady: self.is_steady(row),
            owns_slots: true,
        };
        let nodes = self.rows.iter().map(|(node, of)| (*node, row(of))).collect();
        Map { nodes, slots: self.slots }
    }

    fn is_steady(&self, row: &Row) -> bool {
        row.lease_until >= self.now + LEASE - GAP
            && (self.now - row.steady_since >= STEADY || self.bug == Some(Bug::EndsAtOnce))
    }

    /// A node sends a batch on a new or used connection, which is its number.
    pub(crate) fn send(&mut self, batch: Batch) -> u64 {
        self.connections += 1;
        self.running.insert(self.connections, Running { batch, is_locked: false });
        self.connections
    }

    /// The batch did not arrive, and lies in a buffer.
    pub(crate) fn take_back(&mut self, connection: u64) -> Option<Batch> {
        let is_waiting = self.running.get(&connection).is_some_and(|running| !running.is_locked);
        if is_waiting { self.running.remove(&connection).map(|running| running.batch) } else { None }
    }

    fn is_locked(&self, node: NodeId) -> bool {
        self.running.values().any(|running| running.is_locked && running.batch.by.node == node)
    }

    /// The server goes on with one of its batches.
    pub(crate) fn work(&mut self, random: &mut Random) -> Option<(u64, Answer)> {
        if self.is_down || self.running.is_empty() {
            return None;
        }
        let at = random.below(self.running.len());
        let connection = *self.running.keys().nth(at).unwrap();
        let running = &self.running[&connection];
        let (by, number) = (running.batch.by, running.batch.number);
        if running.is_locked || self.bug == Some(Bug::NoLock) && random.one_in(2) {
            let running = self.running.remove(&connection).unwrap();
            return Some((connection, Answer::Done(self.apply(&running.batch))));
        }
        if self.is_locked(by.node) {
            return None;
        }
        if self.fits(by, number) {
            // Without the lock, the fence may be long past when the rows are written.
            if self.bug != Some(Bug::NoLock) {
                self.running.get_mut(&connection).unwrap().is_locked = true;
            }
            return None;
        }
        self.running.remove(&connection);
        Some((connection, Answer::Over))
    }

    fn fits(&self, by: Holder, number: u64) -> bool {
        if self.bug == Some(Bug::NoFence) {
            return true;
        }
        let row = &self.rows[&by.node];
        let marks = if self.bug == Some(Bug::LateBatch) { 0 } else { row.batch.max(row.barred) };
        row.life == by.life.0 && row.state != NodeState::Ended && marks < number
    }

    fn apply(&mut self, batch: &Batch) -> Vec<bool> {
        let now = self.now;
        let row = self.rows.get_mut(&batch.by.node).unwrap();
        if row.life == batch.by.life.0 && row.state != NodeState::Ended {
            row.batch = row.batch.max(batch.number);
            row.ids_end = row.ids_end.max(batch.ids_end);
            if row.lease_until < now + LEASE - GAP {
                row.steady_since = now;
            }
            row.lease_until = now + LEASE;
        }
        batch.ops.iter().map(|op| self.apply_one(batch.by, *op)).collect()
    }

    fn apply_one(&mut self, by: Holder, op: Op) -> bool {
        match op {
            Op::Renew => true,
            Op::Put(id, slot) | Op::Erase(id, slot) => {
                let holder = self.slots[usize::from(slot.0)];
                if holder != Some(by) {
                    self.faults.push(format!("{by:?} has written {id} for {slot:?} of {holder:?}"));
                }
                if matches!(op, Op::Erase(..)) {
                    self.stored.remove(&id);
                    return self.erased.insert(id);
                }
                if self.stored.insert(id) && self.erased.contains(&id) {
                    self.back.insert(id);
                }
                true
            }
            Op::Claim(slot) => self.change(slot, None, Some(by)),
            Op::Yield(slot) => self.change(slot, Some(by), None),
        }
    }

    fn change(&mut self, slot: Slot, from: Option<Holder>, to: Option<Holder>) -> bool {
        let holder = &mut self.slots[usize::from(slot.0)];
        if *holder != from {
            return false;
        }
        *holder = to;
        true
    }

    /// Looks what became of a batch.
    pub(crate) fn resolve(&mut self, by: Holder, number: u64) -> Seen {
        if self.is_locked(by.node) {
            return Seen::Waits;
        }
        let row = self.rows.get_mut(&by.node).unwrap();
        if row.life != by.life.0 || row.state == NodeState::Ended {
            return Seen::Over;
        }
        if row.batch >= number {
            return Seen::Happened;
        }
        if self.bug == Some(Bug::OneMark) {
            row.batch = number;
        } else {
            row.barred = row.barred.max(number);
        }
        Seen::Barred
    }

    /// Ends a life whose lease is over. Waits for its batch.
    pub(crate) fn end(&mut self, victim: Holder, by: Holder) -> bool {
        if self.is_locked(victim.node) {
            return false;
        }
        let may = self
            .rows
            .get(&by.node)
            .is_some_and(|row| row.life == by.life.0 && row.state != NodeState::Ended && self.is_steady(row));
        let is_late = self.rows.get(&victim.node).is_some_and(|row| {
            row.life == victim.life.0 && row.state != NodeState::Ended && row.lease_until < self.now
        });
        let ends = may && is_late && self.leave(victim);
        self.ended.extend(ends.then_some(victim));
        ends
    }

    /// Ends a life and frees its slots.
    pub(crate) fn leave(&mut self, of: Holder) -> bool {
        let row = self.rows.get_mut(&of.node).unwrap();
        if row.life != of.life.0
            || row.state == NodeState::Ended
            || self.running.values().any(|r| r.is_locked && r.batch.by == of)
        {
            return false;
        }
        (row.state, row.life) = (NodeState::Ended, row.life + 1);
        for slot in &mut self.slots {
            if *slot == Some(of) {
                *slot = None;
            }
        }
        true
    }

    pub(crate) fn begin_drain(&mut self, of: Holder) {
        if let Some(row) = self.rows.get_mut(&of.node).filter(|row| row.life == of.life.0 && row.state == NodeState::Up)
        {
            row.state = NodeState::Draining;
        }
    }

    pub(crate) fn accuse(&mut self, of: Holder) {
        if let Some(row) = self.rows.get_mut(&of.node).filter(|row| row.life == of.life.0) {
            row.lease_until = row.lease_until.min(self.now + ACCUSED);
        }
    }

    /// The primary is lost. What was under way has happened, or has not; its clients learn nothing.
    pub(crate) fn fail_over(&mut self, random: &mut Random) {
        for (_, running) in std::mem::take(&mut self.running) {
            if running.is_locked && random.one_in(2) {
                self.apply(&running.batch);
            }
        }
        self.is_down = true;
    }

    /// The slots that a life holds that has not ended.
    pub(crate) fn held(&self) -> usize {
        self.slots.iter().flatten().filter(|holder| self.is_current(**holder)).count()
    }
}
