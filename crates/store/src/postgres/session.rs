//! The database for a move to or from another engine, which reads and writes the tables itself. It holds a life, as a
//! service does, so that none runs meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, Error};

use super::address::Address;
use super::connection::{self, Link, Purpose, session_goes_on, text};
use super::fence::{self, Keeper, NODE, Shared};
use super::schema::{self, Demands};
use super::{PostgresOptions, sql};
use crate::error::OpenError;

/// A statement may read a large table.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// How often a connection that was lost is made again before the move gives up, without an answer in between.
const ATTEMPTS: u32 = 240;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);

/// Why the database could not be used any longer.
pub(crate) struct Lost(pub(crate) String);

fn taken_over() -> Lost {
    Lost("another process has taken over the database: stop that one".into())
}

pub(crate) struct Session {
    // The order matters: the lease is renewed until the life is over.
    runtime: Runtime,
    address: Address,
    link: Option<Link>,
    /// This process, as the holder of the life.
    name: String,
    life: i64,
    /// The number of the last transaction that was begun in this life.
    batch: i64,
    keeper: Option<Keeper>,
    /// Connections that were lost since the last answer.
    losses: u32,
}

impl Session {
    /// Opens the database to write it (`is_target`) or only to read it.
    pub(crate) fn open(options: &PostgresOptions, is_target: bool) -> Result<Self, OpenError> {
        let address = Address::of(options)?;
        let runtime = connection::runtime().map_err(OpenError::Thread)?;
        let name = format!("{} that moves it", fence::name());
        let opened = runtime.block_on(async {
            let demands = Demands {
                allow_single_copy: options.allow_single_copy || !is_target,
                cluster: options.cluster.as_ref(),
                creates_tables: is_target,
            };
            schema::in_time(&address, schema::prepare(&address, &demands)).await?;
            let link = schema::connect(&address).await?;
            let life = schema::in_time(&address, fence::begin(&link, &address, &name)).await?;
            Ok::<_, OpenError>((link, life))
        });
        let (link, life) = opened?;
        let mut session = Self { runtime, address, link: Some(link), name, life, batch: 0, keeper: None, losses: 0 };
        session.keep()?;
        let link = session.link.as_ref().expect("it was opened above");
        if is_target {
            session.runtime.block_on(schema::claim(&link.client, &session.address, options.cluster.as_ref()))?;
        } else {
            session.runtime.block_on(schema::check_served(&link.client, &session.address))?;
        }
        Ok(session)
    }

    /// Name and hosts of the database.
    pub(crate) fn shown(&self) -> &str {
        &self.address.shown
    }

    /// Starts to renew the lease.
    fn keep(&mut self) -> Result<(), OpenError> {
        drop(self.keeper.take());
        let shared = Arc::new(Shared { life: self.life, ..Shared::default() });
        self.keeper = Some(Keeper::start(self.address.clone(), shared).map_err(OpenError::Thread)?);
        Ok(())
    }

    /// Runs `work`, which only reads or does no harm twice, until it is answered.
    pub(crate) fn ask<T>(&mut self, work: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, Lost> {
        loop {
            if let Some(answer) = self.attempt(&work)? {
                return Ok(answer);
            }
        }
    }

    /// Runs `work` in a transaction of this life. `None`: the connection was lost, and all of it happened or nothing did,
    /// and nothing can happen later.
    pub(crate) fn write<T>(&mut self, work: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<Option<T>, Lost> {
        self.batch += 1;
        let begin = sql::begin(NODE, self.life, self.batch, 0, 0);
        self.attempt(&async |client: &Client| {
            client.batch_execute(&begin).await?;
            let done = work(client).await?;
            client.batch_execute("COMMIT").await?;
            Ok(done)
        })
    }

    /// Whether this is still the life of this process.
    pub(crate) fn is_held(&mut self) -> Result<bool, Lost> {
        // It may begin another life, and is repeated then.
        loop {
            let life = self.life;
            let held = self.attempt(&async |client: &Client| {
                Ok(client.query_opt(sql::LAST_BATCH, &[&NODE, &life]).await?.is_some())
            })?;
            if let Some(held) = held {
                return Ok(held);
            }
        }
    }

    fn attempt<T>(&mut self, work: &impl AsyncFn(&Client) -> Result<T, Error>) -> Result<Option<T>, Lost> {
        let link = self.link.as_ref().expect("there is one unless `reconnect` has failed");
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, work(&link.client)).await });
        match answer {
            // A commit that is on one server alone is followed by one that is not: that of the end.
            Ok(Ok(answer)) => {
                self.losses = 0;
                Ok(Some(answer))
            }
            Ok(Err(error)) if error.code().is_some_and(|code| code.code() == fence::LIFE_OVER) => Err(taken_over()),
            Ok(Err(error)) if session_goes_on(&error) => Err(Lost(schema::explain(&error))),
            Ok(Err(error)) => self.reconnect(text(&error)).map(|()| None),
            Err(_) => self.reconnect("the database does not answer".into()).map(|()| None),
        }
    }

    /// Connects again, and begins the next life of this process.
    fn reconnect(&mut self, mut reason: String) -> Result<(), Lost> {
        self.link = None;
        while self.losses < ATTEMPTS {
            self.losses += 1;
            let next = async {
                let link = Link::open(&self.address, Purpose::Any).await.map_err(|error| error.text())?;
                let row = link.client.query_opt(sql::NEXT_LIFE, &[&NODE, &self.life, &self.name]).await;
                let life = row.and_then(|row| row.map(|row| row.try_get::<_, i64>(0)).transpose());
                Ok::<_, String>((link, life.map_err(|error| text(&error))?))
            };
            let next = self.runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, next).await });
            match next {
                Ok(Ok((link, Some(life)))) => {
                    (self.link, self.life, self.batch) = (Some(link), life, 0);
                    return self.keep().map_err(|error| Lost(error.to_string()));
                }
                Ok(Ok((_, None))) => return Err(taken_over()),
                Ok(Err(error)) => reason = error,
                Err(_) => reason = "the database does not answer".into(),
            }
            std::thread::sleep(BETWEEN_ATTEMPTS);
        }
        Err(Lost(format!("the connection was lost ({reason})")))
    }
}

impl Drop for Session {
    /// Ends the life, so that the next process need not wait for the lease.
    fn drop(&mut self) {
        drop(self.keeper.take());
        let Some(link) = self.link.take() else { return };
        self.runtime.block_on(fence::end(&link, self.life));
    }
}
