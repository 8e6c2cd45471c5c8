//! Agents with a socket each: the near ends of their links, which are under test, and the mailboxes at the owners.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use doorbell_cluster::{AtSocket, FarEnds, FarLink, FromOwner, Holder, Link, Member, NodeId, Opening, Slot, ToOwner};

use crate::Bug;
use crate::database::Database;
use crate::node::Frame;
use crate::random::Random;

pub(crate) const AGENTS: u8 = 12;

pub(crate) fn agent_of(id: u64) -> u8 {
    (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8 % AGENTS
}

pub(crate) fn slot_of(agent: u8) -> Slot {
    Slot(agent * 20)
}

struct Socket {
    number: u64,
    link: Link,
    /// The process that the last frame went to: the other end of the connection.
    peer: Option<usize>,
    received: BTreeSet<i64>,
    to_settle: Vec<i64>,
}

impl Socket {
    /// What the link knows of the socket, as if it had been declined.
    fn forget(&mut self) {
        for id in &self.received {
            self.link.declined(*id, &mut Vec::new());
        }
    }
}

/// The newest subscriber of a mailbox: the others of an agent are silent here.
struct Far {
    process: usize,
    socket: u64,
    sent: BTreeSet<i64>,
}

#[derive(Default)]
struct Mailbox {
    is_loaded: bool,
    waiting: BTreeSet<i64>,
    far: Option<Far>,
}

/// What a node has of agents.
#[derive(Default)]
pub(crate) struct Sockets {
    bug: Option<Bug>,
    sockets: BTreeMap<u8, Socket>,
    /// The agents of sockets that have connected here.
    agents: BTreeMap<u64, u8>,
    mailboxes: BTreeMap<u8, Mailbox>,
    /// By processes, as each pair has one connection.
    far: FarEnds<usize>,
    /// To processes, or to the owner with this number.
    pub(crate) to_processes: Vec<(usize, Frame)>,
    pub(crate) to_owners: Vec<(NodeId, Frame)>,
    /// What came on a socket: the agent, its socket, the message, and whether it came before.
    pub(crate) came: Vec<(u64, bool)>,
}

impl Sockets {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self { bug, ..Self::default() }
    }

    pub(crate) fn connect(&mut self, agent: u8, number: u64) {
        let link = Link::new(slot_of(agent));
        self.sockets
            .insert(agent, Socket { number, link, peer: None, received: BTreeSet::new(), to_settle: Vec::new() });
    }

    pub(crate) fn has(&self, agent: u8) -> bool {
        self.sockets.contains_key(&agent)
    }

    /// Opens links, and lets agents deal with what came: while `is_calm`, each acknowledges.
    pub(crate) fn go_on(&mut self, member: &Member, is_calm: bool, random: &mut Random, now: Duration) {
        for (&agent, socket) in &mut self.sockets {
            let mut frames = Vec::new();
            socket.link.route(member, now, &mut frames);
            if random.percent(20)
                && let Some(id) = socket.to_settle.pop()
            {
                match if is_calm { 2 } else { random.below(4) } {
                    0 if socket.received.remove(&id) => socket.link.declined(id, &mut frames),
                    1 => {
                        socket.link.arrived(id, &mut frames);
                        socket.to_settle.insert(0, id);
                    }
                    _ => socket.link.settle(id, &mut frames),
                }
            }
            let number = socket.number;
            for frame in frames {
                let owner = socket.link.owner().expect("it sends to an owner");
                self.to_owners.push((owner, Frame::Link { agent, socket: number, frame }));
            }
        }
    }

    /// Reads what waits for the agents that have just connected. The same read shows that the life goes on: a node that was
    /// stopped has old mailboxes, and may be asked by one whose map is old too.
    pub(crate) fn load(&mut self, database: &Database, me: Holder) {
        if !database.is_current(me) {
            return;
        }
        let new: Vec<_> = self.mailboxes.iter().filter(|(_, of)| !of.is_loaded).map(|(agent, _)| *agent).collect();
        for agent in new {
            let mailbox = self.mailboxes.get_mut(&agent).unwrap();
            mailbox.is_loaded = true;
            mailbox.waiting = database.pending(agent).collect();
            self.offer(agent);
        }
    }

    fn offer(&mut self, agent: u8) {
        let Some(Mailbox { is_loaded: true, waiting, far: Some(far) }) = self.mailboxes.get_mut(&agent) else { return };
        let new: Vec<_> = waiting.iter().copied().filter(|id| far.sent.insert(*id)).collect();
        let (process, socket) = (far.process, far.socket);
        new.into_iter().for_each(|id| self.back(agent, process, socket, FromOwner::Put(id)));
    }

    /// Says something to the near end of a link, if it is open.
    fn back(&mut self, agent: u8, process: usize, socket: u64, frame: FromOwner) {
        if let Some(FarLink { opening, .. }) = self.far.find(process, socket) {
            self.to_processes.push((process, Frame::Back { agent, socket, opening, frame }));
        }
    }

    /// A message of an agent was stored here.
    pub(crate) fn stored(&mut self, id: u64) {
        let agent = agent_of(id);
        if let Some(mailbox) = self.mailboxes.get_mut(&agent) {
            mailbox.waiting.insert(id.cast_signed());
            self.offer(agent);
        }
    }

    /// Its end is durable.
    pub(crate) fn erased(&mut self, id: u64) {
        let (agent, id) = (agent_of(id), id.cast_signed());
        let Some(mailbox) = self.mailboxes.get_mut(&agent) else { return };
        mailbox.waiting.remove(&id);
        if let Some(far) = &mut mailbox.far {
            far.sent.remove(&id);
            let (process, socket) = (far.process, far.socket);
            self.back(agent, process, socket, FromOwner::Settled(id));
        }
    }

    /// The node serves this slot no more, or none.
    pub(crate) fn close(&mut self, slot: Option<Slot>) {
        self.mailboxes.retain(|agent, _| slot.is_some_and(|slot| slot_of(*agent) != slot));
        for FarLink { connection: process, link: socket, opening } in self.far.close(slot) {
            let agent = self.agents[&socket];
            self.to_processes.push((process, Frame::Back { agent, socket, opening, frame: FromOwner::NotOwner }));
        }
    }

    /// A frame for the owner. Returns a message that ends.
    pub(crate) fn at_owner(
        &mut self,
        from: usize,
        agent: u8,
        socket: u64,
        frame: ToOwner,
        is_open: bool,
    ) -> Option<i64> {
        match frame {
            ToOwner::Connect { opening } => {
                self.agents.insert(socket, agent);
                let link = FarLink { connection: from, link: socket, opening };
                let answer = match self.far.connect(link, slot_of(agent), is_open) {
                    Opening::Late => return None,
                    Opening::NotOwner => FromOwner::NotOwner,
                    Opening::Open { .. } => FromOwner::Connected,
                };
                self.to_processes.push((from, Frame::Back { agent, socket, opening, frame: answer }));
                if answer == FromOwner::Connected {
                    let mailbox = self.mailboxes.entry(agent).or_default();
                    if mailbox.far.as_ref().is_none_or(|far| far.socket <= socket) {
                        mailbox.far = Some(Far { process: from, socket, sent: BTreeSet::new() });
                        mailbox.is_loaded = false;
                    }
                }
                None
            }
            ToOwner::Settle { id } => is_open.then_some(id),
            ToOwner::Declined { id } => {
                if let Some(far) = self.mailboxes.get_mut(&agent).and_then(|of| of.far.as_mut())
                    && far.process == from
                    && far.socket == socket
                {
                    far.sent.remove(&id);
                    self.offer(agent);
                }
                None
            }
            ToOwner::Arrived { .. } => None,
            ToOwner::Disconnect { opening } => {
                self.far.disconnect(FarLink { connection: from, link: socket, opening });
                None
            }
        }
    }

    /// A frame of the owner.
    pub(crate) fn at_socket(&mut self, agent: u8, socket: u64, opening: u64, frame: FromOwner, now: Duration) {
        let forgets = self.bug == Some(Bug::LinkForgets);
        let Some(socket) = self.sockets.get_mut(&agent).filter(|of| of.number == socket) else { return };
        if forgets && frame == FromOwner::Connected {
            socket.forget();
        }
        let (mut events, mut frames) = (Vec::new(), Vec::new());
        socket.link.receive(opening, frame, now, &mut events, &mut frames);
        if let Some(owner) = socket.link.owner() {
            let number = socket.number;
            self.to_owners
                .extend(frames.into_iter().map(|frame| (owner, Frame::Link { agent, socket: number, frame })));
        }
        for event in events {
            if let AtSocket::Send(id) = event {
                self.came.push((id.cast_unsigned(), !socket.received.insert(id)));
                socket.to_settle.push(id);
            }
        }
    }

    /// The frames of this socket go to this process.
    pub(crate) fn goes_to(&mut self, agent: u8, process: usize) {
        if let Some(socket) = self.sockets.get_mut(&agent) {
            socket.peer = Some(process);
        }
    }

    /// The connection to a process is lost.
    pub(crate) fn lost(&mut self, process: usize, now: Duration) {
        for socket in self.sockets.values_mut().filter(|socket| socket.peer == Some(process)) {
            if let Some(owner) = socket.link.owner() {
                socket.link.lost(owner, now);
            }
        }
        for lost in self.far.lost(process) {
            if let Some(mailbox) = self.mailboxes.get_mut(&self.agents[&lost.link]) {
                mailbox.far.take_if(|far| (far.process, far.socket) == (process, lost.link));
            }
        }
    }
}
