//! Agents with a socket each: the near ends of their links, which are under test, and the mailboxes at the owners.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use doorbell_cluster::{AtSocket, FromOwner, Holder, Link, Member, NodeId, Slot, ToOwner};

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

/// The far end of a link.
struct Far {
    process: usize,
    socket: u64,
    opening: u64,
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
    mailboxes: BTreeMap<u8, Mailbox>,
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
        let (socket, opening) = (far.socket, far.opening);
        for id in waiting.iter().filter(|id| far.sent.insert(**id)) {
            self.to_processes.push((far.process, Frame::Back { agent, socket, opening, frame: FromOwner::Put(*id) }));
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
            let frame = Frame::Back { agent, socket: far.socket, opening: far.opening, frame: FromOwner::Settled(id) };
            self.to_processes.push((far.process, frame));
        }
    }

    /// The node serves these slots no more.
    pub(crate) fn close(&mut self, is_closed: impl Fn(Slot) -> bool) {
        let closed: Vec<_> = self.mailboxes.keys().copied().filter(|agent| is_closed(slot_of(*agent))).collect();
        for agent in closed {
            if let Some(Far { process, socket, opening, .. }) = self.mailboxes.remove(&agent).and_then(|of| of.far) {
                self.to_processes.push((process, Frame::Back { agent, socket, opening, frame: FromOwner::NotOwner }));
            }
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
            ToOwner::Connect { opening, .. } if !is_open => {
                self.to_processes.push((from, Frame::Back { agent, socket, opening, frame: FromOwner::NotOwner }));
                None
            }
            ToOwner::Connect { opening } => {
                let mailbox = self.mailboxes.entry(agent).or_default();
                if mailbox.far.as_ref().is_some_and(|far| (far.socket, far.opening) >= (socket, opening)) {
                    return None;
                }
                mailbox.far = Some(Far { process: from, socket, opening, sent: BTreeSet::new() });
                mailbox.is_loaded = false;
                self.to_processes.push((from, Frame::Back { agent, socket, opening, frame: FromOwner::Connected }));
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
            ToOwner::Arrived { .. } | ToOwner::Disconnect { .. } => None,
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
        for mailbox in self.mailboxes.values_mut() {
            mailbox.far.take_if(|far| far.process == process);
        }
    }
}
