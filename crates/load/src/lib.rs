//! Measures a push service: memory, throughput, latency, and whether a message is lost. `doorbell load` is a thin
//! command around it.
//!
//! The coordinator ([`measure()`]) runs a [`Scenario`] in worker processes ([`work`]), which this crate starts again from
//! the program that calls it: that program must run [`work`] when it is called with [`WORKER_ARGS`], and a push service
//! when it is called with `serve` (unless a [`Target`] is given).

mod agents;
mod body;
mod clock;
mod context;
mod door;
mod error;
mod floor;
mod http1;
mod job;
mod keys;
mod latencies;
mod ledger;
mod measure;
mod net;
mod options;
mod pace;
mod report;
mod run;
mod scenario;
mod sender;
mod service;
mod tickets;
mod websocket;
mod worker;
mod workers;

pub use door::Door;
pub use error::LoadError;
pub use job::Target;
pub use options::{Options, RATES};
pub use report::Report;
pub use scenario::Scenario;
pub use worker::work;
pub use workers::WORKER_ARGS;

/// Runs a scenario `repeat` times, each time from the start, and at least once. Progress is printed on stderr.
pub async fn measure(scenario: Scenario, options: &Options, repeat: usize) -> Result<Report, LoadError> {
    let options = &scenario.options(options);
    let mut runs = Vec::new();
    for _ in 0..repeat.max(1) {
        runs.push(scenario.run(options).await?);
    }
    Ok(Report { scenario: scenario.name(), settings: options.to_json(), runs })
}
