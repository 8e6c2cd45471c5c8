//! The coordinator's end of the workers: starts them, sends each its share of every order, and adds the results.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::interval;

use crate::error::{Blame, LoadError, Result};
use crate::job::{Job, Order, Outcome, Plan, Progress, Update};
use crate::measure::Process;

/// The arguments with which this program becomes a worker.
pub const WORKER_ARGS: [&str; 2] = ["load", "--worker"];

/// How often the progress is printed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// All workers.
pub(super) struct Workers {
    workers: Vec<Worker>,
}

struct Worker {
    child: Child,
    orders: ChildStdin,
    updates: Lines<BufReader<ChildStdout>>,
    progress: Cell<Progress>,
}

impl Workers {
    /// Starts `processes` workers which share the agents and senders of `job`.
    pub(super) async fn start(processes: usize, job: &Job) -> Result<Self> {
        let mut workers = Vec::new();
        for number in 0..processes {
            let mut worker = Worker::start()?;
            let share = Job {
                agents: share(job.agents, number, processes),
                senders: share(job.senders, number, processes).max(1),
                source: source(job.target.address.ip(), number),
                ..job.clone()
            };
            worker.send(&share).await?;
            workers.push(worker);
        }
        Ok(Self { workers })
    }

    /// Sends an order to all and waits until it is done. Prints the progress of `what` meanwhile.
    pub(super) async fn order(&mut self, what: &str, order: &Order) -> Result<Outcome> {
        let number = self.workers.len();
        for (n, worker) in self.workers.iter_mut().enumerate() {
            worker.send(&order.share(n, number)).await?;
        }
        let (done, progresses): (Vec<_>, Vec<_>) = self.workers.iter_mut().map(Worker::outcome).unzip();
        let printed = async {
            let mut ticks = interval(PROGRESS_INTERVAL);
            ticks.tick().await;
            let mut before = Progress::default();
            loop {
                ticks.tick().await;
                let mut now = Progress::default();
                progresses.iter().for_each(|progress| now.add(progress.get()));
                eprintln!("load: {what}: {}", now.words(before));
                before = now;
            }
        };
        let outcomes = tokio::select! {
            outcomes = try_join_all(done) => outcomes?,
            () = printed => Vec::new(),
        };
        let mut all = Outcome::default();
        outcomes.into_iter().for_each(|outcome| all.add(outcome));
        Ok(all)
    }

    /// How many workers there are.
    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Seconds that the workers have run on cores so far.
    pub(super) fn cpu(&self) -> Result<f64> {
        let pids = self.workers.iter().filter_map(|worker| worker.child.id());
        pids.map(|pid| Process::of(pid).used().map(|used| used.cpu)).sum()
    }
}

impl Worker {
    fn start() -> Result<Self> {
        let program = std::env::current_exe().blame_generator("cannot find this program to start it again")?;
        let mut command = Command::new(program);
        command.args(WORKER_ARGS).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().blame_generator("cannot start a worker")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, updates) = pipes.expect("both ends of the worker are pipes");
        Ok(Self { child, orders, updates: BufReader::new(updates).lines(), progress: Cell::default() })
    }

    async fn send(&mut self, what: &impl serde::Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what).blame_generator("cannot write an order")?;
        line.push(b'\n');
        self.orders.write_all(&line).await.blame_generator("a worker has stopped")?;
        self.orders.flush().await.blame_generator("a worker has stopped")
    }

    /// Reads updates until the order is done; the caller shows the progress meanwhile.
    fn outcome(&mut self) -> (impl Future<Output = Result<Outcome>>, &Cell<Progress>) {
        let Self { updates, progress, .. } = self;
        let progress: &Cell<Progress> = progress;
        let done = async move {
            while let Some(line) = updates.next_line().await.blame_generator("cannot read from a worker")? {
                match serde_json::from_str(&line).blame_generator("a worker sent an unknown update")? {
                    Update::Progress(now) => progress.set(now),
                    Update::Done(outcome) => return Ok(*outcome),
                    Update::Failed(error) => return Err(error),
                }
            }
            Err(LoadError::Generator("a worker has stopped".to_owned()))
        };
        (done, progress)
    }
}

impl Order {
    /// The share of worker `n` of `number`.
    fn share(&self, n: usize, number: usize) -> Self {
        match self {
            Self::Connect(agents) => Self::Connect(share(*agents, n, number)),
            Self::Send(plan) => Self::Send(plan.share(n, number)),
            Self::Day(plan) => Self::Day(plan.share(n, number)),
            Self::First | Self::Profiles(_) | Self::Leave | Self::Settle => self.clone(),
        }
    }
}

impl Plan {
    fn share(&self, n: usize, number: usize) -> Self {
        let rate = self.rate.map(|rate| rate / number as f64);
        let messages = self.messages.map(|all| all / number as u64 + u64::from((n as u64) < all % number as u64));
        Self { messages, rate, ..self.clone() }
    }
}

impl Progress {
    /// For people, with rates over the time since `before`.
    fn words(self, before: Self) -> String {
        let mut words = format!("{} connected", self.connected);
        if self.accepted > 0 {
            let rate = (self.accepted - before.accepted) / PROGRESS_INTERVAL.as_secs();
            words += &format!(", {} accepted ({rate}/s), {} arrived", self.accepted, self.arrived);
        }
        words
    }
}

/// The share of worker `n` of `number` in `all`: the shares add up to it.
fn share(all: usize, n: usize, number: usize) -> usize {
    all / number + usize::from(n < all % number)
}

/// An address of this machine for worker `number`, if the service at `target` is on it too: every pair of addresses has
/// its own ports.
fn source(target: IpAddr, number: usize) -> Option<IpAddr> {
    let last = u8::try_from(number + 2).ok().filter(|_| target.is_loopback() && target.is_ipv4())?;
    Some(Ipv4Addr::new(127, 0, 1, last).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (all, number) in [(10, 3), (2, 4), (0, 1), (1000, 7)] {
            let shares: Vec<usize> = (0..number).map(|n| share(all, n, number)).collect();
            assert_eq!(shares.iter().sum::<usize>(), all);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
    }

    #[test]
    fn each_worker_has_an_address_of_its_own_which_is_not_the_services() {
        let own = Ipv4Addr::LOCALHOST.into();
        assert_eq!(source(own, 0), Some(Ipv4Addr::new(127, 0, 1, 2).into()));
        assert_eq!(source(own, 1), Some(Ipv4Addr::new(127, 0, 1, 3).into()));
        assert_eq!(source(own, 300), None);
        assert_eq!(source(Ipv4Addr::new(192, 0, 2, 1).into(), 0), None);
        assert_eq!(source(std::net::Ipv6Addr::LOCALHOST.into(), 0), None);
    }
}
