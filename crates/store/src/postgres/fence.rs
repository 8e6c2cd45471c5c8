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
use super::connection::{Link, Purpose, runtime, text};
use super::schema::{self, Refusal};
use super::sql;
use crate::error::OpenError;

/// The number of the one node.
pub(super) const NODE: i16 = 1;

/// A lease that no batch has renewed is renewed after so long.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(1);
const RENEWAL_MAX: Duration = Duration::from_secs(3);
/// How long the end of a life may take.
const END_MAX: Duration = Duration::from_secs(3);

/// The code of the error with which `doorbell_fence` refuses a batch.
pub(super) const LIFE_OVER: &str = "DB001";

/// The lease of a process that was killed ends within five seconds. One that is renewed meanwhile is alive.
const LOOKS_MAX: u32 = 60;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What the threads of one engine share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) life: i64,
    /// The last batch that was committed.
    pub(super) batch: AtomicI64,
    /// Rises with the first batch on each connection of the writer: it may be on another server since then.
    pub(super) connections: AtomicU64,
}

impl Shared {
    /// A batch was committed, and is not answered yet. In this order: a reader that sees the new connection demands its
    /// batch.
    pub(super) fn committed(&self, batch: i64, is_first: bool) {
        self.batch.store(batch, Ordering::Release);
        if is_first {
            self.connections.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Begins a life of `name` and returns its number. Waits for the lease of a process that was killed.
pub(super) async fn begin(link: &Link, address: &Address, name: &str) -> Result<i64, OpenError> {
    let held = |holder| OpenError::DatabaseInUse { database: address.shown.clone(), holder };
    match try_to_begin(link, name).await {
        Ok(Ok(life)) => Ok(life),
        Ok(Err(holder)) => Err(held(holder)),
        Err(error) => Err(Refusal::from(error).at(address)),
    }
}

/// `Ok(Err(holder))`: another process holds the number.
async fn try_to_begin(link: &Link, name: &str) -> Result<Result<i64, String>, Error> {
    let mut seen: Option<String> = None;
    for _ in 0..LOOKS_MAX {
        if let Some(row) = link.client.query_opt(sql::BEGIN_LIFE, &[&NODE, &name, &schema::KNOWN]).await? {
            return Ok(Ok(row.try_get(0)?));
        }
        let row = link.client.query_one(sql::HOLDER, &[&NODE]).await?;
        let (holder, lease): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if seen.replace(lease.clone()).is_some_and(|seen| seen != lease) {
            return Ok(Err(holder));
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Ok(Err("its lease does not end".into()))
}

/// Ends a life, so that the next process need not wait for its lease.
pub(super) async fn end(link: &Link, life: i64) {
    let work = async {
        // A transaction of the life may be open.
        link.client.batch_execute("ROLLBACK").await?;
        link.client.batch_execute(sql::BEGIN).await?;
        link.client.execute(sql::END_LIFE, &[&NODE, &life]).await?;
        link.client.batch_execute("COMMIT").await
    };
    let reason = match timeout(END_MAX, work).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => text(&error),
        Err(_) => "the database does not answer".into(),
    };
    tracing::debug!(reason, "the life could not be ended: the next process waits for its lease");
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
        None => link.insert(Link::open(address, Purpose::Any).await.map_err(|error| error.text())?),
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
