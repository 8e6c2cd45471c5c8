//! The only place in the service that reads the time. A manual clock drives every expiry and limit test.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;
use tokio::sync::watch;

/// Reads the time and waits for a moment, by the system's clock or by one that a test moves.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<watch::Sender<UnixMs>>),
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: UnixMs) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(start))))
    }

    /// The time now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock file")]
    pub fn now(&self) -> UnixMs {
        match &self.0 {
            Source::System => {
                // A system clock before 1970 counts as 1970.
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMs::from_millis(0).plus(since_epoch)
            }
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Moves a manual clock forward by `by`; has no effect on a system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|now| *now = now.plus(by));
        }
    }

    /// Waits until `moment` has come.
    pub async fn sleep_until(&self, moment: UnixMs) {
        match &self.0 {
            Source::System => tokio::time::sleep(moment.since(self.now())).await,
            Source::Manual(time) => {
                // The sender lives in `self`, so the wait ends only when the clock reaches the moment.
                let _ = time.subscribe().wait_for(|now| *now >= moment).await;
            }
        }
    }
}
