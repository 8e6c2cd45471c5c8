//! The scenarios: each runs the load's orders one after the other, and defines the figures.

mod backlog;
mod connected;
mod day;
mod figures;
mod idle;
mod latency;
mod offline;
mod storm;
mod wake;

use clap::ValueEnum;

use crate::door::Door;
use crate::error::Result;
use crate::options::Options;
use crate::report::Findings;
use crate::run::Run;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Agents that are connected and receive nothing: memory
    Idle,
    /// Messages to agents that are connected, as fast as they are answered: throughput, CPU, bytes
    Connected,
    /// Messages to agents that come later and fetch them: throughput, CPU
    Offline,
    /// A service that is killed while many messages wait: start-up, first delivery
    Backlog,
    /// Messages at a fixed rate: the time from POST to agent
    Latency,
    /// All agents come back at the same time, after a cut and after a restart: TLS handshakes
    Storm,
    /// Machines that hold wake streams for browsers that do not run: memory for each, and for each further profile
    Wake,
    /// Agents that come and go, messages of all kinds: whether anything is lost or comes twice
    Day,
}

impl Scenario {
    /// Its word on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().expect("no scenario is hidden from the command line").get_name().to_owned()
    }

    /// The options with which it runs.
    pub(super) fn options(self, options: &Options) -> Options {
        let door = if self == Self::Wake { Door::Wake } else { options.door };
        Options { door, ..options.clone() }
    }

    /// Runs it once.
    pub(super) async fn run(self, options: &Options) -> Result<Findings> {
        let mut run = Run::set_up(options).await?;
        match self {
            Self::Idle => idle::run(&mut run).await?,
            Self::Connected => connected::run(&mut run).await?,
            Self::Offline => offline::run(&mut run).await?,
            Self::Backlog => backlog::run(&mut run).await?,
            Self::Latency => latency::run(&mut run).await?,
            Self::Day => day::run(&mut run).await?,
            Self::Storm => storm::run(&mut run).await?,
            Self::Wake => wake::run(&mut run).await?,
        }
        run.tear_down().await
    }
}
