//! One schedule's world: the mailbox, the store, the subscribers, the agent and the clock, and what may happen next.

use std::collections::BTreeMap;
use std::time::Duration;

use doorbell_mailbox::{Effect, Input, RequestId, SubscriberId};
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

use crate::judge::{Judge, Violation};
use crate::random::Random;
use crate::store::{Store, Write};
use crate::subject::{Bug, Subject};

const START: UnixMs = UnixMs::from_millis(1_800_000_000_000);

/// A push that the agent has received, or will.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub(crate) id: MessageId,
    /// Under the second version.
    pub(crate) second: bool,
}

/// One event and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: UnixMs,
    pub(crate) input: Input,
    pub(crate) effects: Vec<Effect>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: UnixMs,
    pub(crate) bug: Option<Bug>,
    pub(crate) subject: Subject,
    pub(crate) store: Store,
    pub(crate) judge: Judge,
    /// The open subscribers, with the pushes that the agent has not dealt with.
    pub(crate) subscribers: BTreeMap<SubscriberId, Vec<Push>>,
    /// Subscribers that were notified of their end.
    pub(crate) drained: Vec<SubscriberId>,
    /// Acknowledgements on their way.
    pub(crate) late_acks: Vec<Push>,
    pub(crate) log: Vec<Moment>,
    /// What the store is to do with a message that is submitted: its topic.
    pub(crate) topics: BTreeMap<RequestId, Option<u8>>,
    next_number: u64,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let random = Random::new(seed);
        let judge = Judge::new(START);
        let subscriptions = (1..=3).map(SubscriptionId::from_raw).collect();
        Self {
            random,
            now: START,
            bug,
            subject: Subject::new(bug),
            store: Store::new(subscriptions),
            judge,
            subscribers: BTreeMap::new(),
            drained: Vec::new(),
            late_acks: Vec::new(),
            log: Vec::new(),
            topics: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// A number that was not used before, for a request, a subscriber or a message.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Feeds the mailbox under the eyes of the judge and carries out what it asks for.
    pub(crate) fn feed(&mut self, input: Input) -> Result<(), Violation> {
        self.judge.takes(&input);
        let failed_erasure = self.failed_erasure(&input);
        let mut effects = Vec::new();
        let outcome = self.subject.handle(input.clone(), self.now, &mut effects);
        self.log.push(Moment { at: self.now, input: input.clone(), effects: effects.clone() });
        outcome?;
        for effect in &effects {
            self.judge.sees(effect, &self.store)?;
            self.carry_out(effect, &input);
        }
        if let Some(id) = failed_erasure {
            self.judge.not_erased(id);
        }
        self.judge.rests(&self.subject)
    }

    /// The message that the store should have erased and still has.
    fn failed_erasure(&self, input: &Input) -> Option<MessageId> {
        match input {
            Input::Erased { id } if self.store.rows.contains_key(id) => Some(*id),
            _ => None,
        }
    }

    fn carry_out(&mut self, effect: &Effect, input: &Input) {
        match *effect {
            Effect::Persist { request } => {
                if let Input::Submit { entry, .. } = input {
                    let topic = self.topics.get(&request).copied().flatten();
                    self.store.write(Write::Append { request, row: crate::store::Row { entry: *entry, topic } });
                }
            }
            Effect::Erase { id, .. } => self.store.write(Write::Erase { id }),
            Effect::Load { after } => self.store.ask(after),
            Effect::Send { subscriber, id, second } => {
                self.subscribers.entry(subscriber).or_default().push(Push { id, second });
            }
            Effect::Drained { subscriber } => self.drained.push(subscriber),
            Effect::Close { subscriber, .. } => {
                self.subscribers.remove(&subscriber);
            }
            Effect::Accept { .. }
            | Effect::Reject { .. }
            | Effect::Acked { .. }
            | Effect::Release { .. }
            | Effect::Waiting { .. }
            | Effect::Quiet { .. } => {}
        }
    }

    /// Lets time pass; whether a tick follows is the caller's business.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.judge.now = self.now;
        self.judge.elapsed += ms;
    }

    /// The service dies and starts again: only what is committed is left. The clock may stand elsewhere then: nothing
    /// shows how long the service was away if the wall clock was wrong, and its last record may be old.
    pub(crate) fn crash(&mut self) {
        self.judge.counts.add("crash");
        if self.store.crash() {
            self.judge.counts.add("crash loses writes");
        }
        self.start_anew();
        let ms = self.random.between(1, 7_200_000) as i64;
        match self.random.below(6) {
            0 => self.move_clock_ms("clock back after a crash", -ms),
            1 => self.move_clock_ms("clock ahead after a crash", ms),
            2 => self.move_clock_ms("clock far ahead after a crash", 100 * 24 * 3_600_000),
            _ => {}
        }
        self.judge.crashed(&self.store);
    }

    fn move_clock_ms(&mut self, event: &'static str, ms: i64) {
        self.now = UnixMs::from_millis(self.now.as_millis() + ms);
        self.judge.now = self.now;
        self.judge.counts.add(event);
    }

    /// Drops an idle mailbox, as the driver does to save memory.
    pub(crate) fn evict(&mut self) -> Result<(), Violation> {
        if self.subject.is_idle() {
            self.judge.ends()?;
            self.judge.counts.add("evicted");
            self.start_anew();
            self.judge.forgotten();
        }
        Ok(())
    }

    fn start_anew(&mut self) {
        self.subject = Subject::new(self.bug);
        self.subscribers.clear();
        self.drained.clear();
    }
}
