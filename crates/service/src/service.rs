//! The composition root: opens the state directory, starts the parts, and stops them in order.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorbell_private_file as private_file;
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Failure, OpenError, Store};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::accept::tls::self_signed::{self, Name, SelfSigned};
use crate::accept::tls::{self, Acme, Certificates, Files, Source, TlsError};
use crate::accept::{Context, Listener, Security};
use crate::capability::{Capabilities, KeyRing, KeyRingError};
use crate::clock::Clock;
use crate::config::{Config, Limits, Origin, TlsSource};
use crate::doors::Doors;
use crate::hub::Hub;
use crate::state_dir::{self, StateDirError};

/// The secrets behind every URL, in the state directory.
const CAPABILITY_KEYS: &str = "capability.keys";

/// A running push service.
pub struct Service {
    address: SocketAddr,
    origin: Origin,
    ca_file: Option<PathBuf>,
    store: Store,
    hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    housekeeper: JoinHandle<()>,
    watcher: JoinHandle<()>,
    /// Renews the certificate, where TLS ends here.
    renewal: Option<JoinHandle<()>>,
    /// Asks it to look for a new certificate now.
    reload: Arc<Notify>,
    doors: Arc<Doors>,
}

/// Why a service cannot continue.
#[derive(Debug, Error)]
pub enum Failed {
    /// The store has failed.
    #[error(transparent)]
    Store(Failure),
    /// A part of it panicked; the store still has its messages.
    #[error("a part of the service panicked: this is a bug, please report it")]
    Panicked,
}

/// Why a service did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used, or others can use it.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The port is not available.
    #[error("cannot listen on {address}: {source}; {}", bind_hint(*address, source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The keys of the capability URLs cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What makes `address` available, or another one.
fn bind_hint(address: SocketAddr, why: &std::io::Error) -> String {
    let port = address.port();
    match why.kind() {
        ErrorKind::AddrInUse => format!(
            "stop the program that listens there (`ss -ltnp 'sport = :{port}'` shows it), or give another address with \
             --listen (port 0 takes a free one)"
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address (`ip address` shows those that it has); \
             0.0.0.0 and [::] stand for all of them, with --public-url"
                .to_owned()
        }
        ErrorKind::PermissionDenied => format!(
            "port {port} needs a permission: `sudo setcap cap_net_bind_service=+ep {}`, or \
             AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit, or a socket of systemd (extras/systemd/doorbell.socket); \
             or give a port from 1024 on with --listen",
            std::env::current_exe().map_or_else(|_| "doorbell".to_owned(), |program| program.display().to_string())
        ),
        _ => "give another address with --listen (port 0 takes a free one)".to_owned(),
    }
}

