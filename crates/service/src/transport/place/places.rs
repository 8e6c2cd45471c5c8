//! All places of a listener: who enters, who has to leave, and what is logged of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, Weak};

use doorbell_protocol::time::UnixMs;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::warn;

use super::Place;
use crate::counts::Counts;
use crate::locked::Locked;
use crate::seldom::Seldom;
use crate::transport::source::Source;

/// Sources whose rejected connections are counted one by one between two log lines; those of others are counted together.
const COUNTED_MAX: usize = 64;
/// Busy strangers that a newcomer looks at before the oldest one is closed: a flood of them must not cost it more time.
const LOOKED_AT_MAX: usize = 256;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// All of them.
    pub(crate) connections_max: usize,
    /// Those that strangers may have; the others are kept for agents with a subscription.
    pub(crate) strangers_max: usize,
    /// Those that one source may have; `None` for no bound.
    pub(crate) per_source_max: Option<usize>,
}

/// The places of one listener, or of several that share them.
#[derive(Debug)]
pub(crate) struct Places {
    pub(super) state: Locked<State>,
    /// A place became free.
    pub(super) freed: Notify,
    counts: Option<Arc<Counts>>,
    pub(super) rejections: Seldom,
    closings: Seldom,
    pub(super) busy_closings: Seldom,
    pub(super) undeclared: Seldom,
    waits: Seldom,
}

#[derive(Debug)]
pub(super) struct State {
    bounds: Bounds,
    open: usize,
    /// Strangers whose task was aborted and that have not left yet.
    leaving: usize,
    /// By their numbers, so the oldest is first.
    pub(super) strangers: BTreeMap<u64, Stranger>,
    /// The open connections of each source.
    pub(super) sources: HashMap<Source, usize>,
    last_number: u64,
    /// The rejected connections since the last log line, by source.
    rejected: HashMap<Source, u64>,
}

#[derive(Debug)]
pub(super) struct Stranger {
    place: Weak<Place>,
    /// `None` for the moment before the task is known.
    pub(super) task: Option<AbortHandle>,
}

/// Which kind of connection was closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// One without a request in progress.
    Idle,
    /// One with a request in progress.
    Busy,
}

/// What came of an attempt to enter.
enum Attempt {
    Entered(Arc<Place>),
    /// The source has as many as it may have.
    Rejected,
    /// All places are taken.
    Full,
}

