//! When the service stops, its sockets are closed one after the other, so that their clients do not all come back in the
//! same moment.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::{Sleep, sleep, timeout};

/// From one socket to the next: 500 new TLS handshakes a second are what one core of a small machine bears.
const STEP: Duration = Duration::from_millis(2);

/// How long a client may take to read what it is sent when it is dismissed, and to answer a goodbye.
pub(super) const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Gives each socket its turn.
#[derive(Debug)]
pub(in crate::doors) struct Drains {
    turns: AtomicU32,
    /// The last turn is this long after the first; if there are more sockets they share moments.
    within: Duration,
    sockets: Mutex<Sockets>,
}

/// Those that wait to hear that the service stops. A channel would take some two hundred octets for each.
#[derive(Debug, Default)]
struct Sockets {
    stopping: bool,
    waiting: Slab<Waker>,
}

/// Completes when the service stops and it is the socket's turn to end. Until then its client may acknowledge and ask.
pub(super) struct Dismissal<'a> {
    drains: &'a Drains,
    /// Its place among those that wait.
    place: Option<usize>,
    /// On the heap, because nearly all the time there is nothing to wait for.
    turn: Option<Pin<Box<Sleep>>>,
}

impl Drains {
    /// Half of the drain time-out is for closing, the other half for goodbyes.
    pub(in crate::doors) fn new(drain_timeout: Duration) -> Self {
        Self { turns: AtomicU32::new(0), within: drain_timeout / 2, sockets: Mutex::default() }
    }

    /// The service stops: sockets get their turns from now on.
    pub(in crate::doors) fn begin(&self) {
        let mut sockets = self.lock();
        sockets.stopping = true;
        let waiting = std::mem::take(&mut sockets.waiting);
        drop(sockets);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// What tells a socket that it has to end.
    pub(super) fn dismissal(&self) -> Dismissal<'_> {
        Dismissal { drains: self, place: None, turn: None }
    }

    fn lock(&self) -> MutexGuard<'_, Sockets> {
        // Nothing panics while it holds the lock.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the next socket has to wait.
    fn turn(&self) -> Duration {
        let steps = u32::try_from(self.within.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        STEP * (self.turns.fetch_add(1, Ordering::Relaxed) % steps.max(1))
    }
}

impl Future for Dismissal<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.turn.is_none() {
            let mut sockets = this.drains.lock();
            if !sockets.stopping {
                match this.place.and_then(|place| sockets.waiting.get_mut(place)) {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => this.place = Some(sockets.waiting.insert(cx.waker().clone())),
                }
                return Poll::Pending;
            }
            this.place = None;
        }
        this.turn.get_or_insert_with(|| Box::pin(sleep(this.drains.turn()))).as_mut().poll(cx)
    }
}

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.drains.lock().waiting.try_remove(place);
        }
    }
}

/// Does a socket's work, and says whether its dismissal came meanwhile. Then the work has a moment left, because a client
/// that reads nothing must not hold up the end of the service; `None` if that was not enough.
pub(super) async fn work<T>(
    work: impl Future<Output = T>,
    dismissal: Pin<&mut impl Future<Output = ()>>,
) -> (Option<T>, bool) {
    let mut work = pin!(work);
    tokio::select! {
        done = work.as_mut() => (Some(done), false),
        () = dismissal => (timeout(GOODBYE_TIMEOUT, work).await.ok(), true),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_first_goes_at_once_and_the_others_follow_within_half_of_the_time() {
        let drains = Drains::new(Duration::from_secs(10));
        assert_eq!(drains.turn(), Duration::ZERO);
        assert_eq!(drains.turn(), STEP);
        let turns: Vec<_> = (0..10_000).map(|_| drains.turn()).collect();
        assert!(turns.iter().all(|turn| *turn < Duration::from_secs(5)));
        assert!(turns.iter().any(|turn| *turn > Duration::from_secs(4)));
        assert_eq!(Drains::new(Duration::ZERO).turn(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_socket_is_dismissed_when_the_service_stops_whether_it_came_before_or_after() {
        let drains = Arc::new(Drains::new(Duration::ZERO));
        let early = tokio::spawn({
            let drains = drains.clone();
            async move { drains.dismissal().await }
        });
        while drains.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        drains.begin();
        timeout(Duration::from_secs(20), early).await.unwrap().unwrap();
        timeout(Duration::from_secs(20), drains.dismissal()).await.unwrap();
    }

    #[test]
    fn a_socket_that_ends_leaves_nothing_behind() {
        let drains = Drains::new(Duration::ZERO);
        let mut stays = pin!(drains.dismissal());
        assert!(stays.as_mut().now_or_never().is_none());
        for _ in 0..3 {
            assert!(drains.dismissal().now_or_never().is_none());
            assert!(stays.as_mut().now_or_never().is_none(), "it has one place however often it is polled");
        }
        assert_eq!(drains.lock().waiting.len(), 1);
    }
}
