//! The agents of one worker: who they are, and whether they are there.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::{HeaderValue, Uri};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::sleep;

use super::clock;
use super::door::{Connection, Door, Identity};
use super::tickets::Tickets;
use super::world::{Ear, World};

/// How many connect at the same time: the service's queue of connections that it has not accepted yet is finite.
const CONNECTING_MAX: usize = 128;

/// How often one connection is tried. A service that has just been started may refuse the first ones.
const TRIES: u32 = 6;
/// The pause after the first try; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// All agents of a worker.
pub(super) struct Agents {
    world: Rc<World>,
    all: Vec<Rc<Agent>>,
    connections: Cell<u32>,
}

/// One user agent.
pub(super) struct Agent {
    pub(super) number: usize,
    identity: RefCell<Identity>,
    tickets: Arc<Tickets>,
    address: OnceCell<Address>,
    task: RefCell<Option<JoinHandle<()>>>,
    /// When it was there, on the monotonic clock; the end of the last time is `u64::MAX` while it lasts.
    presence: RefCell<Vec<(u64, u64)>>,
}

/// Where messages for an agent go.
pub(super) struct Address {
    pub(super) uri: Uri,
    pub(super) authorization: HeaderValue,
}

impl Agents {
    pub(super) fn new(world: Rc<World>) -> Self {
        let all = (0..world.job.agents).map(|number| Rc::new(Agent::new(number, world.job.door))).collect();
        Self { world, all, connections: Cell::new(0) }
    }

    /// Agents connect, those that are not there yet, until the first `number` are.
    pub(super) async fn connect(self: &Rc<Self>, number: usize) -> Result<()> {
        let gate = Rc::new(Semaphore::new(CONNECTING_MAX));
        // Tasks and not one future of many, which tokio would put off after a hundred steps, whoever's turn it was.
        let mut arrivals = JoinSet::new();
        for agent in self.all.iter().take(number).filter(|agent| !agent.is_present()) {
            let (agents, agent, gate) = (self.clone(), agent.clone(), gate.clone());
            arrivals.spawn_local(async move {
                let _place = gate.acquire().await?;
                agents.arrive(&agent).await
            });
        }
        while let Some(arrived) = arrivals.join_next().await {
            arrived??;
        }
        Ok(())
    }

    /// All agents leave.
    pub(super) fn leave(&self) {
        for agent in &self.all {
            self.depart(agent);
        }
    }

    /// How many have subscribed.
    pub(super) fn subscribed(&self) -> usize {
        self.all.iter().filter(|agent| agent.address().is_some()).count()
    }

    /// The agent whose turn it is, and where to send to it. Agents subscribe in the order of their numbers.
    pub(super) fn addressed(&self, turn: usize) -> Option<(usize, &Address)> {
        let agent = self.all.get(turn % self.all.len().max(1))?;
        Some((agent.number, agent.address()?))
    }

    /// Agents leave and come back, one after the other, for ever: each changes once in `period` on the average.
    pub(super) async fn come_and_go(&self, period: Duration) -> Result<()> {
        let pause = period.div_f64(self.all.len().max(1) as f64);
        loop {
            sleep(pause).await;
            let Some(agent) = fastrand::choice(&self.all) else { continue };
            if agent.is_present() {
                self.depart(agent);
            } else {
                self.arrive(agent).await?;
            }
        }
    }

    /// Whether agent `number` was connected all the time between two moments.
    pub(super) fn was_there(&self, number: u32, from: u64, until: u64) -> bool {
        let Some(agent) = self.all.get(number as usize) else { return false };
        agent.presence.borrow().iter().any(|&(start, end)| start <= from && until <= end)
    }

    /// One agent connects.
    async fn arrive(&self, agent: &Rc<Agent>) -> Result<()> {
        let begun = clock::now();
        let connection = self.try_often(agent).await.with_context(|| format!("agent {}", agent.number))?;
        let number = self.connections.get() + 1;
        self.connections.set(number);
        agent.presence.borrow_mut().push((clock::now(), u64::MAX));
        self.world.progress(|progress| progress.connected += 1);
        self.world.note(|outcome| {
            outcome.connected += 1;
            outcome.connects.record(clock::now() - begun);
        });
        let (agent, ear) = (agent.clone(), Ear { world: self.world.clone(), connection: number });
        let task = spawn_local({
            let agent = agent.clone();
            async move {
                let Err(why) = connection.attend(&ear).await;
                agent.is_absent();
                ear.world.broken(&why);
            }
        });
        agent.task.replace(Some(task));
        Ok(())
    }

    /// One agent leaves without a word, as those do whose network is gone.
    fn depart(&self, agent: &Agent) {
        let Some(task) = agent.task.take() else { return };
        if agent.is_present() {
            task.abort();
            agent.is_absent();
            self.world.progress(|progress| progress.connected -= 1);
        }
    }

    async fn try_often(&self, agent: &Agent) -> Result<Connection> {
        let key = self.world.keys.public(agent.number);
        let mut identity = agent.identity.borrow().clone();
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match Connection::open(&self.world, key, &mut identity, &agent.tickets).await {
                Ok(connection) => {
                    agent.learn(&self.world, identity)?;
                    return Ok(connection);
                }
                Err(error) if tries == TRIES => return Err(error).context("cannot connect"),
                Err(error) => {
                    self.world.note(|outcome| {
                        outcome.retries += 1;
                        outcome.retry_why.get_or_insert_with(|| error.to_string());
                    });
                    sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
            }
        }
    }
}

impl Agent {
    fn new(number: usize, door: Door) -> Self {
        Self {
            number,
            identity: RefCell::new(Identity::new(door)),
            tickets: Arc::default(),
            address: OnceCell::new(),
            task: RefCell::default(),
            presence: RefCell::default(),
        }
    }

    /// Where to send to it, once it has subscribed.
    pub(super) fn address(&self) -> Option<&Address> {
        self.address.get()
    }

    pub(super) fn is_present(&self) -> bool {
        self.presence.borrow().last().is_some_and(|&(_, end)| end == u64::MAX)
    }

    fn is_absent(&self) {
        if let Some((_, end)) = self.presence.borrow_mut().last_mut() {
            *end = (*end).min(clock::now());
        }
    }

    fn learn(&self, world: &World, identity: Identity) -> Result<()> {
        if self.address.get().is_none() {
            let endpoint = identity.endpoint().context("it has not subscribed")?;
            let uri = endpoint.parse().context("the push endpoint is no URL")?;
            let authorization = world.keys.authorization(self.number).context("there is no key")?;
            self.address.get_or_init(|| Address { uri, authorization });
        }
        self.identity.replace(identity);
        Ok(())
    }
}