impl Places {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Self::counted(bounds, None)
    }

    /// The same, counted in `counts`.
    pub(crate) fn counted(bounds: Bounds, counts: Option<Arc<Counts>>) -> Arc<Self> {
        Arc::new(Self {
            state: Locked::new(State::new(bounds)),
            freed: Notify::new(),
            counts,
            rejections: Seldom::default(),
            closings: Seldom::default(),
            busy_closings: Seldom::default(),
            undeclared: Seldom::default(),
            waits: Seldom::default(),
        })
    }

    /// A place for a connection from `source` (`None`: from a proxy, which carries the connections of many sources).
    /// Waits while all places are taken by connections that cannot be closed. `None` if the source has enough of them.
    pub(crate) async fn enter(self: &Arc<Self>, source: Option<Source>, now: UnixMs) -> Option<Arc<Place>> {
        let mut has_waited = false;
        loop {
            match self.try_enter(source, now) {
                // A place that becomes free while no task waits is noted, but only once: another listener that waits
                // looks too.
                Attempt::Entered(place) => {
                    if has_waited {
                        self.freed.notify_one();
                    }
                    return Some(place);
                }
                Attempt::Rejected => {
                    if has_waited {
                        self.freed.notify_one();
                    }
                    return None;
                }
                Attempt::Full => self.freed.notified().await,
            }
            has_waited = true;
        }
    }

    /// Changes how many places there are. Where fewer are left than are taken, connections leave as if new ones had found
    /// no place: when the next one comes.
    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        self.state.lock().bounds = bounds;
        // The one that waits looks again.
        self.freed.notify_one();
    }

    /// Waits until all connections have ended.
    pub(crate) async fn empty(&self) {
        while self.state.lock().open > 0 {
            self.freed.notified().await;
        }
    }

    /// Logs what has happened since the last line, if a line is due.
    pub(crate) fn flush_lines(&self, now: UnixMs) {
        for lines in [&self.rejections, &self.closings, &self.busy_closings, &self.undeclared, &self.waits] {
            lines.flush(now);
        }
    }

    /// A request has X-Forwarded-For and is not from a declared proxy.
    pub(super) fn note_undeclared(&self, now: UnixMs) {
        self.undeclared.log(now, |requests| {
            warn!(
                requests,
                "requests have X-Forwarded-For and are not from addresses of forwarded_for_from: if they are from your \
                 proxy, name it there; until then all its clients share one bound, or have none"
            );
        });
    }

    fn try_enter(self: &Arc<Self>, source: Option<Source>, now: UnixMs) -> Attempt {
        let mut state = self.state.lock();
        if let Some(source) = source.filter(|source| Self::has_enough(&state, source)) {
            self.reject(state, source, now);
            return Attempt::Rejected;
        }
        let is_full = state.open >= state.bounds.connections_max;
        // Those who leave make room for one each.
        let are_too_many = state.strangers.len() >= state.bounds.strangers_max;
        let is_crowded = are_too_many || (is_full && state.leaving == 0);
        // Dropped after the lock is released: a place that is dropped takes the lock.
        let (closed, _seen) = if is_crowded { state.close_oldest(are_too_many) } else { (None, Vec::new()) };
        let must_wait = is_full && state.leaving == 0;
        let attempt = if is_full { Attempt::Full } else { Attempt::Entered(state.enter(self, source)) };
        drop(state);
        if let Some(counts) = self.counts.as_ref().filter(|_| closed.is_some()) {
            counts.closed_for_room.add();
        }
        match closed {
            Some(Closed::Idle) => self.closings.log(now, |connections| {
                warn!(
                    connections,
                    "closed idle connections without a subscription to make room for new ones; raise connections_max if \
                     they are no attack"
                );
            }),
            Some(Closed::Busy) => self.busy_closings.log(now, |connections| {
                warn!(
                    connections,
                    "closed connections without a subscription and with a request in progress to make room for new ones, \
                     because none was idle; raise connections_max if they are no attack"
                );
            }),
            None => {}
        }
        if must_wait {
            self.waits.log(now, |times| {
                warn!(times, "all places of connections are taken: new ones wait; raise connections_max");
            });
        }
        attempt
    }

    pub(super) fn has_enough(state: &State, source: &Source) -> bool {
        let open = state.sources.get(source);
        state.bounds.per_source_max.is_some_and(|max| open.is_some_and(|&open| open >= max))
    }

    pub(super) fn reject(self: &Arc<Self>, mut state: MutexGuard<'_, State>, source: Source, now: UnixMs) {
        state.count_rejection(source);
        drop(state);
        if let Some(counts) = &self.counts {
            counts.refused_of_source.add();
        }
        let places = Arc::downgrade(self);
        self.rejections.log(now, move |connections| {
            // It is gone only after the last flush.
            if let Some(places) = places.upgrade() {
                places.log_rejections(connections);
            }
        });
    }

    fn log_rejections(&self, connections: u64) {
        let (rejected, max) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.rejected), state.bounds.per_source_max)
        };
        let worst = rejected.into_iter().max_by_key(|(_, count)| *count);
        if let (Some((source, its_own)), Some(max)) = (worst, max) {
            warn!(
                connections, %source, its_own, max,
                "closed connections of sources that have too many (connections_per_source_max); is it a proxy? then \
                 name it in trusted_proxies"
            );
        }
    }
}

