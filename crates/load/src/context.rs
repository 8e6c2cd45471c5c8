//! What all parts of one worker share: the way to the service, the keys, the ledger, and the counts.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::body::{Bodies, Stamp};
use crate::clock;
use crate::error::Result;
use crate::job::{Job, Outcome, Progress};
use crate::keys::Keys;
use crate::ledger::{Arrival, Ledger};
use crate::net::Net;

/// How often it is checked whether wake streams are still awaited.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The state of a worker.
pub(super) struct Context {
    pub(super) job: Job,
    pub(super) net: Net,
    pub(super) keys: Keys,
    pub(super) bodies: Bodies,
    pub(super) ledger: RefCell<Ledger>,
    /// Marks this worker's messages.
    pub(super) worker: u32,
    /// What happened since the last order was done.
    pub(super) outcome: RefCell<Outcome>,
    pub(super) progress: Cell<Progress>,
    /// Notified of each message.
    pub(super) arrived: Notify,
    /// Notified when all that was accepted so far has arrived.
    pub(super) all_arrived: Notify,
    /// How many wake streams each connection has to have, and how many further ones were opened.
    pub(super) profiles: watch::Sender<usize>,
    further_streams: Cell<usize>,
    /// Notified of each of them.
    opened: Notify,
}

impl Context {
    pub(super) fn new(job: Job) -> Result<Self> {
        Ok(Self {
            net: Net::new(&job)?,
            keys: Keys::generate(&job.target.origin)?,
            bodies: Bodies::new(job.size)?,
            ledger: RefCell::default(),
            worker: fastrand::u32(..),
            outcome: RefCell::default(),
            progress: Cell::default(),
            arrived: Notify::new(),
            all_arrived: Notify::new(),
            profiles: watch::Sender::new(1),
            further_streams: Cell::new(0),
            opened: Notify::new(),
            job,
        })
    }

    /// Notes something of the order that is being carried out.
    pub(super) fn note(&self, note: impl FnOnce(&mut Outcome)) {
        note(&mut self.outcome.borrow_mut());
    }

    /// Notes something that is shown while it happens.
    pub(super) fn progress(&self, note: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.get();
        note(&mut progress);
        self.progress.set(progress);
    }

    /// A connection has opened one more wake stream.
    pub(super) fn stream_opened(&self) {
        self.further_streams.set(self.further_streams.get() + 1);
        self.opened.notify_one();
    }

    /// Waits until every connected agent has this many wake streams.
    pub(super) async fn have_profiles(&self, profiles: usize) {
        self.profiles.send_replace(profiles);
        // A connection that ends makes the target smaller.
        while (self.further_streams.get() as u64) < self.progress.get().connected * (profiles as u64 - 1) {
            let _ = timeout(CHECK_INTERVAL, self.opened.notified()).await;
        }
    }

    /// An agent's connection has ended by itself.
    pub(super) fn broken(&self, why: &io::Error) {
        self.progress(|progress| progress.connected -= 1);
        self.note(|outcome| {
            outcome.broken += 1;
            outcome.broken_why.get_or_insert_with(|| why.to_string());
        });
    }
}

/// Receives the messages of one connection.
pub(super) struct Receiver {
    pub(super) context: Rc<Context>,
    /// The connection's number: no two of a worker have the same.
    pub(super) connection: u32,
}

impl Receiver {
    /// A message has come, with this stamp.
    pub(super) fn received(&self, stamp: Option<Stamp>) {
        let now = clock::now();
        let stamp = stamp.filter(|stamp| stamp.worker == self.context.worker);
        let arrival = stamp.map_or(Arrival::Unknown, |stamp| {
            self.context.ledger.borrow_mut().arrive(stamp.serial, self.connection, now)
        });
        let late = stamp.map_or(0, |stamp| now.saturating_sub(stamp.intended));
        self.context.note(|outcome| match arrival {
            Arrival::First => outcome.arrivals.record(late),
            Arrival::Again => outcome.again += 1,
            Arrival::Twice => outcome.twice += 1,
            Arrival::Unknown => {}
        });
        if arrival == Arrival::First {
            self.context.progress(|progress| progress.arrived += 1);
            self.context.arrived.notify_waiters();
            if self.context.ledger.borrow().outstanding() == 0 {
                self.context.all_arrived.notify_one();
            }
        }
    }
}
