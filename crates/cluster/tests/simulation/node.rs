//! A node: the member and the router under test, and the writer of the store as `postgres/writer.rs` has it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use doorbell_cluster::{
    Effect, FromOwner, Holder, IdReserve, Input, Life, Member, NodeId, Route, Router, Rules, Slot, ToOwner,
};
use doorbell_protocol::id::Mint;
use doorbell_protocol::time::UnixMs;

use crate::database::{Answer, Batch, Database, Op, Seen};
use crate::random::Random;
use crate::sockets::{Sockets, agent_of, slot_of};
use crate::{Bug, Time};

const BATCH_MAX: usize = 16;
const START_MS: Time = 1_800_000_000_000;

/// What nodes send each other. Senders and receivers are processes: numbers of nodes are used again.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Submit {
        id: u64,
        slot: Slot,
    },
    Accepted(u64),
    NotOwner(u64),
    YieldSlot(Slot, NodeId),
    Link {
        agent: u8,
        socket: u64,
        frame: ToOwner,
    },
    Back {
        agent: u8,
        socket: u64,
        opening: u64,
        frame: FromOwner,
    },
    /// The connection between two processes ends. The number of the sender.
    Lost(Option<NodeId>),
}

struct InFlight {
    batch: Batch,
    /// `None`: the connection is lost, and the outcome is not known.
    connection: Option<u64>,
}

pub(crate) struct Node {
    bug: Option<Bug>,
    pub(crate) member: Member,
    pub(crate) is_paused: bool,
    /// Since when it has not stood still.
    pub(crate) runs_since: Time,
    /// How far its clock is ahead.
    skew: Time,
    ids: Option<(Mint, IdReserve)>,
    queue: VecDeque<Op>,
    flight: Option<InFlight>,
    /// The life that the writer writes for, and the number of its last batch.
    life: Option<(Holder, u64)>,
    router: Router,
    pub(crate) sockets: Sockets,
    /// The slots of the messages that senders wait for.
    posts: BTreeMap<i64, Slot>,
    pub(crate) given_up: usize,
    /// Messages of other processes that are in the queue.
    remote: BTreeMap<u64, usize>,
    pub(crate) accepted: Vec<u64>,
    pub(crate) outbox: Vec<(usize, Frame)>,
    effects: Vec<Effect>,
    reads: bool,
    joins: bool,
    renews: Option<Life>,
    ends: Vec<Holder>,
    accusations: Vec<Holder>,
    drains: Option<Life>,
    leaves: Option<Holder>,
    /// Batches of lost connections that the server may still get.
    pub(crate) buffers: Vec<Batch>,
}

fn since_start(now: Time) -> Duration {
    Duration::from_millis(now.cast_unsigned())
}

