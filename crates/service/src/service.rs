//! The composition root: opens the state directory, starts the parts, and stops them in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{DirLock, Failure, Store};
use rustls::ServerConfig;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::accept::tls::self_signed::{self, Name, SelfSigned};
use crate::accept::tls::{self, Acme, Certificates, Files, Gone, Looks, Source, TlsError};
use crate::accept::{BindError, Context, Listener, Listeners, ProxyHeaders, Security, bind};
use crate::admin::{self, AdminError};
use crate::capability::{Capabilities, KeyRing, KeyRingError};
use crate::clock::Clock;
use crate::config::{
    AdminAddress, Changes, Config, ConfigError, Limits, Listen, Live, Origin, Place, Served, TlsSource,
};
use crate::counts::Counts;
use crate::doors::Doors;
use crate::health::{self, Certificate, Health, Probe};
use crate::hub::Hub;
use crate::locked::Locked;
use crate::metrics::{Metrics, Sources};
use crate::seldom;
use crate::state_dir::{self, StateDirError};
use crate::status::{ListenerStatus, Status, StoreStatus};
use crate::storage::{Storage, StorageError, continued};

/// The secrets behind every URL, in the state directory.
const CAPABILITY_KEYS: &str = "capability.keys";

/// The name in the state directory that is kept for the socket by which the program changes the service.
pub const CONTROL_SOCKET: &str = "control.sock";

/// How long a reload waits for the files of a certificate.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// A running push service.
pub struct Service {
    /// The addresses that it listens on.
    bound: Vec<Listen>,
    origin: Origin,
    ca_file: Option<PathBuf>,
    store: Store,
    /// The state directory's, where the store has none there. It is held until the service is gone.
    _lock: Option<DirLock>,
    hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    /// The first drain takes them.
    tasks: Locked<Option<Tasks>>,
    /// Asks for a look for a new certificate.
    looks: Arc<Looks>,
    doors: Arc<Doors>,
    config: Arc<Live>,
    health: Arc<Health>,
    admin_address: Option<AdminAddress>,
    /// It answers until everything else has stopped; the first stop takes it.
    admin: Locked<Option<admin::Running>>,
}

/// What runs until the service drains.
struct Tasks {
    listener: JoinHandle<()>,
    housekeeper: JoinHandle<()>,
    watcher: JoinHandle<()>,
    /// Logs the ends of bursts.
    lines: JoinHandle<()>,
    /// Renews the certificate, where TLS ends here.
    renewal: Option<JoinHandle<()>>,
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

/// Why the certificate that should follow is not in use. The old one stays.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// It cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// Its files were not read in time.
    #[error("its files were not read within {} seconds: look at their disk", LOOK_MAX.as_secs())]
    Slow,
    /// The task that looks at them has ended.
    #[error("nothing looks at its files any more: restart the service, if it does not stop, and report this bug")]
    Gone,
}

