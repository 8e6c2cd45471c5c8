//! What a watcher must and must not learn.

use doorbell_mailbox::{Effect, Input, SubscriberId};
use doorbell_protocol::id::MessageId;

use super::facts::{Fact, LinkFact};
use super::{Judge, Violation, broken};

/// How long an agent has no subscriber before it counts as away.
pub(crate) const GRACE_MS: u64 = 1_000;
/// How long it may show no life after it was sent a message.
const ANSWER_MS: u64 = 5_000;

pub(crate) const REPORTED: &str = "what waits is reported";
pub(crate) const TRUE: &str = "what is reported is true";
pub(crate) const QUIET: &str = "a watcher learns that nothing waits, or that the agent is back";

impl Judge {
    pub(crate) fn knows_of_messages(&self, watcher: SubscriberId) -> bool {
        self.subscribers.get(&watcher).is_some_and(|watcher| watcher.reported.is_some())
    }

    pub(super) fn follow_life(&mut self, input: &Input) {
        let connects = matches!(input, Input::Connect { spec, .. } if !LinkFact::new(*spec).watches());
        if connects
            || matches!(
                input,
                Input::Ack { .. } | Input::NotPassedOn { .. } | Input::Declined { .. } | Input::Arrived { .. }
            )
        {
            self.life_at = self.elapsed;
        }
    }

    pub(super) fn follow_closing(&mut self, gone: &LinkFact) {
        if gone.watches() {
            return;
        }
        if self.is_away() {
            self.away_since = self.elapsed;
        }
        self.subscribers.values_mut().for_each(|watcher| watcher.stale = true);
    }

    fn is_away(&self) -> bool {
        self.subscribers.values().all(|subscriber| subscriber.watches())
    }

    fn is_away_for_long(&self) -> bool {
        self.is_away() && self.elapsed - self.away_since >= GRACE_MS
    }

    /// The messages that the store holds for the watcher, as far as is known.
    fn possible(&self, watcher: &LinkFact) -> impl Iterator<Item = (&MessageId, &Fact)> {
        let waits = |fact: &Fact| fact.announced && !fact.transient && fact.is_live(self.now);
        self.facts.iter().filter(move |(_, fact)| waits(fact) && watcher.carries(&fact.entry))
    }

    /// Those that the mailbox knows of without doubt.
    fn sure(&self, watcher: &LinkFact) -> impl Iterator<Item = (&MessageId, &Fact)> {
        self.possible(watcher).filter(|(_, fact)| fact.in_memory && !fact.excused)
    }

    pub(super) fn sees_waiting(&mut self, effect: &Effect) -> Result<(), Violation> {
        let Effect::Waiting { subscriber, messages, urgency, since, expires } = *effect else { return Ok(()) };
        let Some(watcher) = self.subscribers.get(&subscriber).filter(|watcher| watcher.watches()) else {
            return broken("only open watchers are notified", subscriber);
        };
        let (known, stale) = (watcher.reported, watcher.stale);
        let (sure, possible) = (self.sure(watcher).count(), self.possible(watcher).count());
        let is_one = |fits: &dyn Fn(&MessageId, &Fact) -> bool| self.possible(watcher).any(|(id, fact)| fits(id, fact));
        let is_true = (sure..=possible).contains(&(messages as usize))
            && is_one(&|_, fact| fact.entry.urgency == urgency)
            && is_one(&|id, _| id.minted_at() == since)
            && is_one(&|_, fact| fact.entry.expires_at == expires);
        let silent = self.elapsed - self.life_at >= ANSWER_MS && !self.is_away();
        if !is_true {
            return broken(TRUE, (effect, sure, possible));
        }
        if !silent && !self.is_away_for_long() {
            return broken("nothing is reported of an agent that is there", effect);
        }
        if !stale && known.is_some_and(|known| urgency <= known) {
            return broken("only news is reported", effect);
        }
        self.counts.add(match known {
            Some(known) if urgency > known => "reported: more urgent",
            _ if silent => "reported: no life",
            _ => "reported: away",
        });
        let watcher = self.subscribers.get_mut(&subscriber).expect("it was found above");
        watcher.reported = Some(urgency);
        watcher.stale = false;
        Ok(())
    }

    pub(super) fn sees_quiet(&mut self, subscriber: SubscriberId) -> Result<(), Violation> {
        let Some(watcher) = self.subscribers.get(&subscriber).filter(|watcher| watcher.reported.is_some()) else {
            return broken("quiet follows a report", subscriber);
        };
        let waits = self.sure(watcher).next().map(|(id, _)| *id);
        if waits.is_some() && self.is_away() {
            return broken("quiet is true", (subscriber, waits));
        }
        self.counts.add("quiet");
        self.subscribers.get_mut(&subscriber).expect("it was found above").reported = None;
        Ok(())
    }

    /// After each event every watcher knows what it has to know.
    pub(super) fn watchers_know(&self) -> Result<(), Violation> {
        if !self.complete || self.loading.is_some() {
            return Ok(());
        }
        let is_back = !self.is_away() && self.elapsed - self.life_at < ANSWER_MS;
        let must_know = self.is_away_for_long() || self.is_silent();
        for (id, watcher) in self.subscribers.iter().filter(|(_, watcher)| watcher.watches()) {
            let greatest = self.sure(watcher).map(|(_, fact)| fact.entry.urgency).max();
            if must_know && greatest > watcher.reported {
                return broken(REPORTED, (id, greatest, watcher.reported));
            }
            if watcher.reported.is_some() && (is_back || self.possible(watcher).next().is_none()) {
                return broken(QUIET, (id, watcher.reported));
            }
        }
        Ok(())
    }

    /// Whether a message has been on its way for too long, without any sign of life.
    fn is_silent(&self) -> bool {
        let ids = self.facts.keys();
        let offers = |id: &MessageId| {
            let held = self.subscribers.values().filter(|subscriber| subscriber.holds(*id, self.elapsed));
            held.filter_map(|subscriber| subscriber.sent_at(*id)).next()
        };
        ids.filter_map(offers).any(|at| self.elapsed - at.max(self.life_at).max(self.watched_since) >= ANSWER_MS)
    }
}
