//! `doorbell reload`, and what the service does at it and at SIGHUP.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use doorbell_service::config::{Changes, Config, LogFormat, Settings};
use doorbell_service::{CertificateError, Service};
use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
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
its start still win over the file. The exit status is 0 if the configuration was taken over and the certificate \
can be used, otherwise 1. With a configuration that cannot be used no setting has changed.";

pub(super) const VERB: Verb = Verb { name: "reload", run: |running| perform(running).boxed() };

/// Asks the running service to reload, and prints what it did.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let client = match args.of.connect()? {
        Ok(client) => client,
        Err(absent) => bail!("nothing is reloaded: {}", absent.text),
    };
    let result = client.ask(VERB.name).context("nothing has changed")?;
    let text = |name: &str| result[name].as_str().map(str::to_owned);
    let (file, certificate) = (text("file"), text("certificate_problem"));
    let changes: Changes = serde_json::from_value(result).context("the service is another version: restart it")?;
    output::result(summary(&changes, file.as_deref()))?;
    match certificate {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => bail!("the new certificate cannot be used, and the old one stays: {why}"),
    }
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
        Ok(Reloaded { changes: Changes { changed, needs_restart }, certificate }) => Ok(json!({
            "changed": changed,
            "needs_restart": needs_restart,
            "file": running.reloader.file,
            "certificate_problem": certificate.err().map(|error| error.to_string()),
        })),
        Err(NotReloaded::Stopping) => Err(Problem::new(
            "the service is stopping: not reloaded",
            "it reads its configuration when it is started again (`doorbell status` shows when it has stopped)",
        )),
        Err(NotReloaded::Unusable(error)) => Err(Problem::new(
            failure::line(&error),
            "the certificate was looked at again; correct the configuration and reload once more",
        )),
    }
}

/// What a reload did.
pub(crate) struct Reloaded {
    changes: Changes,
    /// Why a new certificate is not in use. It is in the log too.
    certificate: Result<(), CertificateError>,
}

/// Why nothing was reloaded.
pub(crate) enum NotReloaded {
    /// The service drains.
    Stopping,
    /// The configuration cannot be used.
    Unusable(anyhow::Error),
}

/// Reads the configuration again.
pub(crate) struct Reloader {
    /// Flags and environment variables.
    given: Settings,
    /// The configuration file, if there is one.
    file: Option<PathBuf>,
    /// One reload at a time.
    state: Mutex<State>,
}

struct State {
    /// The log's filter that is in force.
    filter: String,
    /// The configuration that is being read. It stays here if the client that asked has left.
    reading: Option<JoinHandle<Result<Config>>>,
}

impl Reloader {
    /// It reads `file` under the settings that the start gave. `filter` is the log's at the start.
    pub(crate) fn new(given: Settings, file: Option<PathBuf>, filter: String) -> Self {
        Self { given, file, state: Mutex::new(State { filter, reading: None }) }
    }

    /// On a thread of its own: the file may be on a disk that does not answer. One thread at most waits for it.
    async fn load(&self, state: &mut State) -> Result<Config> {
        if let Some(earlier) = &mut state.reading {
            // What it read may have changed since. It may have panicked, which is logged.
            earlier.await.ok();
        }
        let (given, file) = (self.given.clone(), self.file.clone());
        let read = move || open_files::fitted(Config::load(given, file.as_deref())?);
        let loaded = state.reading.insert(spawn_blocking(read)).await;
        state.reading = None;
        match loaded {
            Ok(loaded) => loaded,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// While it exists, the service manager waits for the end of the reload.
struct Reloading<'a>(&'a Service);

impl<'a> Reloading<'a> {
    fn begin(service: &'a Service) -> Self {
        service_manager::reloading();
        Self(service)
    }
}

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        // A service that stops is not ready again.
        if !self.0.is_draining() {
            service_manager::ready(self.0.origin().as_str());
        }
    }
}

impl Running {
    /// Takes over what can change while the service runs, and reports it to the log and the service manager. A
    /// configuration that cannot be used changes nothing; the certificate is looked at in any case.
    pub(crate) async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        let state = &mut *self.reloader.state.lock().await;
        self.refuse_while_draining()?;
        let _reloading = Reloading::begin(&self.service);
        let loaded = self.reloader.load(state).await;
        // It may have begun to drain meanwhile.
        self.refuse_while_draining()?;
        let done = loaded.and_then(|config| apply(&self.service, &config, &mut state.filter));
        match &done {
            Ok(changes) => report(changes),
            Err(error) => {
                // An error of TOML shows its line of the file.
                let error = failure::line(error).lines().map(str::trim).collect::<Vec<_>>().join(" ");
                error!("reload: {error}; no setting has changed, and the certificate is looked at again");
            }
        }
        let certificate = self.service.reload_certificate().await;
        // While it drains nothing is renewed.
        if let Err(error) = &certificate
            && !self.service.is_draining()
        {
            error!(%error, "reload: the new certificate cannot be used, and the old one stays");
        }
        let changes = done.map_err(NotReloaded::Unusable)?;
        Ok(Reloaded { changes, certificate })
    }

    fn refuse_while_draining(&self) -> Result<(), NotReloaded> {
        if self.service.is_draining() { Err(NotReloaded::Stopping) } else { Ok(()) }
    }
}

/// All or nothing: the filter is the last thing that may be wrong, and the first that changes.
fn apply(service: &Service, config: &Config, filter: &mut String) -> Result<Changes> {
    log::set_filter(&config.log.filter)?;
    let changes = service.reload(config).inspect_err(|_| {
        log::set_filter(filter).expect("it was in force before");
    })?;
    filter.clone_from(&config.log.filter);
    log::set_json(config.log.format == LogFormat::Json);
    Ok(changes)
}

fn report(Changes { changed, needs_restart }: &Changes) {
    match &changed[..] {
        [] if !needs_restart.is_empty() => {
            info!("reloaded: nothing changes before a restart; the certificate is looked at again");
        }
        [] => info!("reloaded: no setting has changed; the certificate is looked at again"),
        names => info!("reloaded: {}; the certificate is looked at again", names.join(", ")),
    }
    if !needs_restart.is_empty() {
        warn!("needs a restart: {}", needs_restart.join(", "));
    }
}
