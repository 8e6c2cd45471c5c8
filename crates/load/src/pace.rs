//! When messages are due: as fast as they are answered (a closed loop), or at a fixed rate whatever the service does (an
//! open loop). There each message's time counts from the moment when it was due, so a service that stalls is charged for
//! all messages that were due meanwhile.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock;
use crate::clock::SECOND;
use crate::error::{Blame, Result};
use crate::job::Plan;

/// When the next message is due. All senders share one.
pub(super) enum Pace {
    /// Now, until the messages or the time of the plan are used up.
    Closed { left: Cell<u64>, until: u64 },
    /// When a thread of its own sends the time: the runtime's own timers are a millisecond coarse.
    Open(Mutex<UnboundedReceiver<u64>>),
}

impl Pace {
    /// Begins now.
    pub(super) fn start(plan: &Plan) -> Result<Self> {
        let start = clock::now();
        let messages = plan.messages.unwrap_or(u64::MAX);
        let until = plan.seconds.map_or(u64::MAX, |seconds| start + seconds * SECOND);
        let Some(rate) = plan.rate else {
            return Ok(Self::Closed { left: Cell::new(messages), until });
        };
        let (due, ticks) = unbounded_channel();
        let run = move || tick(&Schedule { start, rate, messages, until }, &due);
        thread::Builder::new().name("pace".to_owned()).spawn(run).blame_generator("cannot start a thread")?;
        Ok(Self::Open(Mutex::new(ticks)))
    }

    /// When the next message should be sent, once that time has come; `None` if there is no more to send.
    pub(super) async fn next(&self) -> Option<u64> {
        match self {
            Self::Open(ticks) => ticks.lock().await.recv().await,
            Self::Closed { left, until } => {
                let now = clock::now();
                let more = left.get() > 0 && now < *until;
                more.then(|| left.set(left.get() - 1)).map(|()| now)
            }
        }
    }
}

/// The times of an open loop.
struct Schedule {
    start: u64,
    rate: f64,
    messages: u64,
    until: u64,
}

impl Schedule {
    /// When message `n` is due.
    fn due(&self, n: u64) -> Option<u64> {
        let due = self.start + (n as f64 * SECOND as f64 / self.rate) as u64;
        (n < self.messages && due < self.until).then_some(due)
    }
}

/// Sends each time when it has come, until the end or until the senders are gone.
fn tick(schedule: &Schedule, due: &UnboundedSender<u64>) {
    for n in 0.. {
        let Some(at) = schedule.due(n) else { return };
        thread::sleep(Duration::from_nanos(at.saturating_sub(clock::now())));
        if due.send(at).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Mix;

    #[test]
    fn the_times_of_an_open_loop_do_not_depend_on_anything_that_happens() {
        let schedule = Schedule { start: 5, rate: 50.0, messages: 3, until: u64::MAX };
        let due: Vec<_> = (0..4).map(|n| schedule.due(n)).collect();
        assert_eq!(due, [Some(5), Some(20_000_005), Some(40_000_005), None]);
        let short = Schedule { start: 0, rate: 10.0, messages: u64::MAX, until: SECOND };
        assert_eq!((0..100).filter_map(|n| short.due(n)).count(), 10);
    }

    #[tokio::test]
    async fn a_closed_loop_ends_after_its_messages() {
        let plan = Plan { messages: Some(2), seconds: None, rate: None, mix: Mix::Plain };
        let pace = Pace::start(&plan).unwrap();
        assert!(pace.next().await.is_some() && pace.next().await.is_some() && pace.next().await.is_none());
    }
}
