//! `doorbell desktop native-host`: what Chromium starts for the extension of doorbell.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use doorbell_desktop::chromium::serve_extension;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The profile
    #[arg(long, value_name = "DIR")]
    profile: PathBuf,

    /// The extension, as Chromium names it
    origin: String,
}

const EXAMPLES: &str = "\
Examples:
  doorbell desktop status                what a user looks for";

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    serve_extension(&args.profile, &args.origin, io::stdin().lock(), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