impl State {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: 0,
            leaving: 0,
            strangers: BTreeMap::new(),
            sources: HashMap::new(),
            last_number: 0,
            rejected: HashMap::new(),
        }
    }

    /// Also without a bound: one may be set while the connection is open.
    pub(super) fn count(&mut self, source: Source) {
        *self.sources.entry(source).or_default() += 1;
    }

    fn count_rejection(&mut self, source: Source) {
        if self.rejected.len() < COUNTED_MAX || self.rejected.contains_key(&source) {
            *self.rejected.entry(source).or_default() += 1;
        }
    }

    pub(super) fn enter(&mut self, places: &Arc<Places>, source: Option<Source>) -> Arc<Place> {
        self.open += 1;
        if let Some(counts) = &places.counts {
            counts.connections.enter();
            counts.entered.add();
        }
        if let Some(source) = source {
            self.count(source);
        }
        self.last_number += 1;
        let number = self.last_number;
        let place = Arc::new(Place {
            places: places.clone(),
            number: AtomicU64::new(number),
            source: source.map_or_else(OnceLock::new, OnceLock::from),
            is_counted: AtomicBool::new(source.is_some()),
            forwarder: OnceLock::new(),
            requests: AtomicU32::new(0),
            answered: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            has_subprotocol: AtomicBool::new(false),
        });
        self.strangers.insert(number, Stranger { place: Arc::downgrade(&place), task: None });
        place
    }

    /// Closes the oldest stranger without a request in progress. One that has had an answer since it was last looked at
    /// gets another turn, because an application server that sends regularly is idle in between. If all are busy and
    /// `also_busy`, the oldest of them is closed: requests that never end must not take the places that are kept. Returns
    /// which kind was closed, and the places that were looked at.
    fn close_oldest(&mut self, also_busy: bool) -> (Option<Closed>, Vec<Arc<Place>>) {
        let (mut seen, mut again, mut oldest, mut busy) = (Vec::new(), Vec::new(), None, None);
        // Few, so that those who have just come do not become the oldest ones.
        let turns_max = self.strangers.len() / 4;
        for (&number, stranger) in &self.strangers {
            // A place without an owner is about to leave by itself.
            let Some(place) = stranger.place.upgrade() else { continue };
            let is_idle = place.requests.load(Ordering::Relaxed) == 0 && stranger.task.is_some();
            let was_answered = is_idle && again.len() < turns_max && place.answered.swap(false, Ordering::Relaxed);
            if also_busy && busy.is_some() && seen.len() >= LOOKED_AT_MAX {
                break;
            }
            busy = busy.or((also_busy && stranger.task.is_some()).then_some(number));
            seen.push(place);
            if was_answered {
                again.push(number);
            } else if is_idle {
                oldest = Some(number);
                break;
            }
        }
        let idle = oldest.or_else(|| again.first().copied());
        let task = idle.or(busy).and_then(|number| self.strangers.remove(&number)?.task);
        let closed = task.as_ref().map(|_| if idle.is_some() { Closed::Idle } else { Closed::Busy });
        for number in again {
            if let Some(stranger) = self.strangers.remove(&number) {
                self.last_number += 1;
                if let Some(place) = stranger.place.upgrade() {
                    place.number.store(self.last_number, Ordering::Relaxed);
                    seen.push(place);
                }
                self.strangers.insert(self.last_number, stranger);
            }
        }
        if let Some(task) = &task {
            self.leaving += 1;
            task.abort();
        }
        (closed, seen)
    }

    pub(super) fn leave(&mut self, place: &Place) {
        self.open -= 1;
        if let Some(counts) = &place.places.counts {
            counts.connections.leave();
        }
        if self.strangers.remove(&place.number.load(Ordering::Relaxed)).is_none()
            && !place.is_known.load(Ordering::Relaxed)
        {
            self.leaving -= 1;
        }
        if place.is_counted.load(Ordering::Relaxed)
            && let Some(source) = place.source.get()
            && let Some(open) = self.sources.get_mut(source)
        {
            *open -= 1;
            if *open == 0 {
                self.sources.remove(source);
            }
        }
    }
}
