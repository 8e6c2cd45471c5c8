//! The places of connections: how many there are, how many one source may have, and who has to leave when they are
//! taken.
//!
//! A connection is a **stranger** until the service knows that it belongs to an agent with a subscription, or to an
//! application server with a receipt subscription. Strangers without a request in progress leave first, the oldest one
//! before the others (one that had an answer lately counts as younger), because any client can open such connections
//! without end. Strangers with requests leave only where the places would be taken that are kept for others.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, Weak};

use doorbell_protocol::time::UnixMs;
use http::HeaderMap;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::warn;

use super::source::Source;
use crate::counts::Counts;
use crate::locked::Locked;
use crate::seldom::Seldom;

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
    state: Locked<State>,
    /// A place became free.
    freed: Notify,
    counts: Option<Arc<Counts>>,
    rejections: Seldom,
    closings: Seldom,
    waits: Seldom,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    open: usize,
    /// Strangers whose task was aborted and that have not left yet.
    leaving: usize,
    /// By their numbers, so the oldest is first.
    strangers: BTreeMap<u64, Stranger>,
    /// The open connections of each source.
    sources: HashMap<Source, usize>,
    last_number: u64,
    /// The rejected connections since the last log line, by source.
    rejected: HashMap<Source, u64>,
}

#[derive(Debug)]
struct Stranger {
    place: Weak<Place>,
    /// `None` for the moment before the task is known.
    task: Option<AbortHandle>,
}

/// The place of one connection, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// It changes under the lock only.
    number: AtomicU64,
    /// Empty for a proxy's connection; it changes under the lock only.
    source: OnceLock<Source>,
    /// Its source has a connection more by it.
    is_counted: AtomicBool,
    /// Its requests name their clients.
    forwards: AtomicBool,
    /// Requests in progress.
    requests: AtomicU32,
    /// A request was answered since the place was last looked at.
    answered: AtomicBool,
    is_known: AtomicBool,
    /// The handshake of a WebSocket agreed on the subprotocol that the client offered.
    has_subprotocol: AtomicBool,
}

