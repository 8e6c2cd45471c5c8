//! The log on stderr, of both programs.

use std::io::IsTerminal;

use anyhow::{Result, bail};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::prelude::*;

/// Crates that write what clients send into their debug lines: h2 malformed paths and the text of a GOAWAY, tungstenite
/// whole messages. Those are secrets here (invariant 8), so no --log filter brings these lines back.
const VERBOSE: [&str; 3] = ["h2", "tungstenite", "tokio_tungstenite"];

/// Logs what `filter` lets through from now on.
pub(crate) fn to_stderr(filter: &str) -> Result<()> {
    let filter = parse(filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines.with_filter(filter_fn(keeps_secrets))).init();
    Ok(())
}

/// A level for everything, and levels for parts of the program: `warn,doorbell_service=debug`. Without any, as where a
/// variable of the environment is empty, what `info` lets through.
fn parse(filter: &str) -> Result<Targets> {
    let directives: Vec<&str> = filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    for directive in &directives {
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() {
            bail!(
                "--log {filter}: {level:?} is not a level: use error, warn, info, debug, trace or off, or PART=LEVEL for a \
                 part of the program, with commas between"
            );
        }
    }
    if directives.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::INFO));
    }
    directives.join(",").parse().map_err(|error| anyhow::anyhow!("--log {filter}: {error}"))
}

fn keeps_secrets(line: &tracing::Metadata<'_>) -> bool {
    let is_verbose = VERBOSE.iter().any(|name| line.target().starts_with(name));
    !is_verbose || *line.level() <= tracing::Level::INFO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels_and_anything_else_is_refused() {
        for filter in ["info", "off", "WARN", "warn,doorbell_service=debug", "warn, h2=off", "", "info,"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["loud", "doorbell_service", "doorbell_service=loud", "info,loud"] {
            assert!(parse(filter).unwrap_err().to_string().contains("is not a level"), "{filter}");
        }
    }
}
