//! One run of a scenario: the service, the workers, and what each order cost.

use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::error::Result;
use crate::job::{Job, Mix, Order, Outcome, Plan};
use crate::ledger::Verdict;
use crate::measure::{Process, Server, Used};
use crate::options::Options;
use crate::report::Findings;
use crate::service::{Commits, Service};
use crate::workers::Workers;

/// A thread that runs more than this share of the time is the bottleneck.
const BUSY_MAX: f64 = 0.85;
/// A thread that waits for a core for more than this share of the time shares it.
const WAITING_MAX: f64 = 0.2;

/// Messages that were sent later than this after they were due measure the load as much as the service.
const SLIP_MAX_MS: f64 = 1.0;

/// One run.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    pub(super) workers: Workers,
    /// The service, if it is our own.
    pub(super) own: Option<Service>,
    /// Its process, if it is on this machine and known.
    pub(super) process: Option<Process>,
    /// The servers of its database that are on this machine and known.
    servers: Vec<Server>,
    pub(super) findings: Findings,
}

/// The result and the cost of an order.
pub(super) struct Measured {
    pub(super) outcome: Outcome,
    /// What the service used for it, if its process is known.
    pub(super) service: Option<Used>,
    /// Seconds that the servers of its database ran on cores, if they are known.
    pub(super) database_cpu: Option<f64>,
    /// Seconds that the generator ran on cores.
    pub(super) load_cpu: f64,
}

impl Measured {
    /// How long it took, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        clock::seconds(self.outcome.wall)
    }
}

impl<'a> Run<'a> {
    /// Starts the workers, and a service unless there is one.
    pub(super) async fn set_up(options: &'a Options) -> Result<Self> {
        let (own, target, pid) = match &options.target {
            Some(target) => (None, target.clone(), options.pid),
            None => {
                let own = Service::start(options.state.as_deref(), options.database.as_deref(), options.tls).await?;
                let (target, pid) = (own.target.clone(), own.pid()?);
                (Some(own), target, Some(pid))
            }
        };
        let job = Job {
            target,
            source: None,
            door: options.door,
            agents: options.agents,
            senders: options.senders,
            http1: options.http1,
            size: options.size,
        };
        let workers = Workers::start(options.processes, &job).await?;
        let servers = options.database_pids.iter().copied().map(Server::of).collect();
        let process = pid.map(Process::of);
        Ok(Self { options, workers, own, process, servers, findings: Findings::default() })
    }

    /// Runs an order in the workers and measures its cost.
    pub(super) async fn order(&mut self, what: &str, order: Order) -> Result<Measured> {
        let before = (self.used()?, self.workers.cpu()?, self.database_cpu()?);
        let outcome = self.workers.order(what, &order).await?;
        let after = (self.used()?, self.workers.cpu()?, self.database_cpu()?);
        let service = after.0.zip(before.0).map(|(after, before)| after.since(before));
        self.remark(what, &outcome);
        let database_cpu = after.2.zip(before.2).map(|(after, before)| after - before);
        Ok(Measured { outcome, service, database_cpu, load_cpu: after.1 - before.1 })
    }

    /// Connects all agents.
    pub(super) async fn connect(&mut self, what: &str) -> Result<Measured> {
        self.order(what, Order::Connect(self.options.agents)).await
    }

    /// Starts the service again, and disconnects all agents. `false`, and a remark, for one that the load has not started.
    pub(super) async fn restart(&mut self) -> Result<bool> {
        let Some(own) = &mut self.own else {
            self.findings.remarks.push("a service that the load did not start is not restarted".to_owned());
            return Ok(false);
        };
        own.stop().await?;
        own.start_again().await?;
        self.process = Some(Process::of(own.pid()?));
        // An agent that has not noticed yet that the service stopped notices it now.
        self.workers.order("the service starts again", &Order::Leave).await?;
        Ok(true)
    }

    /// Sends, and waits until everything that was accepted has arrived: what the two cost.
    pub(super) async fn deliver(&mut self, what: &str, plan: Plan) -> Result<(Measured, Measured)> {
        let sending = self.order(what, Order::Send(plan)).await?;
        let settling = self.order(what, Order::Settle).await?;
        Ok((sending, settling))
    }

    /// Where the service keeps its state, if that is known.
    pub(super) fn state(&self) -> Option<&Path> {
        self.own.as_ref().map(Service::state).or(self.options.state.as_deref())
    }

