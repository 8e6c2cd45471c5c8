//! `doorbell serve`: runs the push service until a signal comes.

use std::io::{IsTerminal, stdin};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use doorbell_service::config::{Config, ConfigError, Settings, TlsSource};
use doorbell_service::{Clock, Failed, Service};
use tokio::signal::unix::{self, SignalKind};
use tracing::{error, info, warn};

use crate::open_files;
use crate::output;
use crate::service_manager::{self, ServiceManager};
use crate::shell::quoted;
use crate::signals::Signals;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// A TOML file with the same settings, under the flags' names with underscores: `ttl_max_secs = 3600`
    #[arg(long, env = "DOORBELL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Seal URLs with a new key from now on; the existing URLs stay valid
    #[arg(long)]
    rotate_capability_key: bool,

    /// Replace the self-signed CA by one that may sign for this service only; the old one is kept as ca.pem.1 and ca.key.1,
    /// and clients must trust the new ca.pem. Give it once
    #[arg(long)]
    new_ca: bool,

    #[command(flatten)]
    settings: Settings,
}

const EXAMPLES: &str = "\
Examples:
  doorbell serve                         to try it: https://127.0.0.1:8443
  doorbell serve --domain push.example.org         with a certificate by ACME
  doorbell serve --listen 0.0.0.0:443 --public-url https://push.example.org \\
      --tls-cert fullchain.pem --tls-key privkey.pem
  doorbell serve --listen 127.0.0.1:8080 --plain     without TLS, for tests
  doorbell serve --config /etc/doorbell.toml

A setting is read from its flag, else from its environment variable, else from the file, else it has its default. \
The variable is the flag's name after DOORBELL_: --ttl-max-secs is DOORBELL_TTL_MAX_SECS, and ttl_max_secs in the \
file.

SIGTERM and SIGINT stop the service in order; a second signal stops it at once. SIGHUP reads the certificate and \
the settings of Firefox's protocol again. \
systemd may give the socket (LISTEN_FDS), and learns when the service is ready (NOTIFY_SOCKET).";

pub(crate) async fn run(mut args: Args) -> Result<ExitCode> {
    let socket = service_manager::socket()?;
    if let Some(socket) = &socket {
        let address = socket.local_addr().context("cannot use the socket of the service manager")?;
        warn_of_another_address(&args, address);
        // The settings must fit the address on which it really listens.
        args.settings.listen = Some(address);
    }
    let load = || Config::load(args.settings.clone(), args.config.as_deref()).map(open_files::fitted);
    let mut config = load()?;
    let is_self_signed = matches!(config.place.tls, TlsSource::SelfSigned);
    ensure!(is_self_signed || !args.new_ca, "--new-ca: this service uses no self-signed CA; start it without --new-ca");
    config.new_ca = args.new_ca;
    let mut signals = Signals::new()?;
    let mut hangups = unix::signal(SignalKind::hangup()).context("cannot listen for signals")?;
    let has_terminal = stdin().is_terminal();
    let clock = Clock::system();
    if args.rotate_capability_key {
        Service::rotate_capability_key(&config, &clock)?;
    }
    let service = Service::start_on(socket, config, clock).await?;
    print_welcome(&service);
    let mut manager = ServiceManager::new();
    manager.ready(service.origin().as_str());
    loop {
        tokio::select! {
            signal = signals.next() => {
                info!("{signal}: draining");
                break;
            }
            _ = hangups.recv() => {
                if has_terminal && !stdin().is_terminal() {
                    info!("the terminal was closed: draining");
                    break;
                }
                manager.reloading();
                reload(&service, load());
                manager.ready(service.origin().as_str());
            }
            failure = service.failed() => {
                // No message in progress may be answered as accepted now; the next start reads what is on the disk.
                if matches!(failure, Failed::Panicked) {
                    error!(%failure, "stopping");
                    return Ok(ExitCode::FAILURE);
                }
                error!(
                    %failure,
                    "stopping: look at the disk of the state directory (`dmesg`, `findmnt`), which may have failed or be \
                     read-only, then start the service again: all that it accepted is there"
                );
                return Ok(ExitCode::FAILURE);
            }
            () = manager.watched() => {}
        }
    }
    manager.stopping();
    tokio::select! {
        stopped = service.stop() => stopped?,
        signal = signals.next() => {
            warn!("{signal} again: stopping at once");
            return Ok(ExitCode::FAILURE);
        }
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Warns if an address is configured on which the service does not listen, as it has a socket.
fn warn_of_another_address(args: &Args, socket: SocketAddr) {
    let config = Config::load(args.settings.clone(), args.config.as_deref());
    // Settings that cannot be used are reported when the service starts.
    let Ok(asked) = config.map(|config| config.place.listen) else { return };
    let usual = Config::from_settings(Settings { listen: None, ..args.settings.clone() });
    let is_default = args.settings.listen.is_none() && usual.is_ok_and(|usual| usual.place.listen == asked);
    if asked != socket && !is_default {
        warn!(%asked, %socket, "--listen is without effect: the service manager gives a socket (LISTEN_FDS)");
    }
}

/// Applies what can change while the service runs.
fn reload(service: &Service, config: Result<Config, ConfigError>) {
    match config {
        Ok(config) => {
            info!(
                "SIGHUP: the certificate and Firefox's settings are read again; other settings change with a restart"
            );
            service.reload(&config);
        }
        Err(error) => {
            error!(%error, "SIGHUP: the certificate is read again; the configuration cannot be used, so no setting changes");
            service.reload_certificate();
        }
    }
}

/// The URLs, and the two commands to try next.
fn print_welcome(service: &Service) {
    let origin = service.origin();
    output::report(format_args!("listening on {origin}"));
    let ca = ca_flag(service);
    if let Some(file) = service.ca_file() {
        output::report(format_args!(
            "trust      {} (a self-signed CA, created for this state directory)",
            file.display()
        ));
    }
    output::report(format_args!("subscribe  POST {origin}/subscribe"));
    output::report("");
    let doorbell = own_name();
    if origin.as_str().starts_with("http://") {
        output::report("Without TLS only Firefox receives; the other commands need https (start without --plain):");
        output::report(format_args!("  {doorbell} firefox {origin}"));
        return;
    }
    output::report("Try it, each in a terminal of its own:");
    output::report(format_args!("  {doorbell} listen {origin}{ca} --subscription sub.json"));
    output::report(format_args!("  {doorbell} send{ca} sub.json 'Hello, it is me'"));
    output::report("");
    output::report("Or with your own browser, and any web page that uses push:");
    output::report(format_args!("  {doorbell} firefox {origin}{ca}"));
    output::report(format_args!("  {doorbell} chromium {origin}{ca}"));
}

/// ` --ca FILE` with the self-signed CA; nothing if the service has a certificate of its own.
pub(crate) fn ca_flag(service: &Service) -> String {
    match service.ca_file() {
        Some(file) => format!(" --ca {}", quoted(&file.display().to_string())),
        None => String::new(),
    }
}

/// How this program was started: also right when it is not on the PATH.
pub(crate) fn own_name() -> String {
    std::env::args().next().map_or_else(|| "doorbell".to_owned(), |word| quoted(&word))
}
