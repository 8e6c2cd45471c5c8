//! When the service stops, it closes its sockets one after the other, so that their clients do not all reconnect at the
//! same moment.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::{Sleep, sleep, timeout};

use crate::locked::Locked;

/// The time between two sockets: one core of a small machine handles 500 new TLS handshakes per second.
const STEP: Duration = Duration::from_millis(2);

/// How long a client may take to read the last frames and to answer a Close.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Gives each socket its turn to close.
#[derive(Debug, Default)]
pub(in crate::doors) struct ShutdownRegistry {
    turns: AtomicU32,
    /// How many turns there are; with more sockets, several share a turn.
    steps: AtomicU32,
    sockets: Locked<Sockets>,
}

/// The sockets that wait for the shutdown. A channel would take about 200 bytes for each.
#[derive(Debug, Default)]
struct Sockets {
    stopping: bool,
    waiting: Slab<Waker>,
}

/// Completes when the service stops and it is the socket's turn. Until then its client may acknowledge and send
/// requests.
pub(super) struct ShutdownSignal<'a> {
    registry: &'a ShutdownRegistry,
    /// The index of its waker.
    index: Option<usize>,
    /// On the heap, because it is empty nearly all the time.
    turn: Option<Pin<Box<Sleep>>>,
}

impl ShutdownRegistry {
    /// The service stops within this time: from now on the sockets get their turns. Half of it is for them, the other half
    /// for the last frames.
    pub(in crate::doors) fn begin(&self, drain_timeout: Duration) {
        // A time-out that is too long for `u32` milliseconds spreads the turns over the longest time that fits.
        let steps = u32::try_from((drain_timeout / 2).as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        self.steps.store(steps, Ordering::Relaxed);
        let mut sockets = self.sockets.lock();
        sockets.stopping = true;
        let waiting = std::mem::take(&mut sockets.waiting);
        drop(sockets);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// A signal that ends one socket.
    pub(super) fn signal(&self) -> ShutdownSignal<'_> {
        ShutdownSignal { registry: self, index: None, turn: None }
    }

    /// How long the next socket waits.
    fn turn(&self) -> Duration {
        let steps = self.steps.load(Ordering::Relaxed);
        STEP * (self.turns.fetch_add(1, Ordering::Relaxed) % steps.max(1))
    }
}

impl Future for ShutdownSignal<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.turn.is_none() {
            let mut sockets = this.registry.sockets.lock();
            if !sockets.stopping {
                match this.index.and_then(|index| sockets.waiting.get_mut(index)) {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => this.index = Some(sockets.waiting.insert(cx.waker().clone())),
                }
                return Poll::Pending;
            }
            this.index = None;
        }
        this.turn.get_or_insert_with(|| Box::pin(sleep(this.registry.turn()))).as_mut().poll(cx)
    }
}

impl Drop for ShutdownSignal<'_> {
    fn drop(&mut self) {
        if let Some(index) = self.index {
            self.registry.sockets.lock().waiting.try_remove(index);
        }
    }
}

/// Does a socket's work, and returns whether the shutdown signal came meanwhile. After the signal the work has a short
/// time left, because a client that does not read must not delay the end of the service; `None` if the time was not
/// enough.
pub(super) async fn run<T>(
    work: impl Future<Output = T>,
    signal: Pin<&mut impl Future<Output = ()>>,
) -> (Option<T>, bool) {
    let mut work = pin!(work);
    tokio::select! {
        done = work.as_mut() => (Some(done), false),
        () = signal => (timeout(CLOSE_TIMEOUT, work).await.ok(), true),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_first_goes_at_once_and_the_others_follow_within_half_of_the_time() {
        let registry = ShutdownRegistry::default();
        registry.begin(Duration::from_secs(10));
        assert_eq!(registry.turn(), Duration::ZERO);
        assert_eq!(registry.turn(), STEP);
        let turns: Vec<_> = (0..10_000).map(|_| registry.turn()).collect();
        assert!(turns.iter().all(|turn| *turn < Duration::from_secs(5)));
        assert!(turns.iter().any(|turn| *turn > Duration::from_secs(4)));
        assert_eq!(ShutdownRegistry::default().turn(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_socket_is_dismissed_when_the_service_stops_whether_it_came_before_or_after() {
        let registry = Arc::new(ShutdownRegistry::default());
        let early = tokio::spawn({
            let registry = registry.clone();
            async move { registry.signal().await }
        });
        while registry.sockets.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        registry.begin(Duration::ZERO);
        timeout(Duration::from_secs(20), early).await.unwrap().unwrap();
        timeout(Duration::from_secs(20), registry.signal()).await.unwrap();
    }

    #[test]
    fn a_socket_that_ends_leaves_nothing_behind() {
        let registry = ShutdownRegistry::default();
        let mut stays = pin!(registry.signal());
        assert!(stays.as_mut().now_or_never().is_none());
        for _ in 0..3 {
            assert!(registry.signal().now_or_never().is_none());
            assert!(stays.as_mut().now_or_never().is_none(), "it has one entry however often it is polled");
        }
        assert_eq!(registry.sockets.lock().waiting.len(), 1);
    }
}
