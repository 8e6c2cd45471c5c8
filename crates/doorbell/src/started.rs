//! The push service of this process, from its settings to its end. `doorbell serve` and `doorbell demo` share it.

use std::convert::Infallible;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use doorbell_service::config::{Config, LogFormat, Settings};
use doorbell_service::{Clock, Failed, Service};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::control::reload::Reloader;
use crate::control::{self, Running};
use crate::log;
use crate::open_files;
use crate::service_manager::{self, Watchdog};
use crate::signals::{Hangup, Hangups, Signals};

/// Nothing is started yet: the configuration is read, the log is as it says, and no signal ends the process.
pub(crate) struct Prepared {
    /// What the service will be.
    pub(crate) config: Config,
    given: Settings,
    file: Option<PathBuf>,
    signals: Signals,
    hangups: Hangups,
}

/// A running service with its control socket.
pub(crate) struct Started {
    running: Arc<Running>,
    control: Option<control::Server>,
    signals: Signals,
    hangups: Hangups,
}

impl Prepared {
    /// Reads `file`, if there is one, under the settings that are `given` by flags and the environment. A reload reads both
    /// again.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub(crate) fn new(given: Settings, file: Option<PathBuf>) -> Result<Self> {
        let config = open_files::fitted(Config::load(given.clone(), file.as_deref())?)?;
        log::set_filter(&config.log.filter)?;
        log::set_json(config.log.format == LogFormat::Json);
        Ok(Self { config, given, file, signals: Signals::new()?, hangups: Hangups::new()? })
    }

    /// Starts the service, on `sockets` that listen already or, without any, at the addresses of the configuration.
    ///
    /// # Errors
    /// The service cannot start. Without its control socket it does, and logs it.
    pub(crate) async fn start(self, sockets: Vec<TcpListener>, clock: Clock) -> Result<Started> {
        let Self { config, given, file, signals, hangups } = self;
        let (state_dir, filter) = (config.state_dir.clone(), config.log.filter.clone());
        let service = Service::start_on(sockets, config, clock.clone()).await?;
        let running = Arc::new(Running { service, reloader: Reloader::new(given, file, filter) });
        let control = control::Server::open(&state_dir, running.clone(), clock).inspect_err(|error| {
            let socket = state_dir.join(control::NAME);
            error!(%error, socket = %socket.display(), "no control socket: `doorbell reload` and `doorbell status` do not work; SIGHUP does");
        });
        Ok(Started { running, control: control.ok(), signals, hangups })
    }
}

impl Started {
    /// The service.
    pub(crate) fn service(&self) -> &Service {
        &self.running.service
    }

    /// The service, for what runs next to it.
    pub(crate) fn shared(&self) -> Arc<Running> {
        self.running.clone()
    }

    /// Serves until a signal comes, then stops in order. `companion` runs next to it, and ends before the service drains.
    ///
    /// # Errors
    /// The store failed while it was closed.
    pub(crate) async fn run(mut self, companion: impl Future<Output = Infallible>) -> Result<ExitCode> {
        service_manager::ready(self.service().origin().as_str());
        match self.serve(companion).await {
            Ok(()) => self.stop().await,
            // No message in progress may be answered as accepted now; the next start reads what is on the disk.
            Err(failure @ Failed::Panicked) => {
                error!(%failure, "stopping");
                Ok(ExitCode::FAILURE)
            }
            Err(failure) if self.service().uses_database() => {
                error!(
                    %failure,
                    "stopping: look for another process on this database, and at the disks of cells, then start the \
                     service again: all that it accepted is there"
                );
                Ok(ExitCode::FAILURE)
            }
            Err(failure) => {
                error!(
                    %failure,
                    "stopping: look at the disk of the state directory (`dmesg`, `findmnt`), which may have failed or be \
                     read-only, then start the service again: all that it accepted is there"
                );
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// Serves and reloads, until a signal asks the service to stop.
    async fn serve(&mut self, companion: impl Future<Output = Infallible>) -> Result<(), Failed> {
        let mut companion = pin!(companion);
        let (mut watchdog, mut reloads) = (Watchdog::new(), JoinSet::new());
        // One reload at a time: signals that come meanwhile cause one more.
        let mut waiting: u64 = 0;
        loop {
            if waiting > 0 && reloads.is_empty() {
                match std::mem::take(&mut waiting) {
                    1 => info!("SIGHUP: reloading"),
                    times => info!(times, "SIGHUP: reloading"),
                }
                let running = self.running.clone();
                // What it did is in the log.
                reloads.spawn(async move { drop(running.reload().await) });
            }
            tokio::select! {
                signal = self.signals.next() => {
                    info!("{signal}: draining");
                    return Ok(());
                }
                hangup = self.hangups.next() => match hangup {
                    Hangup::Reload => waiting += 1,
                    Hangup::TerminalClosed => {
                        info!("the terminal was closed: draining");
                        return Ok(());
                    }
                },
                Some(_) = reloads.join_next() => {}
                failure = self.running.service.failed() => return Err(failure),
                () = watchdog.watched() => {}
                never = &mut companion => match never {},
            }
        }
    }

    /// Finishes what the service has begun. The control socket answers until the store is closed: afterwards its file may
    /// be another service's.
    async fn stop(self) -> Result<ExitCode> {
        let Self { running, control, mut signals, mut hangups } = self;
        service_manager::stopping();
        let mut stopping = pin!(async {
            running.service.drain().await;
            if let Some(control) = control {
                control.close().await;
            }
            running.service.stop().await
        });
        loop {
            tokio::select! {
                stopped = &mut stopping => {
                    stopped?;
                    info!("stopped");
                    return Ok(ExitCode::SUCCESS);
                }
                signal = signals.next() => {
                    warn!("{signal} again: stopping at once");
                    return Ok(ExitCode::FAILURE);
                }
                _ = hangups.next() => warn!("SIGHUP: stopping: not reloaded"),
            }
        }
    }
}
