//! The agents of one worker: their identities, and whether they are connected.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::sleep;

use crate::clock;
use crate::context::{Context, Receiver};
use crate::door::{Connection, Door, Identity};
use crate::error::{Blame, Result};
use crate::tickets::Tickets;

/// How many connect at the same time: the service's queue of connections to accept is finite.
const CONNECTING_MAX: usize = 128;

/// How often one connection is tried. A service that has just been started may refuse the first ones.
const TRIES: u32 = 6;
/// The pause after the first try; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// All agents of a worker.
pub(super) struct Agents {
    context: Rc<Context>,
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
    /// When it was connected, on the monotonic clock; the end of the last time is `u64::MAX` while it lasts.
    presence: RefCell<Vec<(u64, u64)>>,
}

/// Where messages for an agent go.
pub(super) struct Address {
    pub(super) uri: Uri,
    pub(super) authorization: HeaderValue,
}

impl Agents {
    pub(super) fn new(context: Rc<Context>) -> Self {
        let all = (0..context.job.agents).map(|number| Rc::new(Agent::new(number, context.job.door))).collect();
        Self { context, all, connections: Cell::new(0) }
    }

    /// Connects agents until the first `number` are connected.
    pub(super) async fn connect(self: &Rc<Self>, number: usize) -> Result<()> {
        let permits = Rc::new(Semaphore::new(CONNECTING_MAX));
        // Tasks and not one future of many: tokio would stop polling it after a hundred steps, wherever it was.
        let mut arrivals = JoinSet::new();
        for agent in self.all.iter().take(number).filter(|agent| !agent.is_present()) {
            let (agents, agent, permits) = (self.clone(), agent.clone(), permits.clone());
            arrivals.spawn_local(async move {
                let _permit = permits.acquire().await.blame_generator("the semaphore is closed")?;
                agents.connect_one(&agent).await
            });
        }
        while let Some(arrived) = arrivals.join_next().await {
            arrived.blame_generator("a task failed")??;
        }
        Ok(())
    }

    /// Disconnects all agents.
    pub(super) fn leave(&self) {
        for agent in &self.all {
            self.disconnect(agent);
        }
    }

    /// How many have subscribed.
    pub(super) fn subscribed(&self) -> usize {
        self.all.iter().filter(|agent| agent.address().is_some()).count()
    }

    /// The agent of this turn, and where to send to it. Agents subscribe in the order of their numbers.
    pub(super) fn addressed(&self, turn: usize) -> Option<(usize, &Address)> {
        let agent = self.all.get(turn % self.all.len().max(1))?;
        Some((agent.number, agent.address()?))
    }

    /// Disconnects and connects agents, one after the other, forever: each changes once in `period` on average.
    pub(super) async fn come_and_go(&self, period: Duration) -> Result<()> {
        let pause = period.div_f64(self.all.len().max(1) as f64);
        loop {
            sleep(pause).await;
            let Some(agent) = fastrand::choice(&self.all) else {
                continue; /* there are no agents at all */
            };
            if agent.is_present() {
                self.disconnect(agent);
            } else {
                self.connect_one(agent).await?;
            }
        }
    }

    /// Whether agent `number` was connected all the time between two moments.
    pub(super) fn was_connected(&self, number: u32, from: u64, until: u64) -> bool {
        self.all[number as usize].presence.borrow().iter().any(|&(start, end)| start <= from && until <= end)
    }

    /// Connects one agent.
    async fn connect_one(&self, agent: &Rc<Agent>) -> Result<()> {
        let begun = clock::now();
        let connection = self.connect_with_retries(agent).await?;
        let number = self.connections.get() + 1;
        self.connections.set(number);
        agent.presence.borrow_mut().push((clock::now(), u64::MAX));
        self.context.progress(|progress| progress.connected += 1);
        self.context.note(|outcome| {
            outcome.connected += 1;
            outcome.connects.record(clock::now() - begun);
        });
        let (agent, receiver) = (agent.clone(), Receiver { context: self.context.clone(), connection: number });
        let task = spawn_local({
            let agent = agent.clone();
            async move {
                let Err(why) = connection.receive(&receiver).await;
                agent.note_end();
                receiver.context.broken(&why);
            }
        });
        agent.task.replace(Some(task));
        Ok(())
    }

    /// Closes one agent's connection without a message, as when its network is gone.
    fn disconnect(&self, agent: &Agent) {
        let Some(task) = agent.task.take() else { return };
        if agent.is_present() {
            task.abort();
            agent.note_end();
            self.context.progress(|progress| progress.connected -= 1);
        }
    }

    async fn connect_with_retries(&self, agent: &Agent) -> Result<Connection> {
        let key = self.context.keys.public(agent.number);
        let mut identity = agent.identity.borrow().clone();
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match Connection::open(&self.context, key, &mut identity, &agent.tickets).await {
                Ok(connection) => {
                    agent.remember(&self.context, identity)?;
                    return Ok(connection);
                }
                Err(error) if tries == TRIES => return Err(error).blame_service("an agent cannot connect"),
                Err(error) => {
                    self.context.note(|outcome| {
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

    fn note_end(&self) {
        let mut presence = self.presence.borrow_mut();
        let (_, end) = presence.last_mut().expect("only a connection that was noted ends");
        *end = (*end).min(clock::now());
    }

    fn remember(&self, context: &Context, identity: Identity) -> Result<()> {
        if self.address.get().is_none() {
            let endpoint = identity.endpoint().blame_service("it has not subscribed")?;
            let uri = endpoint.parse::<Uri>().blame_service("the push endpoint is not a URL")?;
            let authorization = context.keys.authorization(self.number).clone();
            self.address.get_or_init(|| Address { uri, authorization });
        }
        self.identity.replace(identity);
        Ok(())
    }
}