impl Service {
    /// Starts a service; it serves requests when this returns.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        Self::start_on(None, config, clock).await
    }

    /// The same on a socket that listens already, at the address of the configuration.
    pub async fn start_on(
        socket: Option<std::net::TcpListener>,
        config: Config,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let state_dir = &config.state_dir;
        state_dir::prepare(state_dir)?;
        let store = open_store(state_dir, &config.limits).await?;
        remove_leftovers(state_dir).map_err(|source| StateDirError::Unusable { path: state_dir.clone(), source })?;
        let clock = continued(&clock, &store);
        let ring = key_ring(state_dir, store.greatest_id() > 0, clock.now())?;

        let bind = |source| StartError::Bind { address: config.place.listen, source };
        let socket = match socket {
            Some(socket) => inherited(socket).map_err(bind)?,
            None => listen(config.place.listen).await.map_err(bind)?,
        };
        let address = socket.local_addr().map_err(bind)?;
        let origin = config.place.origin(address);
        let certificates = certificates(&config, &origin, address, &clock)?;
        let security = match &certificates {
            None => Security::Plain,
            Some(certificates) => Security::Tls(tls::server_config(certificates.resolver())?),
        };
        let ca_file = matches!(config.place.tls, TlsSource::SelfSigned).then(|| self_signed::ca_file(state_dir));

        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let hub = Arc::new(Hub::start(store.clone(), clock.clone(), &config.limits, shards));
        let capabilities = Capabilities::new(&ring);
        let doors = Arc::new(Doors::new(hub.clone(), capabilities, origin.clone(), &config, clock.clone()));
        let (stop, stopping) = watch::channel(false);
        let watcher = tokio::spawn(clock.clone().watch());
        let reload = Arc::new(Notify::new());
        let renewal =
            certificates.map(|certificates| tokio::spawn(certificates.keep_current(clock.clone(), reload.clone())));
        let context = Arc::new(Context {
            handler: doors.clone(),
            limits: config.limits,
            sources: config.sources.clone(),
            clock,
            stopping,
        });
        let listener = tokio::spawn(Listener { socket, security, context }.run());
        let housekeeper = tokio::spawn(hub.housekeeper(config.limits).run());
        info!(%address, "serving");
        Ok(Self { address, origin, ca_file, store, hub, stop, listener, housekeeper, watcher, renewal, reload, doors })
    }

    /// Adds a key that seals the URLs of all resources created from now on. The service must not be running.
    pub fn rotate_capability_key(config: &Config, clock: &Clock) -> Result<(), StartError> {
        let path = config.state_dir.join(CAPABILITY_KEYS);
        state_dir::prepare(&config.state_dir)?;
        let in_use = Store::exists(&config.state_dir);
        let mut ring = key_ring(&config.state_dir, in_use, clock.now())?;
        let shown = path.display().to_string();
        if !ring.has_room() {
            return Err(KeyRingError::Count { path: shown }.into());
        }
        // By the time in the ids: every URL that exists is sealed with the key of its time, whatever the wall clock shows.
        let now = if in_use {
            let store = Store::open_sqlite(&config.state_dir, store_limits(&config.limits))?;
            continued(clock, &store).now().plus(Duration::from_millis(1))
        } else {
            clock.now()
        };
        ring.rotate(now);
        ring.save(&path).map_err(|source| KeyRingError::Io { path: shown, source })?;
        Ok(())
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The origin that its URLs begin with.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The certificate that clients have to trust, if TLS uses the self-signed CA.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Takes over what can change while the service runs: the settings of Firefox's protocol (clients learn of broadcasts
    /// when they connect or ask), and the certificate, if it comes from files that have changed. One that cannot be used
    /// is logged, and the old one stays.
    pub fn reload(&self, config: &Config) {
        self.doors.reload(config);
        self.reload_certificate();
    }

    /// Looks for another certificate now; one by ACME is requested again, if the last attempt failed some time ago.
    pub fn reload_certificate(&self) {
        self.reload.notify_one();
    }

    /// Completes when the service cannot continue. The process must end then, because the service can keep no promise.
    pub async fn failed(&self) -> Failed {
        tokio::select! {
            failure = self.store.failed() => Failed::Store(failure),
            () = self.hub.broken() => Failed::Panicked,
        }
    }

    /// Stops: accepts no more connections, notifies the open ones (GOAWAY), finishes the requests in progress and
    /// closes the store. It takes the drain time-out at most, plus a moment for the store.
    pub async fn stop(self) -> Result<(), Failure> {
        self.housekeeper.abort();
        self.renewal.iter().for_each(JoinHandle::abort);
        self.stop.send_replace(true);
        self.hub.stop();
        if let Err(error) = self.listener.await {
            error!(%error, "the listener failed while stopping");
        }
        self.watcher.abort();
        self.hub.counters().log();
        if let Err(error) = self.hub.note_clock().await {
            warn!(%error, "the clock was not recorded: after a start of the machine, messages may be kept longer");
        }
        self.store.close().await
    }
}

/// A socket that another process has bound.
fn inherited(socket: std::net::TcpListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Binds an address. Every address of both versions of IP is that of IPv4 where the system has no other.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let every = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
    match TcpListener::bind(address).await {
        Err(error) if address == every && has_no_ipv6(&error) => {
            TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())).await
        }
        bound => bound,
    }
}

fn has_no_ipv6(error: &std::io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}

/// The keys of the URLs. They are created for a store that is new, and for no other.
fn key_ring(state_dir: &Path, in_use: bool, now: UnixMs) -> Result<KeyRing, KeyRingError> {
    let path = state_dir.join(CAPABILITY_KEYS);
    if in_use && matches!(path.try_exists(), Ok(false)) {
        return Err(KeyRingError::Missing { path: path.display().to_string() });
    }
    KeyRing::load_or_create(&path, now)
}

