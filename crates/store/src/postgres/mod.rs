//! The engine on PostgreSQL: one database, written by one process at a time (docs/store-format.md).

mod address;
mod batch;
mod clock;
pub(crate) mod connection;
mod facts;
mod fence;
mod known;
mod load;
mod migrate;
mod reader;
mod resolve;
mod schema;
pub(crate) mod session;
mod sql;
mod working;
mod writer;

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::cluster::Cluster;
use crate::engine::{Engine, Reader, Write, Written};
use crate::error::{CommitError, OpenError, StoreError};
use crate::figures::{Contents, Ended};
use crate::limits::{Held, Limits};
use crate::model::ClockRecord;
use crate::seldom::Seldom;
use crate::totals::Totals;
use address::Address;
use connection::{Link, Purpose};
use fence::{Keeper, Shared};
use reader::PostgresReader;
use schema::{Demands, Refusal};
use working::Sums;
use writer::Writer;

pub use migrate::{Migrated, Migration};

/// Which database, and what the operator demands of it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST,HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE`. Without `sslmode` the
    /// connection is encrypted and verified, unless all hosts are this machine.
    pub url: String,
    /// The password of the user, if the URL has none.
    pub password: Option<String>,
    /// Whether a server without synchronous standbys is good enough: then a message is on one disk when it is accepted.
    pub allow_single_copy: bool,
    /// The database must be this cluster. `None`: it may be any; a new one gets a random id.
    pub cluster: Option<Cluster>,
}

/// An engine on a database.
pub struct PostgresEngine {
    /// `None`: the engine is being dropped.
    runtime: Option<Runtime>,
    writer: Writer,
    keeper: Option<Keeper>,
    /// What its readers found.
    damages: Arc<Seldom>,
    /// When it was opened.
    clock: ClockRecord,
    cluster: String,
}

impl PostgresEngine {
    /// Opens the database, and creates the tables in an empty one. Waits up to six seconds for a process that was killed
    /// while it held the database.
    ///
    /// # Errors
    /// [`OpenError`], above all [`OpenError::DatabaseInUse`] and [`OpenError::Database`]: its text says what to do.
    pub fn open(options: &PostgresOptions, limits: Limits) -> Result<Self, OpenError> {
        let opened = connection::outside_runtimes(|| {
            let runtime = connection::runtime().map_err(OpenError::Thread)?;
            let opened = runtime.block_on(open(options, limits));
            opened.map(|opened| (runtime, opened))
        });
        let (runtime, Opened { writer, keeper, clock, cluster }) = opened.map_err(OpenError::Thread)??;
        Ok(Self { runtime: Some(runtime), writer, keeper: Some(keeper), damages: Arc::default(), clock, cluster })
    }

    /// Looks which database it is, and changes nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn identify(options: &PostgresOptions) -> Result<Identity, OpenError> {
        let look = || {
            let address = Address::of(options)?;
            connection::runtime().map_err(OpenError::Thread)?.block_on(async {
                let link = schema::connect(&address).await?;
                let cluster = schema::cluster(&link.client).await.map_err(|error| error.at(&address))?;
                Ok(Identity { database: address.shown, cluster })
            })
        };
        connection::outside_runtimes(look).map_err(OpenError::Thread)?
    }

    /// The id of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The name and the hosts of the database, without user and password.
    pub fn database(&self) -> &str {
        &self.writer.address.shown
    }
}

/// Which database it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name and hosts, without user and password.
    pub database: String,
    /// The id of its cluster; `None`: no service uses it yet.
    pub cluster: Option<String>,
}

struct Opened {
    writer: Writer,
    keeper: Keeper,
    clock: ClockRecord,
    cluster: String,
}

