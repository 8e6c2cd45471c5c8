//! Whether the store is writable: a commit is tried, because a disk can hang without an error. A disk that fails ends the
//! process.

use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use doorbell_store::StoreError;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::hub::Hub;
use crate::status::Condition;

const NAME: &str = "store";

/// How long an answer is waited for. Monitors wait for some seconds.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// A result is used again for so long, so that no monitor writes to the disk all the time.
const FRESH: Duration = Duration::from_secs(1);

/// Tries commits, one at a time.
#[derive(Default)]
pub(crate) struct Probe(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<(UnixMs, Result<(), Unwritable>)>,
    /// The commit that is tried. Until it is answered, no other one is: it stays here also if the client that asked leaves.
    pending: Option<JoinHandle<Result<(), StoreError>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwritable {
    Refused(StoreError),
    Slow,
}

impl Probe {
    /// Whether a commit succeeds. What it writes is the record of the clock, which is also written each hour. `has_disk`:
    /// the messages are on a disk of this machine.
    pub(super) async fn condition(&self, hub: &Arc<Hub>, clock: &Clock, has_disk: bool) -> Condition {
        match self.probe(hub, clock).await {
            Ok(()) => Condition::holds(NAME, "a commit succeeded"),
            Err(reason) if has_disk => on_disk(reason),
            Err(reason) => in_database(reason),
        }
    }

    async fn probe(&self, hub: &Arc<Hub>, clock: &Clock) -> Result<(), Unwritable> {
        let mut state = self.0.lock().await;
        if let Some((at, result)) = state.last
            && clock.now().since(at) < FRESH
        {
            return result;
        }
        // It stays there while it is waited for: a client that leaves must not cause another one.
        let trying = state.pending.get_or_insert_with(|| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.note_clock().await })
        });
        let result = match timeout(WAIT_MAX, trying).await {
            Ok(Ok(noted)) => noted.map_err(Unwritable::Refused),
            // The runtime ends.
            Ok(Err(_)) => Err(Unwritable::Refused(StoreError::Unavailable)),
            Err(_) => Err(Unwritable::Slow),
        };
        if result != Err(Unwritable::Slow) {
            state.pending = None;
        }
        state.last = Some((clock.now(), result));
        result
    }
}

fn on_disk(reason: Unwritable) -> Condition {
    match reason {
        Unwritable::Refused(StoreError::NoRoom) => Condition::fails(
            NAME,
            "the disk is full: only what frees room is stored, and senders get 429",
            "free some room on the disk of the state directory; the store continues by itself",
        ),
        Unwritable::Refused(StoreError::Overloaded) => Condition::fails(
            NAME,
            "too many writes wait for the disk: senders get 429",
            "wait; if it stays so, the disk is too slow for this load",
        ),
        Unwritable::Refused(error) => Condition::fails(
            NAME,
            format!("a commit failed ({error})"),
            "the log says why; after an error of the disk the process ends",
        ),
        Unwritable::Slow => Condition::fails(
            NAME,
            format!("a commit was not done within {} seconds", WAIT_MAX.as_secs()),
            "look at the disk of the state directory: it does not answer, or other programs keep it busy",
        ),
    }
}

fn in_database(reason: Unwritable) -> Condition {
    match reason {
        Unwritable::Refused(StoreError::NoRoom) => Condition::fails(
            NAME,
            "the disk of the database is full: only what frees room is stored, and senders get 429",
            "free some room on the disk of the database's server; the store continues by itself",
        ),
        Unwritable::Refused(StoreError::Overloaded) => Condition::fails(
            NAME,
            "too many writes wait for the database: senders get 429",
            "wait; if it stays so, the database is too slow for this load",
        ),
        Unwritable::Refused(error) => Condition::fails(
            NAME,
            format!("the database took no commit ({error}): senders get 503"),
            "look at the database's server, which the log says more about; the store continues by itself",
        ),
        Unwritable::Slow => Condition::fails(
            NAME,
            format!("the database did not commit within {} seconds", WAIT_MAX.as_secs()),
            "look at the database's server and its synchronous standbys; the store continues by itself",
        ),
    }
}