/// A request in progress on a connection: the connection stays as long as this exists.
#[derive(Debug)]
pub(crate) struct RequestInProgress(Arc<Place>);

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
    pub(crate) fn report(&self, now: UnixMs) {
        if let Some(connections) = self.rejections.due(now) {
            self.log_rejections(connections);
        }
        if let Some(connections) = self.closings.due(now) {
            Self::log_closings(connections);
        }
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
        let (closed, _seen) = if is_crowded { state.close_oldest(are_too_many) } else { (false, Vec::new()) };
        let must_wait = is_full && state.leaving == 0;
        let attempt = if is_full { Attempt::Full } else { Attempt::Entered(state.enter(self, source)) };
        drop(state);
        if let Some(counts) = self.counts.as_ref().filter(|_| closed) {
            counts.closed_for_room.add();
        }
        if closed && let Some(connections) = self.closings.count(now) {
            Self::log_closings(connections);
        }
        if must_wait && let Some(times) = self.waits.count(now) {
            warn!(times, "all places of connections are taken: new ones wait; raise connections_max");
        }
        attempt
    }

    fn has_enough(state: &State, source: &Source) -> bool {
        let open = state.sources.get(source);
        state.bounds.per_source_max.is_some_and(|max| open.is_some_and(|&open| open >= max))
    }

    fn reject(&self, mut state: MutexGuard<'_, State>, source: Source, now: UnixMs) {
        state.count_rejection(source);
        drop(state);
        if let Some(counts) = &self.counts {
            counts.refused_of_source.add();
        }
        if let Some(connections) = self.rejections.count(now) {
            self.log_rejections(connections);
        }
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

    fn log_closings(connections: u64) {
        warn!(
            connections,
            "closed idle connections without a subscription to make room for new ones; raise connections_max if they \
             are no attack"
        );
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
    fn count(&mut self, source: Source) {
        *self.sources.entry(source).or_default() += 1;
    }

    fn count_rejection(&mut self, source: Source) {
        if self.rejected.len() < COUNTED_MAX || self.rejected.contains_key(&source) {
            *self.rejected.entry(source).or_default() += 1;
        }
    }

    fn enter(&mut self, places: &Arc<Places>, source: Option<Source>) -> Arc<Place> {
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
            forwards: AtomicBool::new(false),
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
    /// whether one was closed, and the places that were looked at.
    fn close_oldest(&mut self, also_busy: bool) -> (bool, Vec<Arc<Place>>) {
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
        let task =
            oldest.or_else(|| again.first().copied()).or(busy).and_then(|number| self.strangers.remove(&number)?.task);
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
        (task.is_some(), seen)
    }

    fn leave(&mut self, place: &Place) {
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

impl Place {
    /// Where the connection comes from; `None` for a proxy's.
    pub(crate) fn source(&self) -> Option<Source> {
        self.source.get().copied()
    }

    /// Where a request on the connection comes from: from a proxy for HTTP that names its client, the client.
    pub(crate) fn source_of(&self, headers: &HeaderMap) -> Option<Source> {
        if self.forwards.load(Ordering::Relaxed) { forwarded_for(headers) } else { self.source() }
    }

    /// The connection is one of a proxy for HTTP that names its client in each request.
    pub(crate) fn forwards(&self) {
        self.forwards.store(true, Ordering::Relaxed);
    }

    /// From now on the connection belongs to the client of this request alone. It does not count for its source: only
    /// the proxy sees how many connections a client has.
    pub(crate) fn belongs_to_client_of(&self, headers: &HeaderMap) {
        if self.forwards.load(Ordering::Relaxed)
            && let Some(source) = forwarded_for(headers)
        {
            let _lock = self.places.state.lock();
            // A request that was refused before may have come from another client: the first one stays.
            self.source.get_or_init(|| source);
        }
    }

    /// A proxy has named where its connection comes from. `false` if that source has enough connections: then this one
    /// must be closed.
    pub(crate) fn name_source(&self, source: Source, now: UnixMs) -> bool {
        let mut state = self.places.state.lock();
        if Places::has_enough(&state, &source) {
            self.places.reject(state, source, now);
            return false;
        }
        match self.source.set(source) {
            Ok(()) => {
                self.is_counted.store(true, Ordering::Relaxed);
                state.count(source);
            }
            Err(_) => debug_assert!(false, "a connection has one source"),
        }
        true
    }

    /// The connection belongs to an agent with a subscription, or an application server with a receipt subscription:
    /// from now on it is not closed to make room.
    pub(crate) fn keep(&self) {
        if self.is_known.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.places.state.lock();
        // A connection that has to leave already stays a stranger.
        if state.strangers.remove(&self.number.load(Ordering::Relaxed)).is_some() {
            self.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Notes the task that serves the connection, so that it can be closed. The last task counts.
    pub(crate) fn serve_in(&self, task: AbortHandle) {
        let mut state = self.places.state.lock();
        match state.strangers.get_mut(&self.number.load(Ordering::Relaxed)) {
            Some(stranger) => stranger.task = Some(task),
            None if self.is_known.load(Ordering::Relaxed) => {}
            // It was closed in the task before.
            None => task.abort(),
        }
    }

    /// The connection becomes a WebSocket with a subprotocol.
    pub(crate) fn agree_on_subprotocol(&self) {
        self.has_subprotocol.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub(crate) fn has_subprotocol(&self) -> bool {
        self.has_subprotocol.load(Ordering::Relaxed)
    }

    /// A request has arrived.
    pub(crate) fn request(self: &Arc<Self>) -> RequestInProgress {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RequestInProgress(self.clone())
    }
}

/// The last address of X-Forwarded-For, which the proxy itself has written; what is before it the client may have sent.
/// `None` if it is not an address.
fn forwarded_for(headers: &HeaderMap) -> Option<Source> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    let address = last.parse().or_else(|_| last.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(Source::of)
}

#[cfg(test)]
impl Place {
    /// A place for a test of something else.
    pub(crate) fn any() -> Arc<Self> {
        let places = Places::new(Bounds { connections_max: 1, strangers_max: 1, per_source_max: None });
        let mut state = places.state.lock();
        state.enter(&places, None)
    }
}

impl RequestInProgress {
    /// The place of its connection.
    pub(crate) fn place(&self) -> Arc<Place> {
        self.0.clone()
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        self.0.answered.store(true, Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state.lock().leave(self);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::task::yield_now;

    use super::*;
    use crate::seldom::INTERVAL;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);

    fn places(connections_max: usize, strangers_max: usize, per_source_max: Option<usize>) -> Arc<Places> {
        Places::new(Bounds { connections_max, strangers_max, per_source_max })
    }

    /// A connection that stays until it is closed.
    async fn connect(places: &Arc<Places>, prepare: impl FnOnce(&Arc<Place>)) -> Weak<Place> {
        let place = places.enter(None, NOW).await.unwrap();
        prepare(&place);
        let (seen, serving) = (Arc::downgrade(&place), place.clone());
        let task = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(serving);
        });
        place.serve_in(task.abort_handle());
        seen
    }

    #[tokio::test]
    async fn the_oldest_idle_stranger_leaves_first_and_never_a_known_connection() {
        let places = places(4, 4, None);
        let known = connect(&places, |place| place.keep()).await;
        let busy = connect(&places, |place| std::mem::forget(place.request())).await;
        let (older, newer) = (connect(&places, |_| ()).await, connect(&places, |_| ()).await);
        let newcomer = connect(&places, |place| place.keep()).await;
        assert!(older.upgrade().is_none(), "its place went to the newcomer");
        assert!([&known, &busy, &newer, &newcomer].iter().all(|place| place.upgrade().is_some()));
        let last = connect(&places, |place| place.keep()).await;
        assert!(newer.upgrade().is_none() && last.upgrade().is_some());
        assert!(places.enter(None, NOW).now_or_never().is_none(), "no connection is left that may be closed");
    }

    #[tokio::test]
    async fn a_stranger_that_had_an_answer_is_closed_after_one_that_had_none() {
        let places = places(8, 8, None);
        let sender = connect(&places, |_| ()).await;
        let mut others = Vec::new();
        for _ in 0..20 {
            if let Some(sender) = sender.upgrade() {
                drop(sender.request());
            }
            others.push(connect(&places, |_| ()).await);
            yield_now().await;
        }
        assert!(sender.upgrade().is_some() && others[0].upgrade().is_none());
        for _ in 0..20 {
            others.push(connect(&places, |_| ()).await);
            yield_now().await;
        }
        assert!(sender.upgrade().is_none(), "it had no further answer");
    }

    #[tokio::test]
    async fn strangers_that_are_always_busy_do_not_get_the_places_that_are_kept() {
        let places = places(8, 6, None);
        let mut strangers = Vec::new();
        for _ in 0..20 {
            let place = places.enter(None, NOW).await.unwrap();
            let request = place.request();
            let task = tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(request);
            });
            place.serve_in(task.abort_handle());
            strangers.push(Arc::downgrade(&place));
            drop(place);
            yield_now().await;
        }
        let there = strangers.iter().filter(|place| place.upgrade().is_some()).count();
        assert_eq!(there, 6);
        assert!(strangers[14..].iter().all(|place| place.upgrade().is_some()), "the newest ones");
    }

    #[tokio::test]
    async fn strangers_have_a_part_of_the_places_only() {
        let places = places(8, 6, None);
        let mut strangers = Vec::new();
        for _ in 0..20 {
            strangers.push(connect(&places, |_| ()).await);
            // Those who have to leave get the time to do it.
            yield_now().await;
        }
        let there = strangers.iter().filter(|place| place.upgrade().is_some()).count();
        assert_eq!(there, 6);
        assert!(strangers[14..].iter().all(|place| place.upgrade().is_some()), "the newest ones");
    }

    #[tokio::test]
    async fn a_place_that_is_free_again_goes_to_the_one_who_waits_and_the_last_one_ends_the_drain() {
        let places = places(1, 1, None);
        let first = places.enter(None, NOW).await.unwrap();
        first.keep();
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.enter(None, NOW).await }
        });
        yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert!(places.empty().now_or_never().is_none());
        drop(second);
        places.empty().await;
    }

    #[tokio::test]
    async fn a_source_with_too_many_is_rejected_and_counted() {
        let (places, one, other) = (places(8, 8, Some(2)), source(1), source(2));
        let held = [places.enter(one, NOW).await.unwrap(), places.enter(one, NOW).await.unwrap()];
        for _ in 0..1000 {
            assert!(places.enter(one, NOW).await.is_none());
        }
        assert!(places.enter(other, NOW).await.is_some() && places.enter(None, NOW).await.is_some());
        assert_eq!(places.rejections.due(NOW.plus(INTERVAL)), Some(999), "one line was written for the first");
        drop(held);
        assert!(places.enter(one, NOW).await.is_some());
        assert!(places.state.lock().sources.is_empty(), "nothing is kept of those who left");
    }

    #[tokio::test]
    async fn fewer_places_than_are_taken_close_idle_strangers_as_new_ones_come_and_more_let_those_in_who_wait() {
        let places = places(4, 4, None);
        let known = connect(&places, |place| place.keep()).await;
        let strangers =
            [connect(&places, |_| ()).await, connect(&places, |_| ()).await, connect(&places, |_| ()).await];
        places.set_bounds(Bounds { connections_max: 2, strangers_max: 2, per_source_max: Some(1) });
        assert!(strangers.iter().all(|stranger| stranger.upgrade().is_some()), "nothing is closed for nothing");
        let newcomer = connect(&places, |place| place.keep()).await;
        assert!(strangers.iter().all(|stranger| stranger.upgrade().is_none()));
        let mut waits = Box::pin(places.enter(None, NOW));
        assert!((&mut waits).now_or_never().is_none());
        places.set_bounds(Bounds { connections_max: 3, strangers_max: 3, per_source_max: None });
        assert!(waits.now_or_never().flatten().is_some());
        assert!(known.upgrade().is_some() && newcomer.upgrade().is_some());
    }

    #[tokio::test]
    async fn connections_count_for_their_source_also_while_it_has_no_bound() {
        let places = places(9, 9, None);
        let first = places.enter(source(1), NOW).await;
        places.set_bounds(Bounds { connections_max: 9, strangers_max: 9, per_source_max: Some(1) });
        assert!(places.enter(source(1), NOW).await.is_none());
        drop(first);
        assert!(places.enter(source(1), NOW).await.is_some());
        assert!(places.state.lock().sources.is_empty());
    }

    #[tokio::test]
    async fn a_source_that_a_proxy_names_later_counts_from_then_on() {
        let places = places(8, 8, Some(2));
        let name = |place: &Place, last| place.name_source(source(last).unwrap(), NOW);
        let mut proxied = Vec::new();
        for _ in 0..4 {
            proxied.push(places.enter(None, NOW).await.unwrap());
        }
        assert!(name(&proxied[0], 1) && name(&proxied[1], 1) && name(&proxied[2], 2) && !name(&proxied[3], 1));
        assert_eq!((proxied[0].source(), proxied[3].source()), (source(1), None));
        assert!(places.enter(source(1), NOW).await.is_none() && places.enter(source(2), NOW).await.is_some());
        proxied.clear();
        assert!(places.state.lock().sources.is_empty());
    }

    #[tokio::test]
    async fn only_the_address_that_the_proxy_wrote_is_believed_and_only_where_it_is_declared() {
        let forwarded = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            headers
        };
        let (direct, proxied) = (Place::any(), Place::any());
        proxied.forwards();
        let last = forwarded(&["192.0.2.9", "192.0.2.8, 192.0.2.1"]);
        assert_eq!((direct.source_of(&last), proxied.source_of(&last)), (None, source(1)));
        for one in ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:4660"] {
            assert_eq!(proxied.source_of(&forwarded(&[one])), source(1), "{one}");
        }
        for none in ["", "unknown", "192.0.2.1, ", "192.0.2.1, _hidden"] {
            assert_eq!(proxied.source_of(&forwarded(&[none])), None, "{none}");
        }
        assert_eq!(proxied.source_of(&HeaderMap::new()), None);
        proxied.belongs_to_client_of(&last);
        direct.belongs_to_client_of(&last);
        assert_eq!((direct.source(), proxied.source()), (None, source(1)));
    }

    #[tokio::test]
    async fn each_free_place_goes_to_one_of_those_who_wait() {
        let places = places(2, 2, None);
        let held = [places.enter(None, NOW).await.unwrap(), places.enter(None, NOW).await.unwrap()];
        held.iter().for_each(|place| place.keep());
        let waiting = [0, 1].map(|_| {
            let places = places.clone();
            tokio::spawn(async move { places.enter(None, NOW).await })
        });
        yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        drop(held);
        let mut entered = Vec::new();
        for task in waiting {
            entered.push(task.await.unwrap().unwrap());
        }
    }

    fn source(last: u8) -> Option<Source> {
        Some(Source::of([192, 0, 2, last].into()))
    }
}
