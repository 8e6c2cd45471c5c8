//! When the service stops, its sockets are closed one after the other, so that their clients do not all come back in the
//! same moment.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

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
}

impl Drains {
    /// Half of the drain time-out is for closing, the other half for goodbyes.
    pub(in crate::doors) fn new(drain_timeout: Duration) -> Self {
        Self { turns: AtomicU32::new(0), within: drain_timeout / 2 }
    }

    /// Completes when the service stops and it is the socket's turn to end. Until then its client may acknowledge and ask.
    pub(super) async fn dismissal(&self, mut stopping: watch::Receiver<bool>) {
        // An error means that the service is gone, which is the end of draining too.
        let _ = stopping.wait_for(|stop| *stop).await;
        // On the heap, because nearly all the time there is nothing to wait for.
        Box::pin(sleep(self.turn())).await;
    }

    /// How long the next socket has to wait.
    fn turn(&self) -> Duration {
        let steps = u32::try_from(self.within.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        STEP * (self.turns.fetch_add(1, Ordering::Relaxed) % steps.max(1))
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
}
