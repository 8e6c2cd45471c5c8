//! `doorbell desktop status`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use doorbell_desktop::control::{Answer, Client, Request, socket};

use super::{places, state_folder};
use crate::output;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Print it as JSON, for a program
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  doorbell desktop status
  doorbell desktop status --json | jq .connection

It shows no contents of messages: the desktop part has none. The exit status is 0 if it runs, otherwise 1.";

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let Some(client) = Client::connect(&socket(&state_folder()?))? else {
        let installed = places().is_ok_and(|places| places.settings().exists());
        if installed {
            bail!(
                "the desktop part is installed and does not run: it starts with the next session; now: \
                 `systemctl --user start doorbell-desktop` or `doorbell desktop run`"
            );
        }
        bail!("no desktop part runs, and none is installed: `doorbell desktop install` does that");
    };
    match client.ask(&Request::Status)? {
        Answer::Status(status) if args.json => output::result(serde_json::to_string_pretty(&status)?)?,
        Answer::Status(status) => output::result(status.to_string().trim_end())?,
        Answer::Error(error) => bail!(error),
        Answer::Added => bail!("the desktop part answers something else than was asked: stop it and start it again"),
    }
    Ok(ExitCode::SUCCESS)
}
