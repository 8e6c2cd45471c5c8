//! The schedule: what happens next, which faults there are, and what must hold at the end.

use std::collections::{BTreeMap, BTreeSet};

use doorbell_cluster::{Input, NodeId, Slot};

use crate::database::Database;
use crate::node::{Frame, Node};
use crate::random::Random;
use crate::sockets::AGENTS;
use crate::{Bug, Time};

const STEP: Time = 20;
const FAULTS_UNTIL: Time = 40_000;
const END: Time = FAULTS_UNTIL + 20_000;
const NODES: usize = 3;
/// A node that has run for so long has renewed its lease, whatever else happens.
const RUNS_FOR: Time = 8_000;

pub(crate) struct World {
    bug: Option<Bug>,
    random: Random,
    now: Time,
    database: Database,
    up_at: Time,
    /// By the number of their processes.
    nodes: BTreeMap<usize, Node>,
    processes: usize,
    network: Vec<(Time, usize, usize, Frame)>,
    /// When the last frame from one to another arrives: they keep their order.
    last: BTreeMap<(usize, usize), Time>,
    sockets: u64,
    /// One-way.
    cuts: BTreeSet<(usize, usize)>,
    minted: BTreeSet<u64>,
    pub(crate) accepted: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    pub(crate) given_up: usize,
    pub(crate) faults: usize,
    pub(crate) wrong: Vec<String>,
}

impl World {
    pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Self {
        let mut world = Self {
            bug,
            random: Random::new(seed),
            now: 0,
            database: Database::new(bug),
            up_at: 0,
            nodes: BTreeMap::new(),
            processes: 0,
            network: Vec::new(),
            last: BTreeMap::new(),
            sockets: 0,
            cuts: BTreeSet::new(),
            minted: BTreeSet::new(),
            accepted: BTreeSet::new(),
            delivered: BTreeSet::new(),
            given_up: 0,
            faults: 0,
            wrong: Vec::new(),
        };
        (0..NODES).for_each(|_| world.start());
        while world.now < END && world.wrong.is_empty() {
            world.step();
        }
        world.judge_the_end();
        world
    }

    fn start(&mut self) {
        self.processes += 1;
        let skew = (self.random.next() % 4_001).cast_signed() - 2_000;
        self.nodes.insert(self.processes, Node::new(self.bug, skew, self.now));
    }

    fn stop(&mut self, process: usize) {
        let node = self.nodes.remove(&process).unwrap();
        let number = node.member.me().map(|me| me.node);
        self.nodes.values_mut().for_each(|other| other.lost(process, number, self.now));
    }

    /// Agents without a socket connect anywhere.
    fn connect(&mut self) {
        for agent in 0..AGENTS {
            if self.nodes.values().all(|node| !node.sockets.has(agent)) {
                let all: Vec<_> = self.nodes.keys().copied().collect();
                let process = all[self.random.below(all.len())];
                self.sockets += 1;
                self.nodes.get_mut(&process).unwrap().sockets.connect(agent, self.sockets);
            }
        }
    }

    fn has_faults(&self) -> bool {
        self.now < FAULTS_UNTIL
    }

    fn step(&mut self) {
        self.now += STEP;
        self.database.pass(STEP);
        if self.has_faults() {
            self.post();
            self.fault();
        } else {
            self.heal();
        }
        self.connect();
        self.deliver();
        let is_calm = !self.has_faults();
        let all: Vec<_> = self.nodes.keys().copied().collect();
        for process in all {
            let node = self.nodes.get_mut(&process).unwrap();
            if !node.is_paused {
                node.ask(&mut self.database, &mut self.random, self.now);
                node.route(self.now);
                node.serve_sockets(is_calm, &mut self.random, self.now);
            }
            self.send(process);
        }
        // Slow enough that faults meet batches on their way.
        let busy = if self.has_faults() { self.random.below(3) } else { 6 };
        (0..busy).for_each(|_| self.serve());
        self.judge();
    }

    /// The database goes on with a batch, whether or not its node is stopped.
    fn serve(&mut self) {
        let Some((connection, answer)) = self.database.work(&mut self.random) else { return };
        let asked = self.nodes.values_mut().find(|node| node.connection() == Some(connection));
        if let Some(node) = asked {
            // The answer waits in the socket of a node that is stopped; here it is lost, which is harder.
            if node.is_paused {
                node.lose_connection(&mut self.database, &mut self.random);
            } else {
                node.answered(connection, &answer, self.now);
            }
        }
    }

    fn post(&mut self) {
        let all: Vec<_> = self.nodes.keys().copied().collect();
        let process = all[self.random.below(all.len())];
        let node = self.nodes.get_mut(&process).unwrap();
        if node.waits() < 32 && self.random.percent(80) {
            let Some(id) = node.post(self.now) else { return };
            if !self.minted.insert(id) {
                self.wrong.push(format!("{id} was minted twice"));
            }
        }
    }

    fn fault(&mut self) {
        if !self.random.percent(8) {
            return;
        }
        self.faults += 1;
        let all: Vec<_> = self.nodes.keys().copied().collect();
        let process = all[self.random.below(all.len())];
        let node = self.nodes.get_mut(&process).unwrap();
        match self.random.below(12) {
            0 => node.pause(),
            1 | 2 => node.resume(self.now),
            3..=5 => node.lose_connection(&mut self.database, &mut self.random),
            6 => {
                let other = all[self.random.below(all.len())];
                self.cuts.insert((process, other));
            }
            7 => self.cuts.clear(),
            8 if self.random.one_in(3) => {
                self.database.fail_over(&mut self.random);
                self.up_at = self.now + 500 + (self.random.next() % 8_000).cast_signed();
                for node in self.nodes.values_mut() {
                    node.lose_connection(&mut self.database, &mut self.random);
                }
            }
            9 if self.random.one_in(3) => {
                self.stop(process);
                self.start();
            }
            10 if self.random.one_in(3) => node.input(Input::Drain, self.now),
            _ => self.late_batch(process),
        }
        if self.now >= self.up_at {
            self.database.is_down = false;
        }
    }

