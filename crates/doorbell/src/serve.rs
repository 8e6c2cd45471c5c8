//! `doorbell serve`: runs the push service until a signal comes.

use std::future::pending;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use doorbell_service::config::{AdminAddress, Config, DatabaseUrl, Listen, ListenAddress, Settings, TlsSource};
use doorbell_service::{Clock, Service};
use tracing::{info, warn};

use crate::log;
use crate::output;
use crate::service_manager::{self, Given};
use crate::shell::quoted;
use crate::started::Prepared;

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

pub(crate) const PASSWORD_IS_VISIBLE: &str = "the database's password is in the command line, which other users of this \
    machine can read: put it into a file, and give --database-password-file";

const EXAMPLES: &str = "\
Examples:
  doorbell serve                         to try it: https://127.0.0.1:8443
  doorbell serve --domain push.example.org         with a certificate by ACME
  doorbell serve --listen 0.0.0.0:443 --public-url https://push.example.org \\
      --tls-cert fullchain.pem --tls-key privkey.pem
  doorbell serve --listen 127.0.0.1:8080 --plain     without TLS, for tests
  doorbell serve --listen plain:127.0.0.1:8080 --listen mcs:0.0.0.0:5228 \\
      --trust-proxy --public-url https://push.example.org \\
      --tls-cert fullchain.pem --tls-key privkey.pem     behind an HTTP proxy
  doorbell serve --config /etc/doorbell.toml

A setting is read from its flag, else from its environment variable, else from the file, else it has its default. \
The variable is the flag's name after DOORBELL_: --ttl-max-secs is DOORBELL_TTL_MAX_SECS, and ttl_max_secs in the \
file.

SIGTERM and SIGINT stop the service in order; a second signal stops it at once. SIGHUP and `doorbell reload` read the \
file and the certificate again: limits, rates and most other settings change without a restart, and the log names those \
that need one. `doorbell status` shows what the service does. \
systemd may give the sockets (LISTEN_FDS; of several, each is called tls, plain or mcs), and learns when the service \
is ready (NOTIFY_SOCKET).";

pub(crate) async fn run(mut args: Args) -> Result<ExitCode> {
    let sockets = given_sockets(&mut args)?;
    let mut prepared = Prepared::new(args.settings, args.config)?;
    let is_self_signed = matches!(prepared.config.place.tls, TlsSource::SelfSigned);
    ensure!(is_self_signed || !args.new_ca, "--new-ca: this service uses no self-signed CA; start it without --new-ca");
    prepared.config.new_ca = args.new_ca;
    let clock = Clock::system();
    if password_is_visible() {
        warn!("{PASSWORD_IS_VISIBLE}");
    }
    if args.rotate_capability_key {
        Service::rotate_capability_key(&prepared.config, &clock)?;
    }
    let started = prepared.start(sockets, clock).await?;
    if log::is_json() {
        // A collector of JSON lines often reads stdout too.
        info!(origin = started.service().origin().as_str(), "listening");
    } else {
        print_welcome(started.service());
    }
    started.run(pending()).await
}

/// Whether a word of the command line has the password of a database.
pub(crate) fn password_is_visible() -> bool {
    std::env::args_os().any(|word| word.to_str().is_some_and(DatabaseUrl::shows_password))
}

/// The sockets of the service manager, if it gives any. Then the service listens on those and nowhere else, and the
/// settings must fit the addresses that they really have.
fn given_sockets(args: &mut Args) -> Result<Vec<TcpListener>> {
    let given = service_manager::sockets()?;
    if given.is_empty() {
        return Ok(Vec::new());
    }
    // Settings that cannot be used are reported when the service starts.
    let asked = Config::load(args.settings.clone(), args.config.as_deref());
    let is_default = asked.as_ref().is_ok_and(Config::has_default_listen);
    let asked = asked.map(|config| config.place.listen).unwrap_or_default();
    let (mut listen, mut sockets) = (Vec::new(), Vec::new());
    for Given { served, socket } in given {
        let address = socket.local_addr().context("cannot use a socket of the service manager")?;
        // A single socket without a name stands for the single address of the settings.
        let served = served.or_else(|| if let [one] = asked[..] { Some(one.served) } else { None });
        listen.push(ListenAddress { served, address });
        sockets.push(socket);
    }
    let is_given = |asked: &Listen| {
        listen.iter().any(|l| l.address == asked.address && l.served.is_none_or(|served| served == asked.served))
    };
    if !is_default && let Some(asked) = asked.iter().find(|asked| !is_given(asked)) {
        let sockets = listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let asked = ListenAddress { served: Some(asked.served), address: asked.address };
        warn!(%asked, %sockets, "--listen is without effect: the service manager gives the sockets (LISTEN_FDS)");
    }
    args.settings.listen = Some(listen);
    Ok(sockets)
}

/// The URLs, and the two commands to try next.
fn print_welcome(service: &Service) {
    let origin = service.origin();
    output::report(format_args!("listening on {origin}"));
    if service.addresses().len() > 1 {
        for Listen { served, address } in service.addresses() {
            output::report(format_args!("{served:<10} {address}"));
        }
    }
    let ca = ca_flag(service);
    if let Some(file) = service.ca_file() {
        output::report(format_args!(
            "trust      {} (a self-signed CA, created for this state directory)",
            file.display()
        ));
    }
    if let Some(database) = &service.storage().database {
        output::report(format_args!("messages   in PostgreSQL, {database}"));
    }
    output::report(format_args!("subscribe  POST {origin}/subscribe"));
    match service.admin_address() {
        Some(AdminAddress::Tcp(address)) => output::report(format_args!("status     http://{address}/status")),
        Some(AdminAddress::Unix(path)) => {
            let path = quoted(&path.display().to_string());
            output::report(format_args!("status     curl --unix-socket {path} http://localhost/status"));
        }
        None => {}
    }
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