/// The clock that continues where the store ended.
fn continued(clock: &Clock, store: &Store) -> Clock {
    let greatest_id = Some(store.greatest_id()).filter(|id| *id > 0);
    clock.continued(store.clock(), greatest_id.map(|id| MessageId::from_raw(id).minted_at()))
}

fn store_limits(limits: &Limits) -> doorbell_store::Limits {
    doorbell_store::Limits {
        messages_per_agent_max: limits.messages_per_agent_max,
        bytes_per_agent_max: limits.bytes_per_agent_max,
        // One subscription gets half of it, so that a flooded one leaves room for the others (RFC 8030 s8.4).
        messages_per_subscription_max: limits.messages_per_agent_max.div_ceil(2),
        bytes_per_subscription_max: limits.bytes_per_agent_max.div_ceil(2),
        subscriptions_per_agent_max: limits.subscriptions_per_agent_max,
        receipts_per_subscription_max: limits.receipts_per_subscription_max,
        agents_max: limits.agents_max,
        unused_agents_max: limits.unused_agents_max,
        subscriptions_max: limits.subscriptions_max,
        bytes_max: limits.stored_bytes_max,
        receipt_subscriptions_max: limits.receipt_subscriptions_max,
        unused_receipt_subscriptions_max: limits.unused_receipt_subscriptions_max,
        reserve_bytes: limits.disk_reserve_bytes,
        disk_floor_bytes: limits.disk_floor_bytes,
        ..doorbell_store::Limits::default()
    }
}

async fn open_store(state_dir: &Path, limits: &Limits) -> Result<Store, StartError> {
    let (dir, limits) = (state_dir.to_owned(), store_limits(limits));
    // Opening may migrate the database, which takes time.
    match tokio::task::spawn_blocking(move || Store::open_sqlite(&dir, limits)).await {
        Ok(Err(OpenError::Io { source, .. })) if is_read_only(&source) => {
            Err(state_dir::failed(state_dir, source).into())
        }
        Ok(opened) => Ok(opened?),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// After an error on its disk a file system is read-only, and only an attempt to write shows it.
fn is_read_only(error: &std::io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::ROFS)
}

/// Removes what crashes left of the files with secrets. The caller holds the store's lock, so that no other service
/// writes them.
fn remove_leftovers(state_dir: &Path) -> std::io::Result<()> {
    let files = [state_dir.join(CAPABILITY_KEYS), self_signed::key_file(state_dir), self_signed::ca_file(state_dir)];
    let of_acme = Acme::files(state_dir).into_iter().filter(|file| file.parent().is_some_and(Path::is_dir));
    files.into_iter().chain(of_acme).try_for_each(|file| private_file::remove_leftovers(&file))
}

/// The certificates of the port, if TLS ends here.
fn certificates(
    config: &Config,
    origin: &Origin,
    address: SocketAddr,
    clock: &Clock,
) -> Result<Option<Certificates>, TlsError> {
    let source = match &config.place.tls {
        TlsSource::Plain => return Ok(None),
        TlsSource::Files { cert, key } => {
            Source::Files(Files::new(cert.clone(), key.clone(), origin.host().to_owned()))
        }
        TlsSource::Acme(settings) => Source::Acme(Box::new(Acme::open(settings.clone(), &config.state_dir)?)),
        TlsSource::SelfSigned => {
            let mut names = vec![Name::of_host(origin.host())];
            // A client that finds us by the address may do so under it.
            names.extend((!address.ip().is_unspecified()).then(|| Name::Ip(address.ip())));
            Source::SelfSigned(SelfSigned::open(&config.state_dir, names, config.new_ca)?)
        }
    };
    Certificates::open(source, clock).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_for_which_a_port_is_not_available_has_its_own_advice() {
        let hint = |kind: ErrorKind| bind_hint("0.0.0.0:443".parse().expect("an address"), &kind.into());
        assert!(hint(ErrorKind::PermissionDenied).contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"));
        for words in ["setcap cap_net_bind_service=+ep /", "doorbell.socket"] {
            assert!(hint(ErrorKind::PermissionDenied).contains(words), "{words}");
        }
        assert!(hint(ErrorKind::AddrInUse).contains("'sport = :443'"));
        assert!(hint(ErrorKind::AddrNotAvailable).contains("ip address"));
        assert!(hint(ErrorKind::OutOfMemory).contains("--listen"));
    }
}
