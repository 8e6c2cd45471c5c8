//! `doorbell reload`, and what the service does at it and at SIGHUP.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use doorbell_service::Service;
use doorbell_service::config::{Changes, Config, ConfigError, LogFormat, Settings};
use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::state_dir::Of;
use super::{Problem, Running, Verb};
use crate::{failure, log, open_files, output, service_manager};

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    of: Of,
}

const EXAMPLES: &str = "\
Examples:
  doorbell reload
  doorbell reload --state-dir /var/lib/doorbell
  doorbell reload --config /etc/doorbell.toml

The service reads its configuration file and its certificate again, as at SIGHUP. Flags and environment variables of \
its start still win over the file. The exit status is 0 if the configuration was taken over, otherwise 1: then no \
setting has changed.";

pub(super) const VERB: Verb = Verb { name: "reload", run: |running| perform(running).boxed() };

/// Asks the running service to reload, and prints what it did.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let client = match args.of.connect()? {
        Ok(client) => client,
        Err(absent) => bail!("nothing is reloaded: {}", absent.text),
    };
    let result = client.ask(VERB.name).context("nothing has changed")?;
    let file = result["file"].as_str().map(str::to_owned);
    let changes: Changes = serde_json::from_value(result).context("the service is another version: restart it")?;
    output::result(summary(&changes, file.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(Changes { changed, needs_restart }: &Changes, file: Option<&str>) -> String {
    let mut lines = vec![match (&changed[..], file) {
        ([], _) if !needs_restart.is_empty() => "reloaded: nothing changes before a restart".to_owned(),
        ([], Some(file)) => format!("reloaded: no setting has changed in {file}"),
        ([], None) => "reloaded: no setting can change, because the service was started without --config".to_owned(),
        (names, _) => format!("reloaded: {}", names.join(", ")),
    }];
    if !needs_restart.is_empty() {
        lines.push(format!("needs a restart: {}", needs_restart.join(", ")));
    }
    lines.push("the certificate is looked at again".to_owned());
    lines.join("\n")
}

async fn perform(running: Arc<Running>) -> Result<serde_json::Value, Problem> {
    match running.reload().await {
        Ok(Changes { changed, needs_restart }) => {
            Ok(json!({ "changed": changed, "needs_restart": needs_restart, "file": running.reloader.file }))
        }
        Err(error) => Err(Problem::new(
            failure::line(&error),
            "the certificate was looked at again; correct the configuration and reload once more",
        )),
    }
}

/// Reads the configuration again.
pub(crate) struct Reloader {
    /// Flags and environment variables.
    given: Settings,
    /// The configuration file, if there is one.
    file: Option<PathBuf>,
    /// One reload at a time. It holds the log's filter that is in force.
    filter: Mutex<String>,
}

impl Reloader {
    /// It reads `file` under the settings that the start gave. `filter` is the log's at the start.
    pub(crate) fn new(given: Settings, file: Option<PathBuf>, filter: String) -> Self {
        Self { given, file, filter: Mutex::new(filter) }
    }

    /// On a thread of its own: the file may be on a disk that does not answer.
    async fn load(&self) -> Result<Config, ConfigError> {
        let (given, file) = (self.given.clone(), self.file.clone());
        match spawn_blocking(move || Config::load(given, file.as_deref()).map(open_files::fitted)).await {
            Ok(loaded) => loaded,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

impl Running {
    /// Takes over what can change while the service runs, and reports it to the log and the service manager. A
    /// configuration that cannot be used changes nothing; the certificate is looked at in any case.
    pub(crate) async fn reload(&self) -> Result<Changes> {
        let mut filter = self.reloader.filter.lock().await;
        service_manager::reloading();
        let done = match self.reloader.load().await {
            Ok(config) => apply(&self.service, &config, &mut filter),
            Err(error) => {
                self.service.reload_certificate();
                Err(error.into())
            }
        };
        match &done {
            Ok(changes) => report(changes),
            Err(error) => {
                // An error of TOML shows its line of the file.
                let error = failure::line(error).lines().map(str::trim).collect::<Vec<_>>().join(" ");
                error!("reload: {error}; no setting has changed, and the certificate is looked at again");
            }
        }
        service_manager::ready(self.service.origin().as_str());
        done
    }
}

/// All or nothing: the filter is the last thing that may be wrong, and the first that changes.
fn apply(service: &Service, config: &Config, filter: &mut String) -> Result<Changes> {
    if let Err(error) = log::set_filter(&config.log.filter) {
        service.reload_certificate();
        return Err(error);
    }
    let changes = service.reload(config).inspect_err(|_| {
        log::set_filter(filter).expect("it was in force before");
    })?;
    filter.clone_from(&config.log.filter);
    log::set_json(config.log.format == LogFormat::Json);
    Ok(changes)
}

fn report(Changes { changed, needs_restart }: &Changes) {
    match &changed[..] {
        [] => info!("reloaded: no setting has changed; the certificate is looked at again"),
        names => info!("reloaded: {}; the certificate is looked at again", names.join(", ")),
    }
    if !needs_restart.is_empty() {
        warn!("needs a restart: {}", needs_restart.join(", "));
    }
}