    /// A batch that lay in a buffer arrives, and its client has gone.
    fn late_batch(&mut self, process: usize) {
        let Some(batch) = self.nodes.get_mut(&process).and_then(|node| node.buffers.pop()) else { return };
        if !self.database.is_down {
            self.database.send(batch);
        }
    }

    fn heal(&mut self) {
        self.cuts.clear();
        (self.database.is_down, self.database.may_be_old) = (false, false);
        self.nodes.values_mut().for_each(|node| node.resume(self.now));
        let left: Vec<_> = self.nodes.iter().filter(|(_, node)| node.member.has_left()).map(|(of, _)| *of).collect();
        for process in left {
            self.stop(process);
            self.start();
        }
    }

    /// The process that has this number now.
    fn process_of(&self, number: usize) -> Option<usize> {
        let is_it = |node: &Node| node.member.me().is_some_and(|me| usize::from(me.node.0) == number);
        self.nodes.iter().find(|(_, node)| is_it(node)).map(|(process, _)| *process)
    }

    fn send(&mut self, process: usize) {
        let node = self.nodes.get_mut(&process).unwrap();
        let (me, frames) = (node.member.me(), std::mem::take(&mut node.outbox));
        for (to, frame) in frames {
            // Owners are named by their numbers, those who asked by their processes.
            let number = NodeId(u16::try_from(to).unwrap());
            let (to, frame) = match frame {
                Frame::Submit { .. } | Frame::Link { .. } if self.process_of(to).is_none() => {
                    self.nodes.get_mut(&process).unwrap().refused(number, self.now);
                    continue;
                }
                Frame::Submit { .. } | Frame::Link { .. } => (self.process_of(to), frame),
                Frame::YieldSlot(slot, _) => {
                    (self.process_of(to), Frame::YieldSlot(slot, me.map_or(NodeId(0), |me| me.node)))
                }
                Frame::Accepted(_) | Frame::NotOwner(_) | Frame::Back { .. } | Frame::Lost(_) => (Some(to), frame),
            };
            let Some(to) = to else { continue };
            if let Frame::Link { agent, .. } = frame {
                self.nodes.get_mut(&process).unwrap().sockets.goes_to(agent, to);
            }
            let is_lost = self.has_faults() && self.random.percent(2);
            if to != process && (is_lost || self.cuts.contains(&(process, to))) {
                self.lose(process, to);
            } else {
                self.put(process, to, frame);
            }
        }
    }

    /// The connection between two processes is lost, which both notice after what has arrived.
    fn lose(&mut self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            let number = self.nodes.get(&from).and_then(|node| node.member.me()).map(|me| me.node);
            self.put(from, to, Frame::Lost(number));
        }
    }

    fn put(&mut self, from: usize, to: usize, frame: Frame) {
        let delay = (self.random.next() % 100).cast_signed();
        let last = self.last.entry((from, to)).or_default();
        *last = (*last).max(self.now + delay);
        self.network.push((*last, from, to, frame));
    }

    fn deliver(&mut self) {
        let now = self.now;
        let nodes = &self.nodes;
        let is_paused = |to: usize| nodes.get(&to).is_some_and(|node| node.is_paused);
        let due: Vec<_> = self.network.extract_if(.., |(at, _, to, _)| *at <= now && !is_paused(*to)).collect();
        for (_, from, to, frame) in due {
            if let Some(node) = self.nodes.get_mut(&to) {
                node.receive(from, frame, now);
            }
        }
    }

    fn judge(&mut self) {
        self.wrong.append(&mut self.database.faults);
        for ended in std::mem::take(&mut self.database.ended) {
            let runs = |node: &&Node| node.member.me() == Some(ended) && !node.is_paused;
            if self.nodes.values().find(runs).is_some_and(|node| self.now - node.runs_since > RUNS_FOR) {
                self.wrong.push(format!("{ended:?} was ended although it runs"));
            }
        }
        for node in self.nodes.values_mut() {
            self.given_up += std::mem::take(&mut node.given_up);
            for id in node.accepted.drain(..) {
                if !self.database.has(id) {
                    self.wrong.push(format!("{id} was accepted and is not stored"));
                }
                self.accepted.insert(id);
            }
            for (id, came_before) in node.sockets.came.drain(..) {
                // One that was stored again after its end is dropped by the agent.
                if came_before && !self.database.back.contains(&id) {
                    self.wrong.push(format!("{id} came twice on one socket"));
                }
                self.delivered.insert(id);
            }
        }
    }

    fn judge_the_end(&mut self) {
        if !self.wrong.is_empty() {
            return;
        }
        let held = self.database.held();
        if held != 256 {
            self.wrong.push(format!("{held} slots are held"));
        }
        let open: usize =
            Slot::all().map(|slot| self.nodes.values().filter(|node| node.member.is_open(slot)).count()).sum();
        if open != 256 {
            self.wrong.push(format!("{open} slots are served"));
        }
        if let Some(id) = self.accepted.difference(&self.delivered).next() {
            self.wrong.push(format!("{id} was accepted and did not arrive"));
        }
        if let Some(id) = (0..AGENTS).find_map(|agent| self.database.pending(agent).next()) {
            self.wrong.push(format!("{id} still waits for its agent"));
        }
        let waits: usize = self.nodes.values().map(Node::waits).sum();
        if waits > 0 {
            self.wrong.push(format!("{waits} messages wait"));
        }
    }
}
