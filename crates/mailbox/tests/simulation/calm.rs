//! The end of a schedule: faults stop, the agent stays, and everything that should arrive has to.
//!
//! Safety alone is kept by a mailbox that does nothing; a rule like "retry after a time-out" shows only here.

use std::collections::BTreeMap;

use doorbell_mailbox::{Input, Mode, Retry, Scope, SubscriberSpec};
use doorbell_protocol::id::MessageId;

use crate::judge::watch::{GRACE_MS, REPORTED};
use crate::judge::{Violation, broken};
use crate::subject::RULES;
use crate::world::World;

/// How often the agent's acknowledgement of one message may still be lost: a subscriber offers it once more than that.
const ACKS_LOST_MAX: u8 = RULES.offers_max - 1;
const ARRIVES: &str = "everything that should arrive arrives";

impl World {
    pub(crate) fn calm(&mut self) -> Result<(), Violation> {
        self.store.faulty = false;
        self.late_acks.clear();
        self.close_all()?;
        self.watch_what_waits()?;
        if self.random.percent(50) {
            self.hold_until_empty()?
        } else {
            self.poll_until_empty()?
        }
        self.close_all()?;
        if !self.subject.is_idle() {
            return broken("a quiet mailbox is idle", ());
        }
        self.judge.ends()
    }

    fn close_all(&mut self) -> Result<(), Violation> {
        let subscribers: Vec<_> = self.subscribers.keys().copied().collect();
        subscribers.into_iter().try_for_each(|subscriber| self.close(subscriber))?;
        self.settle_store()
    }

    /// A watcher learns what waits while the agent is away.
    fn watch_what_waits(&mut self) -> Result<(), Violation> {
        let watcher = self.open(SubscriberSpec::watch(None))?;
        self.settle_store()?;
        let end = self.judge.elapsed + GRACE_MS;
        while !self.undelivered().is_empty() && !self.judge.knows_of_messages(watcher) {
            let wait = self.subject.next_deadline().map(|at| at.since(self.now).as_millis() as u64);
            match wait {
                Some(ms) if self.judge.elapsed + ms <= end => {
                    self.pass_ms(ms);
                    self.feed(Input::Tick)?;
                }
                _ => return broken(REPORTED, (wait, self.undelivered())),
            }
        }
        self.close_all()
    }

    /// The agent keeps one subscriber open.
    fn hold_until_empty(&mut self) -> Result<(), Violation> {
        let spec = self.patient(Mode::Hold);
        self.open(spec)?;
        let end = self.judge.elapsed + self.time_allowed_ms();
        let mut lost = BTreeMap::new();
        loop {
            self.receive(&mut lost)?;
            if self.undelivered().is_empty() {
                return Ok(());
            }
            self.wait_until(end)?;
        }
    }

    /// The agent asks again and again for what there is (`Prefer: wait=0`); each time the answer has to end.
    fn poll_until_empty(&mut self) -> Result<(), Violation> {
        let mut lost = BTreeMap::new();
        for _ in 0..=ACKS_LOST_MAX {
            let spec = self.patient(Mode::Drain);
            let subscriber = self.open(spec)?;
            let end = self.judge.elapsed + self.time_allowed_ms();
            loop {
                self.receive(&mut lost)?;
                if self.drained.contains(&subscriber) || !self.subscribers.contains_key(&subscriber) {
                    break;
                }
                self.wait_until(end)?;
            }
            self.close(subscriber)?;
            self.settle_store()?;
        }
        let left = self.undelivered();
        if left.is_empty() { Ok(()) } else { broken(ARRIVES, left) }
    }

    fn patient(&mut self, mode: Mode) -> SubscriberSpec {
        let window = self.random.pick(&[1, 2, 4]).unwrap_or(1);
        SubscriberSpec { scope: Scope::Agent, floor: None, mode, window, retry: Retry::SameSubscriber }
    }

    /// Deals with all that is under way; an acknowledgement may be lost, but not forever.
    fn receive(&mut self, lost: &mut BTreeMap<MessageId, u8>) -> Result<(), Violation> {
        loop {
            self.settle_store()?;
            let Some((_, push)) = self.take_push() else { return Ok(()) };
            let losses = lost.entry(push.id).or_insert(0);
            if *losses < ACKS_LOST_MAX && self.random.percent(30) {
                *losses += 1;
                if self.random.percent(30) && !push.second {
                    self.not_passed_on(push)?;
                }
            } else {
                self.ack(push.id)?;
            }
        }
    }

    fn settle_store(&mut self) -> Result<(), Violation> {
        while !self.store.is_quiet() {
            self.store.commit(usize::MAX, &mut self.random);
            self.answer()?;
            self.page()?;
        }
        Ok(())
    }

    /// Goes on to the next deadline, which must come in time.
    fn wait_until(&mut self, end: u64) -> Result<(), Violation> {
        let wait = self.subject.next_deadline().map(|at| at.since(self.now).as_millis() as u64);
        match wait {
            Some(ms) if self.judge.elapsed + ms <= end => {
                self.pass_ms(ms);
                self.feed(Input::Tick)
            }
            _ => broken(ARRIVES, (wait, self.undelivered())),
        }
    }

    /// Each message may need all its offers, one after the other.
    fn time_allowed_ms(&self) -> u64 {
        let messages = 2 + self.judge.facts.len() as u64;
        messages * u64::from(RULES.offers_max) * u64::from(RULES.ack_timeout_ms)
    }

    /// What the store holds and has not expired.
    fn undelivered(&self) -> Vec<MessageId> {
        let live = self.store.rows.iter().filter(|(_, row)| row.entry.expires_at > self.now);
        live.map(|(id, _)| *id).collect()
    }
}
