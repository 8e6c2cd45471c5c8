//! What everything in one worker shares: the way to the service, the keys, the ledger, and the counts.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use anyhow::Result;
use tokio::sync::Notify;

use super::body::{Bodies, Stamp};
use super::clock;
use super::job::{Job, Outcome, Progress};
use super::keys::Keys;
use super::ledger::{Arrival, Ledger};
use super::net::Net;

/// The worker's surroundings.
pub(super) struct World {
    pub(super) job: Job,
    pub(super) net: Net,
    pub(super) keys: Keys,
    pub(super) bodies: Bodies,
    pub(super) ledger: RefCell<Ledger>,
    /// Marks this worker's messages.
    pub(super) run: u32,
    /// What happened since the last order was done.
    pub(super) outcome: RefCell<Outcome>,
    pub(super) progress: Cell<Progress>,
    /// Told of each message.
    pub(super) arrived: Notify,
    /// Told when everything that was accepted so far has arrived.
    pub(super) all_arrived: Notify,
}

impl World {
    pub(super) fn new(job: Job) -> Result<Self> {
        Ok(Self {
            net: Net::new(&job)?,
            keys: Keys::generate(&job.target.origin)?,
            bodies: Bodies::new(job.size)?,
            ledger: RefCell::default(),
            run: fastrand::u32(..),
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

/// What hears the messages that come on one connection.
pub(super) struct Ear {
    pub(super) world: Rc<World>,
    /// The connection's number: no two of a worker have the same.
    pub(super) connection: u32,
}

impl Ear {
    /// A message has come, with this stamp.
    pub(super) fn heard(&self, stamp: Option<Stamp>) {
        let now = clock::now();
        let stamp = stamp.filter(|stamp| stamp.run == self.world.run);
        let arrival = stamp.map_or(Arrival::Strange, |stamp| {
            self.world.ledger.borrow_mut().arrive(stamp.serial, self.connection, now)
        });
        let late = stamp.map_or(0, |stamp| now.saturating_sub(stamp.intended));
        self.world.note(|outcome| match arrival {
            Arrival::First => outcome.arrivals.record(late),
            Arrival::Again => outcome.again += 1,
            Arrival::Twice => outcome.twice += 1,
            Arrival::Strange => {}
        });
        if arrival == Arrival::First {
            self.world.progress(|progress| progress.arrived += 1);
            self.world.arrived.notify_waiters();
            if self.world.ledger.borrow().outstanding() == 0 {
                self.world.all_arrived.notify_one();
            }
        }
    }
}
