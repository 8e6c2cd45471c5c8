//! What all parts of one worker share: the way to the service, the keys, the ledger, and the counts.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::body::{Bodies, Stamp};
use crate::clock;
use crate::error::Result;
use crate::job::{Job, Outcome, Progress};
use crate::keys::Keys;
use crate::ledger::{Arrival, Ledger};
use crate::net::Net;

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