impl Node {
    pub(crate) fn new(bug: Option<Bug>, skew: Time, now: Time) -> Self {
        Self {
            bug,
            member: Member::new(Rules::default(), true),
            is_paused: false,
            runs_since: now,
            skew,
            ids: None,
            queue: VecDeque::new(),
            flight: None,
            life: None,
            router: Router::default(),
            sockets: Sockets::new(bug),
            posts: BTreeMap::new(),
            given_up: 0,
            remote: BTreeMap::new(),
            accepted: Vec::new(),
            outbox: Vec::new(),
            effects: Vec::new(),
            reads: false,
            joins: false,
            renews: None,
            ends: Vec::new(),
            accusations: Vec::new(),
            drains: None,
            leaves: None,
            buffers: Vec::new(),
        }
    }

    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
    }

    pub(crate) fn resume(&mut self, now: Time) {
        if std::mem::take(&mut self.is_paused) {
            self.runs_since = now;
        }
    }

    fn clock(&self, now: Time) -> UnixMs {
        UnixMs::from_millis(START_MS + now + self.skew)
    }

    /// Takes a message of a sender. Returns its id; `None`: it may not mint one now.
    pub(crate) fn post(&mut self, now: Time) -> Option<u64> {
        let (mint, reserve) = self.ids.as_ref()?;
        let id = Some(mint.next(self.clock(now))).filter(|id| reserve.allows(*id))?;
        let slot = slot_of(agent_of(id.cast_unsigned()));
        self.posts.insert(id, slot);
        self.router.submit(id, slot, since_start(now));
        Some(id.cast_unsigned())
    }

    pub(crate) fn waits(&self) -> usize {
        self.router.len()
    }

    pub(crate) fn input(&mut self, input: Input, now: Time) {
        self.member.handle(input, since_start(now), &mut self.effects);
        for effect in std::mem::take(&mut self.effects) {
            self.perform(effect, now);
        }
    }

    fn perform(&mut self, effect: Effect, now: Time) {
        match effect {
            Effect::Join => self.joins = true,
            Effect::ReadMap => self.reads = true,
            Effect::Renew(life) => self.renews = Some(life),
            Effect::End(holder) => self.ends.push(holder),
            Effect::Accuse(holder) => self.accusations.push(holder),
            Effect::Claim(_, slot) => self.queue.push_back(Op::Claim(slot)),
            Effect::Yield(_, slot) if self.bug == Some(Bug::YieldsEarly) => self.queue.push_front(Op::Yield(slot)),
            Effect::Yield(_, slot) => self.queue.push_back(Op::Yield(slot)),
            Effect::AskYield(node, slot) => self.outbox.push((node.0.into(), Frame::YieldSlot(slot, NodeId(0)))),
            Effect::Open(_) => {}
            // Its messages are in the queue, or come again.
            Effect::Close(closed) => self.sockets.close(Some(closed)),
            Effect::CloseAll => self.fenced(now),
            Effect::BeginDrain(life) => self.drains = Some(life),
            Effect::Leave(_) => self.leaves = self.life.map(|(me, _)| me),
        }
    }

    fn fenced(&mut self, now: Time) {
        self.queue.clear();
        self.router.dropped_here(since_start(now));
        self.sockets.close(None);
        self.remote.clear();
        (self.life, self.ids) = (None, None);
        self.flight = None;
    }

    /// Asks the database what the member wants to know. It answers at once, or not at all.
    pub(crate) fn ask(&mut self, database: &mut Database, random: &mut Random, now: Time) {
        if self.member.next_deadline().is_some_and(|at| at <= since_start(now)) {
            self.input(Input::Tick, now);
        }
        if self.joins && !database.is_down {
            self.joins = false;
            let (me, ids_end) = database.join();
            self.life = Some((me, 0));
            self.ids = Some((Mint::new(me.node.0, ids_end), IdReserve::new(ids_end)));
            self.input(Input::Joined(Some(me)), now);
        }
        if std::mem::take(&mut self.reads) {
            let map = (!database.is_down).then(|| Box::new(database.read(random)));
            self.input(Input::Map(map), now);
        }
        if let Some(life) = self.renews.take() {
            if self.flight.is_none() && self.queue.is_empty() {
                self.queue.push_back(Op::Renew);
            }
            self.input(Input::Renewed(life, Some(true)), now);
        }
        if database.is_down {
            return;
        }
        let me = self.life.map(|(me, _)| me);
        for victim in std::mem::take(&mut self.ends) {
            if let Some(me) = me {
                database.end(victim, me);
            }
        }
        std::mem::take(&mut self.accusations).into_iter().for_each(|accused| database.accuse(accused));
        if let (Some(me), Some(_)) = (me, self.drains.take()) {
            database.begin_drain(me);
        }
        if let Some(me) = self.leaves
            && database.leave(me)
        {
            self.leaves = None;
        }
        if let Some(me) = me {
            self.sockets.load(database, me);
        }
        self.write(database, random, now);
    }

    /// Sends the next batch, or finds out what became of the last one.
    fn write(&mut self, database: &mut Database, random: &mut Random, now: Time) {
        let clock = self.clock(now);
        let Some((me, number)) = &mut self.life else { return };
        match &self.flight {
            None if !self.queue.is_empty() => {
                *number += 1;
                let ops = self.queue.drain(..self.queue.len().min(BATCH_MAX)).collect();
                let ids_end = self.ids.as_ref().map_or(0, |(_, reserve)| reserve.wanted(clock));
                let batch = Batch { by: *me, number: *number, ops, ids_end };
                let connection = Some(database.send(batch.clone()));
                self.flight = Some(InFlight { batch, connection });
            }
            Some(InFlight { batch, connection: None }) => {
                let batch = batch.clone();
                match self.bug {
                    Some(Bug::UnknownIsAccepted) => self.settled(&batch, None, now),
                    Some(Bug::UnknownIsRepeated) => self.again(batch),
                    _ => match database.resolve(batch.by, batch.number) {
                        Seen::Waits => {}
                        // The answer of the look is lost, and it looks again.
                        _ if random.percent(20) => {}
                        Seen::Over => self.over(batch.by.life, now),
                        // Whether a claim had an effect is known from its answer only.
                        Seen::Happened => self.settled(&batch, None, now),
                        Seen::Barred => self.again(batch),
                    },
                }
            }
            _ => {}
        }
    }

    fn over(&mut self, life: Life, now: Time) {
        self.fenced(now);
        self.input(Input::Over(life), now);
    }

    fn again(&mut self, batch: Batch) {
        self.flight = None;
        batch.ops.into_iter().rev().for_each(|op| self.queue.push_front(op));
    }

    /// The database answers on a connection of this node.
    pub(crate) fn answered(&mut self, connection: u64, answer: &Answer, now: Time) {
        let Some(flight) = self.flight.take_if(|flight| flight.connection == Some(connection)) else { return };
        match answer {
            Answer::Over => self.over(flight.batch.by.life, now),
            Answer::Done(done) => self.settled(&flight.batch, Some(done), now),
        }
    }

    pub(crate) fn connection(&self) -> Option<u64> {
        self.flight.as_ref()?.connection
    }

    /// The connection to the database ends.
    pub(crate) fn lose_connection(&mut self, database: &mut Database, random: &mut Random) {
        let Some(flight) = &mut self.flight else { return };
        let Some(connection) = flight.connection.take() else { return };
        // It may not have arrived, or lie in a buffer of the server.
        if random.one_in(2)
            && let Some(batch) = database.take_back(connection)
            && random.one_in(2)
        {
            self.buffers.push(batch);
        }
    }

    /// `None`: it happened, and its answer was lost.
    fn settled(&mut self, batch: &Batch, done: Option<&[bool]>, now: Time) {
        self.flight = None;
        if let Some((_, reserve)) = &mut self.ids {
            reserve.committed(batch.ids_end);
        }
        self.input(Input::Committed(batch.by.life, batch.number), now);
        for (at, op) in batch.ops.iter().enumerate() {
            match *op {
                Op::Renew => {}
                Op::Put(id, _) => self.stored(id),
                Op::Erase(id, _) => self.sockets.erased(id),
                Op::Claim(slot) => self.input(Input::Claimed(batch.by.life, slot, done.map(|done| done[at])), now),
                Op::Yield(slot) => self.input(Input::Yielded(batch.by.life, slot, true), now),
            }
        }
    }

    fn stored(&mut self, id: u64) {
        if let Some(process) = self.remote.remove(&id) {
            self.outbox.push((process, Frame::Accepted(id)));
        }
        self.accept(id);
        self.sockets.stored(id);
    }

    fn accept(&mut self, id: u64) {
        if self.router.answered(id.cast_signed()) {
            self.posts.remove(&id.cast_signed());
            self.accepted.push(id);
        }
    }

    /// The connection to a process is lost, which had this number.
    pub(crate) fn lost(&mut self, process: usize, number: Option<NodeId>, now: Time) {
        if let Some(number) = number {
            self.router.lost(number, since_start(now));
        }
        self.sockets.lost(process, since_start(now));
    }

    pub(crate) fn serve_sockets(&mut self, is_calm: bool, random: &mut Random, now: Time) {
        self.sockets.go_on(&self.member, is_calm, random, since_start(now));
        let to_owners = std::mem::take(&mut self.sockets.to_owners);
        self.outbox.extend(to_owners.into_iter().map(|(node, frame)| (node.0.into(), frame)));
        self.outbox.append(&mut self.sockets.to_processes);
    }

    /// Nothing listens where a node should be.
    pub(crate) fn refused(&mut self, node: NodeId, now: Time) {
        self.router.lost(node, since_start(now));
        self.input(Input::Refused(node), now);
    }

    /// Sends what its senders wait for to the owners.
    pub(crate) fn route(&mut self, now: Time) {
        let mut routes = Vec::new();
        self.router.route(&self.member, since_start(now), &mut routes);
        for route in routes {
            match route {
                Route::Here { id, .. } => self.queue.push_back(Op::Put(id.cast_unsigned(), self.posts[&id])),
                Route::To { node, id, .. } => {
                    let frame = Frame::Submit { id: id.cast_unsigned(), slot: self.posts[&id] };
                    self.outbox.push((node.0.into(), frame));
                }
                Route::GiveUp(id) => {
                    self.posts.remove(&id);
                    self.given_up += 1;
                }
            }
        }
    }

    pub(crate) fn receive(&mut self, from: usize, frame: Frame, now: Time) {
        match frame {
            Frame::Submit { id, slot } if self.member.is_open(slot) => {
                // What comes again while the first is in the queue must not make it longer.
                if self.remote.insert(id, from).is_none() {
                    self.queue.push_back(Op::Put(id, slot));
                }
            }
            Frame::Submit { id, .. } => self.outbox.push((from, Frame::NotOwner(id))),
            Frame::Accepted(id) => self.accept(id),
            Frame::NotOwner(id) => {
                self.router.not_owner(id.cast_signed(), since_start(now));
                self.input(Input::Outdated, now);
            }
            Frame::Link { agent, socket, frame } => {
                let slot = slot_of(agent);
                if let Some(id) = self.sockets.at_owner(from, agent, socket, frame, self.member.is_open(slot)) {
                    let erase = Op::Erase(id.cast_unsigned(), slot);
                    if !self.queue.contains(&erase) {
                        self.queue.push_back(erase);
                    }
                }
            }
            Frame::Back { agent, socket, opening, frame } => {
                let is_outdated = frame == FromOwner::NotOwner;
                self.sockets.at_socket(agent, socket, opening, frame, since_start(now));
                if is_outdated {
                    self.input(Input::Outdated, now);
                }
            }
            Frame::Lost(number) => self.lost(from, number, now),
            Frame::YieldSlot(slot, by) => self.input(Input::YieldAsked { slot, by }, now),
        }
    }
}
