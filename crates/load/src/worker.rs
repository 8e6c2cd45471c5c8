//! A worker: a process of the generator, with one thread and its share of the agents and the senders. It reads orders
//! from standard input and answers on standard output.

use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{interval, timeout};

use super::agents::Agents;
use super::clock;
use super::job::{Job, News, Order};
use super::measure;
use super::sender;
use super::world::World;

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_millis(250);

/// A service offers again what was not acknowledged, but not at once; after this time without any arrival it has not.
const QUIET_MAX: Duration = Duration::from_secs(40);

/// How often is looked whether something still comes.
const LOOK: Duration = Duration::from_millis(250);

/// How long an agent stays, or stays away, on a day that is short.
const STAY: Duration = Duration::from_secs(10);

/// Files that are open beside connections of agents and senders.
const OTHER_FILES: u64 = 32;

/// Works until there are no more orders.
pub(super) async fn run() -> Result<ExitCode> {
    // One thread, so that nothing it has needs a lock, and so that it is plain how busy it is.
    let (done, is_done) = oneshot::channel();
    thread::Builder::new().name("load".to_owned()).spawn(move || {
        // Nobody waits any more if the process is ending.
        let _ = done.send(work_on_this_thread());
    })?;
    is_done.await.context("the worker's thread panicked")?
}

fn work_on_this_thread() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let Err(error) = work().await else { return Ok(ExitCode::SUCCESS) };
        // The coordinator says it to whoever has called it.
        say(&News::Failed(format!("{error:#}"))).await?;
        Ok(ExitCode::FAILURE)
    })
}

async fn work() -> Result<()> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let Some(job) = next::<Job>(&mut orders).await? else { return Ok(()) };
    allow_open_files(&job)?;
    let world = Rc::new(World::new(job)?);
    let agents = Rc::new(Agents::new(world.clone()));
    while let Some(order) = next::<Order>(&mut orders).await? {
        let started = Started::now(&world);
        let carried_out = carry_out(&world, &agents, order);
        let progress = async {
            let mut ticks = interval(PROGRESS);
            loop {
                ticks.tick().await;
                say(&News::Progress(world.progress.get())).await?;
            }
        };
        tokio::select! {
            done = carried_out => done?,
            failed = progress => return failed,
        }
        started.note(&world);
        say(&News::Progress(world.progress.get())).await?;
        say(&News::Done(Box::new(world.outcome.take()))).await?;
    }
    Ok(())
}

async fn carry_out(world: &Rc<World>, agents: &Rc<Agents>, order: Order) -> Result<()> {
    match order {
        Order::Connect(number) => agents.connect(number).await?,
        Order::First => {
            let arrived = world.arrived.notified();
            agents.connect(1).await?;
            if world.ledger.borrow().outstanding() > 0 {
                // If none comes, settling tells what is missing.
                let _ = timeout(QUIET_MAX, arrived).await;
            }
        }
        Order::Leave => agents.leave(),
        Order::Send(plan) => sender::send(world, agents, &plan).await?,
        Order::Day(plan) => {
            tokio::select! {
                sent = sender::send(world, agents, &plan) => sent?,
                failed = agents.come_and_go(STAY) => failed?,
            }
        }
        Order::Settle => settle(world, agents).await,
    }
    Ok(())
}

/// Waits until everything has arrived that was accepted and has no excuse, or nothing has come for so long that nothing
/// will.
async fn settle(world: &World, agents: &Agents) {
    let judge = || world.ledger.borrow().judge(clock::now(), |agent, from, until| agents.was_there(agent, from, until));
    let mut quiet = Duration::ZERO;
    while world.ledger.borrow().outstanding() > 0 {
        let before = world.progress.get().arrived;
        if timeout(LOOK, world.all_arrived.notified()).await.is_ok() {
            continue;
        }
        quiet = if world.progress.get().arrived == before { quiet + LOOK } else { Duration::ZERO };
        if quiet >= QUIET_MAX || (!quiet.is_zero() && judge().missing == 0) {
            break;
        }
    }
    world.note(|outcome| outcome.verdict = judge());
}

/// What the counters showed when an order came.
struct Started {
    at: u64,
    cpu: u64,
    waited: u64,
    down: u64,
    handshakes: (u64, u64),
}

impl Started {
    fn now(world: &World) -> Self {
        Self {
            at: clock::now(),
            cpu: clock::thread_cpu(),
            waited: measure::thread_waited(),
            down: world.net.down(),
            handshakes: world.net.handshakes(),
        }
    }

    /// Notes what has been added since.
    fn note(&self, world: &World) {
        let now = Self::now(world);
        world.note(|outcome| {
            outcome.wall = now.at - self.at;
            outcome.ran = now.cpu - self.cpu;
            outcome.waited = now.waited.saturating_sub(self.waited);
            outcome.down = now.down - self.down;
            outcome.full_handshakes = now.handshakes.0 - self.handshakes.0;
            outcome.resumed_handshakes = now.handshakes.1 - self.handshakes.1;
        });
    }
}

async fn next<T: serde::de::DeserializeOwned>(orders: &mut Lines<BufReader<Stdin>>) -> Result<Option<T>> {
    let Some(line) = orders.next_line().await? else { return Ok(None) };
    serde_json::from_str(&line).context("a worker is started by `doorbell load` only").map(Some)
}

async fn say(news: &News) -> Result<()> {
    let mut line = serde_json::to_vec(news)?;
    line.push(b'\n');
    let mut out = tokio::io::stdout();
    out.write_all(&line).await?;
    out.flush().await?;
    Ok(())
}

/// Raises this process's limit of open files as far as it may; too low a one is an error now and not in the middle.
fn allow_open_files(job: &Job) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let needed = (job.agents + job.senders) as u64 + OTHER_FILES;
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    ensure!(
        needed <= allowed,
        "a process of the load needs {needed} open files and may have {allowed}: spread it over more with --processes"
    );
    Ok(())
}