/// Why a service did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used, or others can use it.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// A port is not available.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin listener cannot be opened.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The admin listener would take the place of the control socket.
    #[error(
        "admin_listen {} is the control socket of the service (`doorbell status`); give another path with --admin-listen",
        .0
    )]
    ControlSocket(AdminAddress),
    /// The store cannot be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keys of the capability URLs cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Service {
    /// Starts a service; it serves requests when this returns.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        Self::start_on(Vec::new(), config, clock).await
    }

    /// The same on sockets that listen already, at the addresses of the configuration and in their order; without any
    /// it binds the addresses itself.
    pub async fn start_on(
        sockets: Vec<std::net::TcpListener>,
        config: Config,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let state_dir = &config.state_dir.clone();
        state_dir::prepare(state_dir)?;
        keep_control_socket(config.admin.as_ref(), state_dir)?;
        let Storage { store, status: storage, lock } = open_store(config.clone(), clock.clone()).await?;
        remove_leftovers(state_dir).map_err(|source| StateDirError::Unusable { path: state_dir.clone(), source })?;
        let clock = continued(&clock, store.clock(), store.greatest_id());
        let ring = key_ring(state_dir, store.greatest_id() > 0, clock.now())?;

        let sockets = bind::all(&config.place.listen, sockets).await?;
        let bound: Vec<Listen> = sockets.iter().map(|(listen, _)| *listen).collect();
        let origin = config.place.origin(Place::first_http(&bound));
        let certificates = certificates(&config, &origin, &bound, &clock)?;
        let tls = certificates.as_ref().map(|certificates| tls::server_config(certificates.resolver())).transpose()?;
        let ca_file = matches!(config.place.tls, TlsSource::SelfSigned).then(|| self_signed::ca_file(state_dir));

        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let counts = Arc::new(Counts::default());
        let hub = Arc::new(Hub::start(store.clone(), clock.clone(), &config.limits, shards, counts.clone()));
        let capabilities = Capabilities::new(&ring);
        let config = Arc::new(Live::new(config));
        let public = (origin.clone(), Place::mcs_port(&bound, &origin));
        let doors = Doors::new(hub.clone(), capabilities, public, config.clone(), clock.clone(), counts.clone());
        let doors = Arc::new(doors);
        let metrics = Arc::new(Metrics::new(Sources {
            counts: counts.clone(),
            store: store.clone(),
            storage: storage.clone(),
            clock: clock.clone(),
            config: config.clone(),
            certificate: certificates.as_ref().map(Certificates::resolver),
        }));
        let (stop, stopping) = watch::channel(false);
        let certificate = certificates.as_ref().map(|certificates| Certificate {
            source: health::source(&config.get().place.tls),
            resolver: certificates.resolver(),
        });
        let listeners = bound
            .iter()
            .map(|listen| ListenerStatus { address: listen.address.to_string(), serves: listen.served.as_str() });
        let health = Arc::new(Health {
            origin: origin.clone(),
            listeners: listeners.collect(),
            config: config.clone(),
            clock: clock.clone(),
            started: clock.served(),
            hub: hub.clone(),
            store: store.clone(),
            storage,
            counts,
            probe: Probe::default(),
            certificate,
            stopping: stopping.clone(),
        });
        let admin = admin::start(&config.get(), health.clone(), metrics).await?;
        let watcher = tokio::spawn(clock.clone().watch());
        let looks = Arc::new(Looks::default());
        let renewal =
            certificates.map(|certificates| tokio::spawn(certificates.keep_current(clock.clone(), looks.clone())));
        let context = Arc::new(Context { handler: doors.clone(), config: config.clone(), clock, stopping });
        let listeners = sockets.into_iter().map(|(listen, socket)| {
            let (security, context) = (security(listen.served, tls.as_ref()), context.clone());
            Listener { socket, security, context }
        });
        let place = &config.get().place;
        let headers = ProxyHeaders::new(place.proxy_protocol_from.clone(), place.forwarded_for_from.clone());
        let listener = tokio::spawn(Listeners::new(listeners.collect(), headers).run());
        let housekeeper = tokio::spawn(hub.housekeeper(config.clone()).run());
        let lines = tokio::spawn({
            let (doors, hub, clock) = (doors.clone(), hub.clone(), health.clock.clone());
            async move { seldom::regularly(|| flush_lines(&doors, &hub, clock.now())).await }
        });
        for Listen { served, address } in &bound {
            match served {
                Served::Tls | Served::Plain => info!(%address, "serving"),
                Served::Mcs => info!(%address, "serving Chromium's stream"),
            }
        }
        Ok(Self {
            bound,
            origin,
            ca_file,
            store,
            _lock: lock,
            hub,
            stop,
            tasks: Locked::new(Some(Tasks { listener, housekeeper, watcher, lines, renewal })),
            looks,
            doors,
            config,
            health,
            admin_address: admin.as_ref().map(|admin| admin.address.clone()),
            admin: Locked::new(admin),
        })
    }

    /// Adds a key that seals the URLs of all resources created from now on. The service must not be running.
    pub fn rotate_capability_key(config: &Config, clock: &Clock) -> Result<(), StartError> {
        let path = config.state_dir.join(CAPABILITY_KEYS);
        state_dir::prepare(&config.state_dir)?;
        let in_use = Storage::is_in_use(config)?;
        let mut ring = key_ring(&config.state_dir, in_use, clock.now())?;
        let shown = path.display().to_string();
        if !ring.has_room() {
            return Err(KeyRingError::Count { path: shown }.into());
        }
        // By the time in the ids: every URL that exists is sealed with the key of its time, whatever the wall clock shows.
        let now = if in_use {
            let Storage { store, .. } = Storage::open(config, store_limits(&config.limits), clock)?;
            continued(clock, store.clock(), store.greatest_id()).now().plus(Duration::from_millis(1))
        } else {
            clock.now()
        };
        ring.rotate(now);
        ring.save(&path).map_err(|source| KeyRingError::Io { path: shown, source })?;
        Ok(())
    }

    /// Where its messages are stored.
    pub fn storage(&self) -> &StoreStatus {
        &self.health.storage
    }

    /// Whether a cell of its store is a database.
    pub fn uses_database(&self) -> bool {
        let config = self.config.get();
        (0..=config.cells.len()).any(|cell| config.is_database(cell))
    }

    /// The first address on which it serves HTTP.
    pub fn address(&self) -> SocketAddr {
        Place::first_http(&self.bound).address
    }

    /// All addresses that it listens on, in the order of the settings.
    pub fn addresses(&self) -> &[Listen] {
        &self.bound
    }

    /// The origin that its URLs begin with.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The address of the admin listener, if there is one.
    pub fn admin_address(&self) -> Option<&AdminAddress> {
        self.admin_address.as_ref()
    }

    /// What the service is and does now.
    pub async fn status(&self) -> Status {
        self.health.status().await
    }

    /// The certificate that clients have to trust, if TLS uses the self-signed CA.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Takes over what can change while the service runs, and names it; what only a restart changes is named and stays as
    /// it is. The certificate is not looked at: [`Service::reload_certificate`]. Call it for one reload at a time.
    ///
    /// # Errors
    /// [`ConfigError::NotBeforeRestart`], and no setting has changed.
    pub fn reload(&self, next: &Config) -> Result<Changes, ConfigError> {
        let (config, changes) = self.config.get().reloaded(next)?;
        self.store.set_limits(store_limits(&config.limits));
        self.hub.reload(&config.limits);
        self.doors.reload(&config);
        self.config.replace(config);
        Ok(changes)
    }

    /// Looks for another certificate now, and reports why the next one cannot be used: then the old one stays. A
    /// certificate by ACME is requested again, if the last attempt failed some time ago; this does not wait for it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub async fn reload_certificate(&self) -> Result<(), CertificateError> {
        let Some(certificate) = &self.health.certificate else { return Ok(()) };
        if matches!(self.config.get().place.tls, TlsSource::Acme(_)) {
            self.looks.ask();
            return Ok(());
        }
        let looked = timeout(LOOK_MAX, self.looks.look()).await.map_err(|_| CertificateError::Slow)?;
        looked.map_err(|Gone| CertificateError::Gone)?;
        certificate.resolver.problem().map_or(Ok(()), |why| Err(CertificateError::Unusable(why)))
    }

    /// Completes when the service cannot continue. The process must end then, because the service can keep no promise.
    pub async fn failed(&self) -> Failed {
        tokio::select! {
            failure = self.store.failed() => Failed::Store(failure),
            () = self.hub.broken() => Failed::Panicked,
        }
    }

    /// Whether it drains, or has stopped.
    pub fn is_draining(&self) -> bool {
        *self.stop.borrow()
    }

    /// Accepts no more connections from this call on, and notifies the open ones (GOAWAY). The future finishes the requests
    /// in progress, in the drain time-out at most, and records the clock. The store stays open: [`Service::status`] and the
    /// admin listener answer until [`Service::stop`]. Only the first call has something to wait for.
    pub fn drain(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.send_replace(true);
        let (hub, doors, tasks) = (self.hub.clone(), self.doors.clone(), self.tasks.lock().take());
        async move {
            let Some(Tasks { listener, housekeeper, watcher, lines, renewal }) = tasks else { return };
            housekeeper.abort();
            renewal.iter().for_each(JoinHandle::abort);
            hub.stop();
            if let Err(error) = listener.await {
                error!(%error, "the listener failed while stopping");
            }
            watcher.abort();
            lines.abort();
            flush_lines(&doors, &hub, seldom::AT_THE_END);
            hub.counters().log();
            if let Err(error) = hub.note_clock().await {
                warn!(%error, "the clock was not recorded: after a start of the machine, messages may be kept longer");
            }
        }
    }

    /// Drains, unless that was done before, and closes the store and the admin listener. It takes the drain time-out at
    /// most, plus a moment for the store.
    ///
    /// # Errors
    /// [`Failure`] if the store stopped before all writes were committed.
    pub fn stop(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let (drained, store, admin) = (self.drain(), self.store.clone(), self.admin.lock().take());
        async move {
            drained.await;
            let closed = store.close().await;
            if let Some(admin) = admin {
                admin.stop().await;
            }
            closed
        }
    }
}

