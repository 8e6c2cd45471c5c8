//! Whether the store is writable: a commit is tried, because a disk can hang without an error. A disk that fails ends the
//! process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use doorbell_store::StoreError;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
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
    /// The commits that are tried. Until they are answered, no others are: they stay here also if the client that asked
    /// leaves.
    pending: Option<JoinHandle<Result<(), StoreError>>>,
    /// The cell whose commit is waited for, from 0.
    cell: Arc<AtomicUsize>,
}

/// What a cell could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unwritable {
    /// From 0.
    cell: usize,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Refused(StoreError),
    Slow,
}

impl Probe {
    /// Whether a commit succeeds in each cell. What it writes is the record of the clock, which is also written each hour.
    pub(super) async fn condition(&self, hub: &Arc<Hub>, clock: &Clock, config: &Config) -> Condition {
        let Err(Unwritable { cell, reason }) = self.probe(hub, clock).await else {
            return Condition::holds(NAME, "a commit succeeded");
        };
        let failed = if config.is_database(cell) { in_database(reason) } else { on_disk(reason) };
        if config.cells.is_empty() {
            return failed;
        }
        Condition { message: format!("cell {}: {}", cell + 1, failed.message), ..failed }
    }

    async fn probe(&self, hub: &Arc<Hub>, clock: &Clock) -> Result<(), Unwritable> {
        let mut state = self.0.lock().await;
        if let Some((at, result)) = state.last
            && clock.now().since(at) < FRESH
        {
            return result;
        }
        let cell = state.cell.clone();
        // It stays there while it is waited for: a client that leaves must not cause another one.
        let trying = state.pending.get_or_insert_with(|| {
            let (answers, cell) = (hub.note_clock_in_each(), cell.clone());
            tokio::spawn(async move {
                for (place, answer) in answers.into_iter().enumerate() {
                    cell.store(place, Ordering::Relaxed);
                    answer.await?;
                }
                Ok(())
            })
        });
        let result = match timeout(WAIT_MAX, trying).await {
            Ok(Ok(noted)) => noted.map_err(Reason::Refused),
            // The runtime ends.
            Ok(Err(_)) => Err(Reason::Refused(StoreError::Unavailable)),
            Err(_) => Err(Reason::Slow),
        };
        if result != Err(Reason::Slow) {
            state.pending = None;
        }
        let cell = cell.load(Ordering::Relaxed);
        let result = result.map_err(|reason| Unwritable { cell, reason });
        state.last = Some((clock.now(), result));
        result
    }
}

fn on_disk(reason: Reason) -> Condition {
    match reason {
        Reason::Refused(StoreError::NoRoom) => Condition::fails(
            NAME,
            "the disk is full: only what frees room is stored, and senders get 429",
            "free some room on the disk of the state directory; the store continues by itself",
        ),
        Reason::Refused(StoreError::Overloaded) => Condition::fails(
            NAME,
            "too many writes wait for the disk: senders get 429",
            "wait; if it stays so, the disk is too slow for this load",
        ),
        Reason::Refused(error) => Condition::fails(
            NAME,
            format!("a commit failed ({error})"),
            "the log says why; after an error of the disk the process ends",
        ),
        Reason::Slow => Condition::fails(
            NAME,
            format!("a commit was not done within {} seconds", WAIT_MAX.as_secs()),
            "look at the disk of the state directory: it does not answer, or other programs keep it busy",
        ),
    }
}

fn in_database(reason: Reason) -> Condition {
    match reason {
        Reason::Refused(StoreError::NoRoom) => Condition::fails(
            NAME,
            "the disk of the database is full: only what frees room is stored, and senders get 429",
            "free some room on the disk of the database's server; the store continues by itself",
        ),
        Reason::Refused(StoreError::Overloaded) => Condition::fails(
            NAME,
            "too many writes wait for the database: senders get 429",
            "wait; if it stays so, the database is too slow for this load",
        ),
        Reason::Refused(error) => Condition::fails(
            NAME,
            format!("the database took no commit ({error}): senders get 503"),
            "look at the database's server (the log has the reason); the store continues by itself",
        ),
        Reason::Slow => Condition::fails(
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
    use crate::config::Settings;

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
        config: Config,
        commits: UnboundedReceiver<()>,
        release: mpsc::Sender<()>,
    }

    impl Probed {
        fn start() -> Self {
            let (limits, (begun, commits), (release, released)) =
                (StoreLimits::default(), unbounded_channel(), mpsc::channel());
            let store = Store::start(Held { engine: MemoryEngine::new(limits), begun, released }, limits).unwrap();
            let settings = Settings { state_dir: Some("not used".into()), ..Settings::default() };
            let config = Config::from_settings(settings).unwrap();
            let clock = Clock::manual(UnixMs::from_secs(1_790_000_000));
            let hub = Arc::new(Hub::start(store, clock.clone(), &config.limits, 1, Arc::default()));
            Self { probe: Probe::default(), hub, clock, config, commits, release }
        }

        async fn condition(&self) -> Condition {
            self.probe.condition(&self.hub, &self.clock, &self.config).await
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
        let (probe, hub, clock, config) = (&probed.probe, &probed.hub, &probed.clock, &probed.config);
        tokio::select! {
            answered = probe.condition(hub, clock, config) => panic!("{answered:?}"),
            begun = probed.commits.recv() => assert_eq!(begun, Some(())),
        }
        for _ in 0..10 {
            assert!(probe.condition(hub, clock, config).now_or_never().is_none(), "it waits for the same commit");
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