async fn open(options: &PostgresOptions, limits: Limits) -> Result<Opened, OpenError> {
    let address = Address::of(options)?;
    let demands = Demands {
        allow_single_copy: options.allow_single_copy,
        cluster: options.cluster.as_ref(),
        creates_tables: !matches!(options.cluster, Some(Cluster::Bound(_))),
    };
    let failed = |error: tokio_postgres::Error| OpenError::Database {
        database: address.shown.clone(),
        reason: schema::explain(&error),
    };
    schema::in_time(&address, schema::prepare(&address, &demands)).await?;
    let link = schema::connect(&address).await?;
    let life = schema::in_time(&address, fence::begin(&link, &address, &fence::name())).await?;
    let shared = Arc::new(Shared { life, ..Shared::default() });
    // Before anything is counted: that may take longer than a lease.
    let keeper = Keeper::start(address.clone(), Arc::clone(&shared)).map_err(OpenError::Thread)?;
    // Only now: the process of the life before may have been an import or a migration.
    let served = async {
        schema::check_served(&link.client, &address).await?;
        schema::claim(&link.client, &address, options.cluster.as_ref()).await
    };
    let cluster = match schema::in_time(&address, served).await {
        Ok(cluster) => cluster,
        Err(refused) => {
            drop(keeper);
            fence::end(&link, life).await;
            return Err(refused);
        }
    };
    let link = Link::open(&address, Purpose::Batches).await.map_err(|error| Refusal::from(error).at(&address))?;
    // What follows sees all that the life before has committed.
    let sums = sums(&link).await.map_err(failed)?;
    warn_of_reached(&address, &sums.totals, &limits);
    let clock = link.client.query_one(sql::CLOCK, &[]).await.and_then(|row| clock::record(&row)).map_err(failed)?;
    let writer = Writer::new(address, link, limits, shared, sums);
    Ok(Opened { writer, keeper, clock, cluster })
}

/// Logs the bounds that turn clients away.
fn warn_of_reached(address: &Address, totals: &Totals, limits: &Limits) {
    for bound in totals.reached(limits) {
        tracing::warn!(
            database = address.shown,
            "the store holds as much as {bound} allows: raise it, or clients get 429"
        );
    }
}

/// Counts everything once.
async fn sums(link: &Link) -> Result<Sums, tokio_postgres::Error> {
    let totals = link.client.query_one(sql::TOTALS, &[]).await?;
    let number = |column| -> Result<u64, tokio_postgres::Error> {
        Ok(u64::try_from(totals.try_get::<_, i64>(column)?).expect("counts, and sums of sizes, are not negative"))
    };
    let totals = Totals {
        agents: number(0)?,
        unused_agents: number(1)?,
        subscriptions: number(2)?,
        messages: number(3)?,
        message_bytes: number(4)?,
        receipts: number(5)?,
        receipt_subscriptions: number(6)?,
        unused_receipt_subscriptions: number(7)?,
    };
    let greatest = link.client.query_one(sql::GREATEST, &[]).await?;
    Ok(Sums { totals, ended: Ended::default(), id: greatest.try_get(0)?, seq: greatest.try_get(1)? })
}

impl Engine for PostgresEngine {
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
        let runtime = self.runtime.as_ref().expect("it is not being dropped");
        runtime.block_on(self.writer.commit_in_time(batch))
    }

    fn flush_lines(&self, at_end: bool) {
        self.damages.flush(at_end);
        self.writer.address.warnings.flush(at_end);
    }

    fn set_limits(&mut self, limits: Limits) {
        self.writer.limits = limits;
        warn_of_reached(&self.writer.address, &self.writer.sums.totals, &self.writer.limits);
    }

    fn set_elsewhere(&mut self, elsewhere: Held) {
        self.writer.limits.elsewhere = elsewhere;
    }

    fn receipt_room(&self) -> Result<(), StoreError> {
        if self.writer.is_full {
            return Err(StoreError::NoRoom);
        }
        self.writer.sums.totals.check_receipt(&self.writer.limits)
    }

    fn contents(&self) -> Contents {
        // The disk is the server's: it has no reserve of ours.
        let contents = self.writer.sums.totals.contents(self.writer.sums.ended, 0);
        Contents { resolved: self.writer.resolved, ..contents }
    }

    fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
        let (address, shared) = (self.writer.address.clone(), Arc::clone(&self.writer.shared));
        Ok(Box::new(PostgresReader::new(address, shared, Arc::clone(&self.damages))?))
    }

    fn greatest_id(&self) -> i64 {
        self.writer.sums.id
    }

    fn clock(&self) -> ClockRecord {
        self.clock.clone()
    }

    fn recovers(&self) -> bool {
        true
    }
}

impl Drop for PostgresEngine {
    /// Ends the life, so that the next process need not wait for its lease.
    fn drop(&mut self) {
        drop(self.keeper.take());
        let (runtime, link, life) = (self.runtime.take(), self.writer.link.take(), self.writer.shared.life);
        // What is in flight may still happen: the next process waits for the lease.
        let link = link.filter(|_| self.writer.flight.is_none());
        let end = move || {
            if let (Some(runtime), Some(link)) = (&runtime, &link) {
                runtime.block_on(fence::end(link, life));
            }
        };
        if let Err(error) = connection::outside_runtimes(end) {
            tracing::debug!(%error, "the life was not ended: the next process waits for its lease");
        }
    }
}
