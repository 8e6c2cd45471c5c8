//! A worker: a process of the generator, with one thread and its share of the agents and the senders. It reads orders
//! from standard input and answers on standard output.

use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{interval, timeout};

use crate::agents::Agents;
use crate::clock;
use crate::context::Context;
use crate::error::{Blame, LoadError, Result};
use crate::job::{Job, Order, Update};
use crate::measure;
use crate::sender;

/// How often it reports its progress.
const PROGRESS: Duration = Duration::from_millis(250);

/// A service offers a message that was not acknowledged again, but not at once; after this time without any arrival it
/// does not.
const QUIET_MAX: Duration = Duration::from_secs(40);

/// How often it is checked whether messages still arrive.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// How long an agent stays, or stays away, on a day that is short.
const STAY: Duration = Duration::from_secs(10);

/// Files that are open in addition to the connections of agents and senders.
const OTHER_FILES: u64 = 32;

/// Runs a worker of another process's [`measure`](crate::measure()): reads orders from standard input until there are no
/// more. `open_files_max` is how many files this process may have open. A failure is sent to the coordinator, which
/// returns it to its caller: here it is only the exit code.
pub async fn work(open_files_max: u64) -> Result<ExitCode, LoadError> {
    // One thread, so that its state needs no lock, and so that it is visible how busy it is.
    let (done, is_done) = oneshot::channel();
    let thread = thread::Builder::new().name("load".to_owned()).spawn(move || {
        // The receiver is gone only if the process is ending.
        let _ = done.send(work_on_this_thread(open_files_max));
    });
    thread.blame_generator("cannot start a thread")?;
    is_done.await.blame_generator("the worker's thread panicked")?
}

fn work_on_this_thread(open_files_max: u64) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.blame_generator("cannot start a runtime")?;
    LocalSet::new().block_on(&runtime, async {
        let Err(error) = carry_out_all(open_files_max).await else { return Ok(ExitCode::SUCCESS) };
        send(&Update::Failed(error)).await?;
        Ok(ExitCode::FAILURE)
    })
}

async fn carry_out_all(open_files_max: u64) -> Result<()> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let Some(job) = next::<Job>(&mut orders).await? else { return Ok(()) };
    check_open_files(&job, open_files_max)?;
    let context = Rc::new(Context::new(job)?);
    let agents = Rc::new(Agents::new(context.clone()));
    while let Some(order) = next::<Order>(&mut orders).await? {
        let started = Started::now(&context);
        let carried_out = carry_out(&context, &agents, order);
        let progress = async {
            let mut ticks = interval(PROGRESS);
            loop {
                ticks.tick().await;
                send(&Update::Progress(context.progress.get())).await?;
            }
        };
        tokio::select! {
            done = carried_out => done?,
            failed = progress => return failed,
        }
        started.note(&context);
        send(&Update::Progress(context.progress.get())).await?;
        send(&Update::Done(Box::new(context.outcome.take()))).await?;
    }
    Ok(())
}

async fn carry_out(context: &Rc<Context>, agents: &Rc<Agents>, order: Order) -> Result<()> {
    match order {
        Order::Connect(number) => agents.connect(number).await?,
        Order::First => {
            let arrived = context.arrived.notified();
            agents.connect(1).await?;
            if context.ledger.borrow().outstanding() > 0 {
                // If none comes, settling counts what is missing.
                let _ = timeout(QUIET_MAX, arrived).await;
            }
        }
        Order::Profiles(number) => context.have_profiles(number).await,
        Order::Leave => agents.leave(),
        Order::Send(plan) => sender::send(context, agents, &plan).await?,
        Order::Day(plan) => {
            tokio::select! {
                sent = sender::send(context, agents, &plan) => sent?,
                failed = agents.come_and_go(STAY) => failed?,
            }
        }
        Order::Settle => settle(context, agents).await,
    }
    Ok(())
}

/// Waits until every accepted message without an excuse has arrived, or none has arrived for so long that none will.
async fn settle(context: &Context, agents: &Agents) {
    let judge =
        || context.ledger.borrow().judge(clock::now(), |agent, from, until| agents.was_connected(agent, from, until));
    let mut quiet = Duration::ZERO;
    while context.ledger.borrow().outstanding() > 0 {
        let before = context.progress.get().arrived;
        if timeout(CHECK_INTERVAL, context.all_arrived.notified()).await.is_ok() {
            continue;
        }
        quiet = if context.progress.get().arrived == before { quiet + CHECK_INTERVAL } else { Duration::ZERO };
        if quiet >= QUIET_MAX || (!quiet.is_zero() && judge().missing == 0) {
            break;
        }
    }
    context.note(|outcome| outcome.verdict = judge());
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
    fn now(context: &Context) -> Self {
        Self {
            at: clock::now(),
            cpu: clock::thread_cpu(),
            waited: measure::thread_waited(),
            down: context.net.down(),
            handshakes: context.net.handshakes(),
        }
    }

    /// Notes what has been added since.
    fn note(&self, context: &Context) {
        let now = Self::now(context);
        context.note(|outcome| {
            outcome.wall = now.at - self.at;
            outcome.ran = now.cpu - self.cpu;
            outcome.waited = now.waited.saturating_sub(self.waited);
            outcome.down = now.down - self.down;
            outcome.full_handshakes = now.handshakes.0 - self.handshakes.0;
            outcome.resumed_handshakes = now.handshakes.1 - self.handshakes.1;
        });
    }
}

async fn next<T: DeserializeOwned>(orders: &mut Lines<BufReader<Stdin>>) -> Result<Option<T>> {
    let line = orders.next_line().await.blame_generator("cannot read orders")?;
    let Some(line) = line else { return Ok(None) };
    serde_json::from_str(&line).blame_generator("a worker is started by `doorbell load` only").map(Some)
}

async fn send(update: &Update) -> Result<()> {
    let mut line = serde_json::to_vec(update).blame_generator("cannot write an update")?;
    line.push(b'\n');
    let mut out = tokio::io::stdout();
    let written = async {
        out.write_all(&line).await?;
        out.flush().await
    };
    written.await.blame_generator("the coordinator has stopped")
}

/// A limit that is too low is an error now and not in the middle.
fn check_open_files(job: &Job, open_files_max: u64) -> Result<()> {
    let needed = (job.agents + job.senders) as u64 + OTHER_FILES;
    if needed > open_files_max {
        return Err(LoadError::Usage(format!(
            "a process of the load needs {needed} open files and may have {open_files_max}: spread it over more with \
             --processes"
        )));
    }
    Ok(())
}