    /// Sends every agent one message, so that tokens are verified and nothing is new when the measurement begins.
    pub(super) async fn warm_up(&mut self) -> Result<()> {
        let plan = Plan { messages: Some(self.options.agents as u64), seconds: None, rate: None, mix: Mix::Plain };
        self.deliver("warming up", plan).await.map(drop)
    }

    /// Notes what went wrong with an order, and what no service may do.
    fn remark(&mut self, what: &str, outcome: &Outcome) {
        if let (true, Some(why)) = (outcome.broken > 0, &outcome.broken_why) {
            self.findings.remarks.push(format!("{what}: {} connections of agents ended ({why})", outcome.broken));
        }
        if let (true, Some(why)) = (outcome.retries > 0, &outcome.retry_why) {
            self.findings
                .remarks
                .push(format!("{what}: {} connections had to be tried again ({why})", outcome.retries));
        }
        for (status, count) in &outcome.refused {
            self.findings.remarks.push(format!("{what}: {count} messages were answered {status}"));
        }
        if outcome.again > 0 {
            let again = outcome.again;
            self.findings
                .remarks
                .push(format!("{what}: {again} messages came again on a later connection, which may be"));
        }
        let Verdict { missing, late, .. } = outcome.verdict;
        if missing > 0 {
            self.findings.faults.push(format!("{what}: {missing} accepted messages did not arrive"));
        }
        if late > 0 {
            self.findings.faults.push(format!("{what}: {late} messages arrived after their TTL had ended"));
        }
        if outcome.twice > 0 {
            self.findings.faults.push(format!("{what}: {} messages came twice on one connection", outcome.twice));
        }
    }

    /// Waits until the service's memory stays the same for a second: its size, if its process is known.
    pub(super) async fn settled_memory(&self) -> Result<Option<u64>> {
        let Some(process) = self.process else { return Ok(None) };
        let mut before = process.memory()?;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = process.memory()?;
            if now.abs_diff(before) <= before / 1000 {
                return Ok(Some(now));
            }
            before = now;
        }
        Ok(Some(before))
    }

    /// Adds figures and remarks on the generator itself.
    pub(super) fn judge_load(&mut self, what: &str, measured: &Measured) {
        let outcome = &measured.outcome;
        let time = outcome.wall.max(1) as f64 * self.workers.len() as f64;
        let (busy, waiting) = (outcome.ran as f64 / time, outcome.waited as f64 / time);
        self.findings.figure("load_busy_percent", "% of the time in which the load's threads ran", busy * 100.0);
        self.findings.figure("load_waiting_percent", "% of the time in which they waited for a core", waiting * 100.0);
        if outcome.slips.count() > 0 {
            let slip = outcome.slips.percentile_ms(99.0);
            self.findings.figure(
                "slip_p99_ms",
                "ms after they were due that messages were sent, 99th percentile",
                slip,
            );
            if slip > SLIP_MAX_MS {
                self.findings.remarks.push(format!(
                    "{what}: the load itself was late: one in a hundred messages was sent {slip:.1} ms and more after it \
                     was due, which is part of its time"
                ));
            }
        }
        if busy > BUSY_MAX {
            self.findings.remarks.push(format!(
                "{what}: the load itself was the bottleneck: its threads ran {:.0} % of the time (more --processes)",
                busy * 100.0
            ));
        } else if waiting > WAITING_MAX {
            self.findings.remarks.push(format!(
                "{what}: service and load shared the cores: the load's threads waited {:.0} % of the time for one, \
                 so that rates are those of both together",
                waiting * 100.0
            ));
        }
    }

    /// Stops everything: the results.
    pub(super) async fn tear_down(mut self) -> Result<Findings> {
        drop(self.workers);
        if let Some(own) = &mut self.own {
            let Commits { commits, writes } = own.stop().await?;
            let (commits, writes) = (commits as f64, writes as f64);
            let words = "commits of the service's store since it was started, each a sync of its log";
            self.findings.figure("commits", words, commits);
            let words = "changes in one of them: messages kept, erased, subscriptions made";
            self.findings.figure("writes_per_commit", words, writes / commits.max(1.0));
        }
        Ok(self.findings)
    }

    /// CPU-seconds of the servers of its database, if they are known.
    fn database_cpu(&self) -> Result<Option<f64>> {
        if self.servers.is_empty() {
            return Ok(None);
        }
        self.servers.iter().copied().map(Server::cpu).sum::<Result<f64>>().map(Some)
    }

    /// What the service has used so far, if its process is known.
    pub(super) fn used(&self) -> Result<Option<Used>> {
        self.process.map(Process::used).transpose()
    }
}
