//! The writer: it decides a batch, sends it, and does not answer before it knows what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::address::Address;
use super::batch::{self, FlushError, call};
use super::connection::{Attempt, Link, Purpose, passes, session_goes_on, text};
use super::fence::{self, NODE, Shared};
use super::known::Known;
use super::load::load;
use super::working::{Sums, Working};
use super::{schema, sql};
use crate::engine::{Write, Written};
use crate::error::{CommitError, StoreError};
use crate::figures::Resolved;
use crate::limits::Limits;
use crate::rules::{self, Stop};

pub(super) type Outcomes = Vec<Result<Written, StoreError>>;

/// How long a commit waits for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same once a commit has waited in vain: what waits behind it has waited too. A database that is slow must be able
/// to commit in this time.
const PATIENCE_AFTER: Duration = Duration::from_secs(5);
/// How long it waits for a connection then. The attempt goes on.
const CONNECT_AFTER: Duration = Duration::from_secs(1);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// A batch is read for and decided again so often at most: each time it knows more.
const ROUNDS_MAX: u32 = 16;

const LIFE_OVER: &str = "another process has taken over the database";

pub(super) struct Writer {
    pub(super) address: Address,
    pub(super) link: Option<Link>,
    attempt: Attempt,
    /// Nothing was committed on this connection yet.
    pub(super) is_new: bool,
    pub(super) limits: Limits,
    pub(super) shared: Arc<Shared>,
    known: Known,
    pub(super) sums: Sums,
    /// The number of the last batch that was sent.
    number: i64,
    pub(super) flight: Option<Flight>,
    /// The last commit waited in vain.
    is_away: bool,
    /// The server reported a full disk, and has stored nothing new since.
    pub(super) is_full: bool,
    pub(super) resolved: Resolved,
}

/// A batch that was sent and not answered.
pub(super) struct Flight {
    pub(super) number: i64,
    pub(super) sums: Sums,
    outcomes: Outcomes,
}

/// Why an attempt did not succeed.
pub(super) enum Failure {
    /// The next attempt may succeed, on another connection.
    Again(String),
    /// No further attempt is made.
    Final(CommitError),
}

impl Writer {
    pub(super) fn new(address: Address, link: Link, limits: Limits, shared: Arc<Shared>, sums: Sums) -> Self {
        let (known, resolved) = (Known::new(), Resolved::default());
        let (number, flight) = (0, None);
        Self {
            address,
            link: Some(link),
            attempt: Attempt::default(),
            is_new: true,
            limits,
            shared,
            known,
            sums,
            number,
            flight,
            is_away: false,
            is_full: false,
            resolved,
        }
    }

