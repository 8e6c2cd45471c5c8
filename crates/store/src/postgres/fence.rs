//! Lives: one process at a time writes, and what a process writes after its life is over fails (`doorbell_fence`).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_postgres::Error;

use super::address::Address;
use super::connection::{Link, runtime, text};
use super::{schema, sql};

/// The number of the one node.
pub(super) const NODE: i16 = 1;

/// A lease that no batch has renewed is renewed after so long.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(1);
const RENEWAL_MAX: Duration = Duration::from_secs(3);

/// The lease of a process that was killed ends within five seconds. One that is renewed meanwhile is alive.
const LOOKS_MAX: u32 = 60;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What the threads of one engine share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) life: i64,
    /// The last batch that was committed.
    pub(super) batch: AtomicI64,
    /// Rises with each connection of the writer: it may be on another server since then.
    pub(super) connections: AtomicU64,
}

/// Why no life began.
pub(super) enum BeginError {
    /// Another process holds the number.
    Held(String),
    Engine(Error),
}

impl From<Error> for BeginError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// Begins a life of `name` and returns its number. Waits for the lease of a process that was killed.
pub(super) async fn begin(link: &Link, name: &str) -> Result<i64, BeginError> {
    let mut seen: Option<String> = None;
    for _ in 0..LOOKS_MAX {
        if let Some(row) = link.client.query_opt(sql::BEGIN_LIFE, &[&NODE, &name, &schema::KNOWN]).await? {
            return Ok(row.try_get(0)?);
        }
        let row = link.client.query_one(sql::HOLDER, &[&NODE]).await?;
        let (holder, lease): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if seen.replace(lease.clone()).is_some_and(|seen| seen != lease) {
            return Err(BeginError::Held(holder));
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Err(BeginError::Held("its lease does not end".into()))
}

/// This process, for the operator of another one.
pub(super) fn name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.as_deref().map_or("an unknown host", str::trim);
    format!("pid {} on {host}", std::process::id())
}

/// The thread that renews the lease while no batch does.
pub(super) struct Keeper {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(address: Address, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime()?;
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    // Also when the keeper was dropped.
                    _ = stopped => {}
                    () = keep(&address, &shared) => {}
                }
            });
        };
        let thread = thread::Builder::new().name("store-lease".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// Renews the lease whenever no batch has. Never returns.
async fn keep(address: &Address, shared: &Shared) {
    let (mut link, mut last) = (None, -1);
    loop {
        sleep(BETWEEN_RENEWALS).await;
        let batch = shared.batch.load(Ordering::Acquire);
        if std::mem::replace(&mut last, batch) != batch {
            continue;
        }
        if let Err(reason) = renew(address, &mut link, shared.life).await {
            tracing::debug!(reason, "the lease could not be renewed");
            link = None;
        }
    }
}

/// A life that is over is for the next batch to find.
async fn renew(address: &Address, link: &mut Option<Link>, life: i64) -> Result<(), String> {
    let link = match link {
        Some(link) => link,
        // It may take longer than the renewal: a host may be gone.
        None => link.insert(Link::open(address, &[]).await.map_err(|error| error.text())?),
    };
    match timeout(RENEWAL_MAX, link.client.execute(sql::RENEW, &[&NODE, &life])).await {
        Ok(renewed) => renewed.map(drop).map_err(|error| text(&error)),
        Err(_) => Err("the database does not answer".into()),
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to report.
            let _ = thread.join();
        }
    }
}