/// Refuses an admin listener in the place of the control socket, by whatever path.
fn keep_control_socket(admin: Option<&AdminAddress>, state_dir: &Path) -> Result<(), StartError> {
    let Some(address @ AdminAddress::Unix(path)) = admin else { return Ok(()) };
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let is_there = folder.is_some_and(|folder| state_dir.canonicalize().is_ok_and(|state_dir| folder == state_dir));
    if is_there && path.file_name().is_some_and(|name| name == CONTROL_SOCKET) {
        return Err(StartError::ControlSocket(address.clone()));
    }
    Ok(())
}

/// Logs what clients caused and has had no line, where one is due.
fn flush_lines(doors: &Doors, hub: &Hub, now: UnixMs) {
    doors.flush_lines(now);
    hub.counters().flush_lines(now);
}

fn security(served: Served, tls: Option<&Arc<ServerConfig>>) -> Security {
    let tls = || tls.expect("an address with TLS has certificates").clone();
    match served {
        Served::Tls => Security::Tls(tls()),
        Served::Mcs => Security::Mcs(tls()),
        Served::Plain => Security::Plain,
    }
}

/// The keys of the URLs. They are created for a store that is new, and for no other.
fn key_ring(state_dir: &Path, in_use: bool, now: UnixMs) -> Result<KeyRing, KeyRingError> {
    let path = state_dir.join(CAPABILITY_KEYS);
    if in_use && matches!(path.try_exists(), Ok(false)) {
        return Err(KeyRingError::Missing { path: path.display().to_string() });
    }
    KeyRing::load_or_create(&path, now)
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

async fn open_store(config: Config, clock: Clock) -> Result<Storage, StorageError> {
    // Opening may migrate the database, which takes time.
    let open = move || Storage::open(&config, store_limits(&config.limits), &clock);
    match tokio::task::spawn_blocking(open).await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Removes what crashes left of the files with secrets. The caller holds the store's lock, so that no other service
/// writes them.
fn remove_leftovers(state_dir: &Path) -> std::io::Result<()> {
    let files = [state_dir.join(CAPABILITY_KEYS), self_signed::key_file(state_dir), self_signed::ca_file(state_dir)];
    let of_acme = Acme::files(state_dir).into_iter().filter(|file| file.parent().is_some_and(Path::is_dir));
    files.into_iter().chain(of_acme).try_for_each(|file| private_file::remove_leftovers(&file))
}

/// The certificates of the ports, if TLS ends here.
fn certificates(
    config: &Config,
    origin: &Origin,
    bound: &[Listen],
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
            let with_tls =
                bound.iter().filter(|listen| listen.served != Served::Plain).map(|listen| listen.address.ip());
            for address in with_tls.filter(|address| !address.is_unspecified()) {
                let name = Name::Ip(address);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Source::SelfSigned(SelfSigned::open(&config.state_dir, names, config.new_ca)?)
        }
    };
    Certificates::open(source, clock).map(Some)
}
