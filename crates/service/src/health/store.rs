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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use doorbell_store::{
        ClockRecord, CommitError, Engine, Limits as StoreLimits, MemoryEngine, OpenError, Reader, Store, Write, Written,
    };
    use futures_util::FutureExt;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::config::{Config, Settings};

    /// An engine whose commits wait for the test.
    struct Held {
        engine: MemoryEngine,
        begun: tokio::sync::mpsc::UnboundedSender<()>,
        released: mpsc::Receiver<()>,
    }

    impl Engine for Held {
        fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, CommitError> {
            // Both ends are gone when the test is over.
            self.begun.send(()).ok();
            self.released.recv().ok();
            self.engine.commit(batch)
        }

        fn receipt_room(&self) -> Result<(), StoreError> {
            self.engine.receipt_room()
        }

        fn set_limits(&mut self, limits: StoreLimits) {
            self.engine.set_limits(limits);
        }

        fn reader(&self) -> Result<Box<dyn Reader>, OpenError> {
            self.engine.reader()
        }

        fn greatest_id(&self) -> i64 {
            self.engine.greatest_id()
        }

        fn clock(&self) -> ClockRecord {
            self.engine.clock()
        }
    }

    struct Probed {
        probe: Probe,
        hub: Arc<Hub>,
        clock: Clock,
        commits: UnboundedReceiver<()>,
        release: mpsc::Sender<()>,
    }

    impl Probed {
        fn start() -> Self {
            let (limits, (begun, commits), (release, released)) =
                (StoreLimits::default(), unbounded_channel(), mpsc::channel());
            let store = Store::start(Held { engine: MemoryEngine::new(limits), begun, released }, limits).unwrap();
            let settings = Settings { state_dir: Some("not used".into()), ..Settings::default() };
            let limits = Config::from_settings(settings).unwrap().limits;
            let clock = Clock::manual(UnixMs::from_secs(1_790_000_000));
            let hub = Arc::new(Hub::start(store, clock.clone(), &limits, 1, Arc::default()));
            Self { probe: Probe::default(), hub, clock, commits, release }
        }

        async fn condition(&self) -> Condition {
            self.probe.condition(&self.hub, &self.clock, true).await
        }
    }

    #[tokio::test]
    async fn a_commit_that_hangs_is_slow_is_tried_once_and_its_end_is_seen() {
        let mut probed = Probed::start();
        for _ in 0..2 {
            let slow = probed.condition().await;
            assert!(!slow.ok && slow.message.contains("was not done within 2 seconds"), "{slow:?}");
            assert_eq!(probed.condition().now_or_never(), Some(slow), "the result is used again, and not waited for");
            probed.clock.advance(FRESH);
        }
        probed.release.send(()).unwrap();
        let recovered = probed.condition().await;
        assert!(recovered.ok, "{recovered:?}");
        assert_eq!((probed.commits.try_recv(), probed.commits.try_recv().is_ok()), (Ok(()), false), "one was tried");
    }

    #[tokio::test]
    async fn clients_that_leave_while_a_commit_hangs_cause_no_other_one() {
        let mut probed = Probed::start();
        let (probe, hub, clock) = (&probed.probe, &probed.hub, &probed.clock);
        tokio::select! {
            answered = probe.condition(hub, clock, true) => panic!("{answered:?}"),
            begun = probed.commits.recv() => assert_eq!(begun, Some(())),
        }
        for _ in 0..10 {
            assert!(probe.condition(hub, clock, true).now_or_never().is_none(), "it waits for the same commit");
            // What it may have started runs.
            tokio::task::yield_now().await;
        }
        // More than is needed: a second commit would pass too, and would be seen.
        (0..20).for_each(|_| probed.release.send(()).unwrap());
        assert!(probed.condition().await.ok);
        assert!(probed.commits.try_recv().is_err(), "there was one commit");
        probed.clock.advance(FRESH);
        assert!(probed.condition().await.ok);
        assert!(probed.commits.try_recv().is_ok(), "the next one is tried after the first has ended");
    }
}
