//! The state directory that a command is about: the flag's, or the configuration's, or the usual one.

use std::path::PathBuf;

use anyhow::{Context, Result};
use doorbell_service::config::{default_state_dir, state_dir_in};

use super::client::{Absence, Client};

/// Which service.
#[derive(clap::Args)]
pub(super) struct Of {
    /// The state directory of the service [default: that of --config, or $XDG_STATE_HOME/doorbell or ~/.local/state/doorbell]
    #[arg(long, env = "DOORBELL_STATE_DIR", hide_env = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// The service's configuration, which may name the state directory
    #[arg(long, env = "DOORBELL_CONFIG", hide_env = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// No service answers.
pub(super) struct Absent {
    /// What is known, and what to do.
    pub(super) text: String,
    /// A process still has the state directory.
    pub(super) is_running: bool,
}

impl Of {
    pub(super) fn path(&self) -> Result<PathBuf> {
        if let Some(given) = &self.state_dir {
            return Ok(given.clone());
        }
        let configured = self.config.as_deref().map(state_dir_in).transpose()?.flatten();
        configured.or_else(default_state_dir).context("there is no home directory: give --state-dir")
    }

    /// Connects to the service, or says that none runs there and what to do.
    pub(super) fn connect(&self) -> Result<Result<Client, Absent>> {
        let path = self.path()?;
        let shown = path.display();
        let is_running = |absence: &Absence| matches!(absence, Absence::NoSocket { .. });
        let text = |absence: &Absence| match absence {
            Absence::NotRunning if !path.is_dir() => format!(
                "no service runs with the state directory {shown}, which does not exist: give the service's own with \
                 --state-dir or --config"
            ),
            Absence::NotRunning => format!(
                "no service runs with the state directory {shown}: start it (`doorbell serve`, `systemctl start doorbell`), \
                 or give another directory with --state-dir"
            ),
            Absence::NoSocket { process } => format!(
                "process {process} uses the state directory {shown}, and has no control socket: it is starting or stopping \
                 (try again), or it is `doorbell demo`, which has none"
            ),
        };
        let connected = Client::connect(&path)?;
        Ok(connected.map_err(|absence| Absent { text: text(&absence), is_running: is_running(&absence) }))
    }
}
