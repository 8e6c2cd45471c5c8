//! The scenarios: each puts the load's orders in a row, and says what the figures are.

mod backlog;
mod connected;
mod day;
mod figures;
mod idle;
mod latency;
mod offline;
mod storm;

use anyhow::Result;
use clap::ValueEnum;

use super::Options;
use super::bench::Bench;
use super::report::Run;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Agents that are connected and receive nothing: memory
    Idle,
    /// Messages to agents that are connected, as fast as they are answered: throughput, CPU, octets
    Connected,
    /// Messages to agents that come later and fetch them: throughput, CPU
    Offline,
    /// A service that is killed while many messages wait: start-up, first delivery
    Backlog,
    /// Messages at a fixed rate: the time from POST to agent
    Latency,
    /// Everybody comes back at the same time, after a cut and after a restart: TLS handshakes
    Storm,
    /// Agents that come and go, messages of all kinds: whether anything is lost or comes twice
    Day,
}

impl Scenario {
    /// Its word on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Runs it once.
    pub(super) async fn run(self, options: &Options) -> Result<Run> {
        let mut bench = Bench::set_up(options).await?;
        match self {
            Self::Idle => idle::run(&mut bench).await?,
            Self::Connected => connected::run(&mut bench).await?,
            Self::Offline => offline::run(&mut bench).await?,
            Self::Backlog => backlog::run(&mut bench).await?,
            Self::Latency => latency::run(&mut bench).await?,
            Self::Day => day::run(&mut bench).await?,
            Self::Storm => storm::run(&mut bench).await?,
        }
        bench.tear_down().await
    }
}