    /// Commits `batch`, or reports what is known of it after a while.
    pub(super) async fn commit_in_time(&mut self, batch: &[Write]) -> Result<Outcomes, CommitError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (patience, to_connect) = if self.is_away { (PATIENCE_AFTER, CONNECT_AFTER) } else { (PATIENCE, PATIENCE) };
        let mut reason = String::from("the database does not answer");
        let first = self.number + 1;
        let committed = timeout(patience, self.commit(batch, first, to_connect, &mut reason)).await.ok().flatten();
        self.note_away(committed.is_none(), &reason);
        let Some(committed) = committed else {
            self.link = None;
            self.known.clear();
            // A server that was replaced may take connections and answer reads without an end.
            self.address.leave_last_host();
            // An earlier batch may be in flight still, and this one was not sent then.
            return match &self.flight {
                Some(flight) if flight.number >= first => Err(CommitError::Unsettled(reason)),
                _ => Err(CommitError::Away(reason)),
            };
        };
        match &committed {
            Err(CommitError::NoRoom(_)) => self.note_full(true),
            // What frees room succeeds on a full disk too.
            Ok(outcomes) if batch.iter().zip(outcomes).any(|(write, outcome)| !write.frees() && outcome.is_ok()) => {
                self.note_full(false);
            }
            _ => {}
        }
        committed
    }

    /// Logs the begin and the end of an outage, once each.
    fn note_away(&mut self, is_away: bool, reason: &str) {
        let database = &self.address.shown;
        match (self.is_away, is_away) {
            (false, true) => tracing::error!(
                database,
                reason,
                "the database takes no commits: writes fail until it does, and nothing that was accepted is lost"
            ),
            (true, false) => tracing::info!(database, "the database takes commits again"),
            _ => {}
        }
        self.is_away = is_away;
    }

    /// Logs that the server's disk is full, and that it is not any more.
    fn note_full(&mut self, is_full: bool) {
        let database = &self.address.shown;
        match (self.is_full, is_full) {
            (false, true) => tracing::error!(
                database,
                "the disk of the database is full: only what frees room is stored, and senders get 429"
            ),
            (true, false) => tracing::info!(database, "the disk of the database has room again"),
            _ => {}
        }
        self.is_full = is_full;
    }

    /// `None`: there was no connection for `to_connect`.
    async fn commit(
        &mut self,
        batch: &[Write],
        first: i64,
        to_connect: Duration,
        reason: &mut String,
    ) -> Option<Result<Outcomes, CommitError>> {
        loop {
            let connected = match &self.link {
                Some(_) => Ok(()),
                None => timeout(to_connect, self.connect()).await.ok()?,
            };
            let settled = match connected {
                Ok(()) => self.resolve().await,
                Err(reason) => Err(Failure::Again(reason)),
            };
            let attempt = match settled {
                Ok(Some(flight)) if flight.number >= first => return Some(Ok(flight.outcomes)),
                Ok(_) => self.send(batch).await,
                Err(failure) => Err(failure),
            };
            match attempt {
                Ok(outcomes) => return Some(Ok(outcomes)),
                Err(failure) => {
                    // The transaction may still be open on it.
                    self.link = None;
                    self.known.clear();
                    match failure {
                        Failure::Final(error) => return Some(Err(error)),
                        Failure::Again(text) => *reason = text,
                    }
                    tracing::debug!(reason, "a batch could not be committed yet");
                }
            }
            sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    /// Giving up the wait loses nothing.
    async fn connect(&mut self) -> Result<(), String> {
        let link = self.attempt.link(&self.address, Purpose::Batches).await.map_err(|error| error.text())?;
        // The setting is not replicated: another server may have become the primary.
        schema::check_copies(&link.client, &self.address).await?;
        self.link = Some(link);
        self.is_new = true;
        Ok(())
    }

    async fn send(&mut self, batch: &[Write]) -> Result<Outcomes, Failure> {
        self.number += 1;
        let Self { link, known, sums, flight, limits, shared, number, is_new, .. } = self;
        let link = link.as_ref().expect("it was opened before");
        let mut working = Working::new(known, *sums);
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut parts = parts(batch).into_iter().peekable();
        let mut begins = true;
        while let Some(part) = parts.next() {
            let decided = decide(link, &mut working, limits, part).await;
            outcomes.extend(decided.map_err(|error| failed(error, flight))?);
            let mut calls = Vec::new();
            let is_last = parts.peek().is_none();
            let begin = begins.then(|| sql::begin(NODE, shared.life, *number, working.sums.id, working.sums.seq));
            if !begins && is_last {
                calls.push(call!(sql::MARK, NODE, working.sums.id, working.sums.seq));
            }
            calls.extend(batch::calls(&working));
            let so_far = if is_last { std::mem::take(&mut outcomes) } else { Vec::new() };
            *flight = Some(Flight { number: *number, sums: working.sums, outcomes: so_far });
            let flushed = batch::flush(link, begin.as_deref(), &calls, is_last).await;
            flushed.map_err(|error| unflushed(error, flight))?;
            working.next_part();
            begins = false;
        }
        *sums = working.settle();
        shared.committed(*number, std::mem::take(is_new));
        let flight = flight.take().expect("it was set for the last part");
        debug_assert_eq!(flight.outcomes.len(), batch.len(), "each write has an outcome");
        Ok(flight.outcomes)
    }
}

/// A search for what has expired must see what the writes before it did: it is a part of its own.
fn parts(batch: &[Write]) -> Vec<&[Write]> {
    let searches = |write: &Write| matches!(write, Write::Sweep { .. } | Write::ExpireIdle(_) | Write::ExpireUnused(_));
    batch.chunk_by(|one, next| !searches(one) && !searches(next)).collect()
}

/// Decides a part, as often as something must be read first.
async fn decide<'a>(
    link: &Link,
    working: &mut Working<'a>,
    limits: &Limits,
    part: &'a [Write],
) -> Result<Outcomes, DecideError> {
    for _ in 0..ROUNDS_MAX {
        let mut outcomes = Vec::with_capacity(part.len());
        let mut is_decided = true;
        for write in part {
            working.begin(write);
            match rules::apply(working, limits, write) {
                Ok(written) => outcomes.push(Ok(written)),
                Err(Stop::Refused(error)) => outcomes.push(Err(error)),
                // The other writes show what they miss too.
                Err(Stop::Missing) => is_decided = false,
            }
        }
        if is_decided {
            return Ok(outcomes);
        }
        working.start_again();
        part.iter().for_each(|write| working.want(write));
        load(link, working).await?;
    }
    Err(DecideError::Endless)
}

enum DecideError {
    Engine(Error),
    Endless,
}

impl From<Error> for DecideError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

fn failed(error: DecideError, flight: &mut Option<Flight>) -> Failure {
    match error {
        // The commit was not sent.
        DecideError::Engine(error) if session_goes_on(&error) => {
            *flight = None;
            Failure::Again(text(&error))
        }
        DecideError::Engine(error) => Failure::Again(text(&error)),
        DecideError::Endless => {
            let reason = "the engine has a bug: it reads without an end".to_owned();
            Failure::Final(CommitError::RolledBack(reason))
        }
    }
}

fn unflushed(error: FlushError, flight: &mut Option<Flight>) -> Failure {
    let error = match error {
        FlushError::Lost(reason) => return Failure::Again(reason),
        FlushError::Refused(error) => error,
    };
    *flight = None;
    let reason = text(&error);
    let Some(code) = error.code() else { return Failure::Again(reason) };
    if code.code() == fence::LIFE_OVER {
        return Failure::Final(CommitError::Ended(LIFE_OVER.into()));
    }
    if *code == SqlState::DISK_FULL {
        return Failure::Final(CommitError::NoRoom(reason));
    }
    if passes(&error) {
        return Failure::Again(reason);
    }
    Failure::Final(CommitError::RolledBack(reason))
}
