//! What `doorbell desktop run` becomes, and what Chromium starts for the extension of doorbell. It contains what the
//! desktop part needs and nothing else: at rest most of its memory is the pages of its program.

#[path = "../failure.rs"]
mod failure;
#[path = "../log/mod.rs"]
mod log;

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use doorbell_desktop::chromium::serve_extension;
use doorbell_desktop::program::{self, Start};
use tokio::runtime::Builder;

const USAGE: &str = "doorbell-desktop is a part of doorbell, which starts it: use `doorbell desktop run`, or \
`doorbell desktop install`";

fn main() -> ExitCode {
    let done = match &std::env::args_os().skip(1).collect::<Vec<_>>()[..] {
        [verb] if verb == "run" && !io::stdin().is_terminal() => run(),
        [verb, flag, profile, origin] if verb == "native-host" && flag == "--profile" => host(profile, origin),
        _ => Err(anyhow!(USAGE)),
    };
    done.unwrap_or_else(|error| {
        print(&failure::line(&error));
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let start = Start::read(io::stdin().lock())?;
    log::to_stderr(&start.log)?;
    // It rests for days: one thread needs less memory, and wakes up once for each event.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(program::run(start, print)).map_err(|error| anyhow!(error.explained()))
}

fn host(profile: &OsStr, origin: &OsStr) -> Result<ExitCode> {
    serve_extension(Path::new(profile), &origin.to_string_lossy(), io::stdin().lock(), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// A line for the user.
fn print(line: &str) {
    eprintln!("doorbell: {line}");
}
