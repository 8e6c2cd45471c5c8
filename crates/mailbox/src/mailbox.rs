//! The mailbox: what it remembers, and which file handles which event.

use std::collections::BTreeMap;

use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::{Input, RequestId};
use crate::load::Load;
use crate::queue::Queue;
use crate::rules::Rules;
use crate::settle::Settled;
use crate::watch::Watch;

/// The delivery rules of one user agent.
///
/// It holds messages in memory only while a subscriber is open; without one, the store is the only place where they wait.
#[derive(Debug)]
pub struct Mailbox {
    pub(crate) rules: Rules,
    pub(crate) queue: Queue,
    /// Whether `queue` holds what the store holds.
    pub(crate) load: Load,
    /// Messages that the store is asked to commit, by the request that waits for it.
    pub(crate) storing: BTreeMap<RequestId, MessageId>,
    /// Messages that are over, as long as the store may still list them.
    pub(crate) settled: Settled,
    /// The watchers, if there are any: most agents have none.
    pub(crate) watch: Option<Box<Watch>>,
    /// The agent is removed: no subscriber opens any more.
    pub(crate) removed: bool,
    /// The time of the last event, from which waits are counted.
    pub(crate) latest: UnixMs,
}

impl Mailbox {
    /// An empty mailbox, which has not looked into the store yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            queue: Queue::default(),
            load: Load::Unread,
            storing: BTreeMap::new(),
            settled: Settled::default(),
            watch: None,
            removed: false,
            latest: UnixMs::default(),
        }
    }

    /// Takes in one event and appends what the driver has to do. `now` never goes back while the mailbox lives; a new
    /// one, after a restart, may begin at any time.
    pub fn handle(&mut self, input: Input, now: UnixMs, effects: &mut Vec<Effect>) {
        debug_assert!(now >= self.latest, "the driver's clock never goes back: {:?}, {now:?}", self.latest);
        self.latest = now;
        // Before the event: whatever it sends, nothing that has expired is among it.
        self.ring(now, effects);
        let shows_life = self.watch.is_some() && input.shows_life();
        match input {
            Input::Submit { request, entry, transient: false } => self.submit(request, &entry, effects),
            Input::Submit { request, entry, transient: true } => self.submit_transient(request, &entry, effects),
            Input::Stored { request, replaced } => self.stored(request, replaced, now, effects),
            Input::NotStored { request } => self.not_stored(request, effects),
            Input::Connect { subscriber, spec } => self.connect(subscriber, spec, now, effects),
            Input::SetFloor { subscriber, floor } => self.set_floor(subscriber, floor),
            Input::Disconnect { subscriber } => self.disconnect(subscriber, now, effects),
            Input::Loaded { entries, more } => self.loaded(&entries, more, now, effects),
            Input::Ack { request, id, outcome } => self.ack(request, id, outcome, effects),
            Input::NotPassedOn { request, id } => self.not_passed_on(request, id, now, effects),
            Input::Erased { id } => self.erased(id),
            Input::Declined { subscriber, id } => self.declined(subscriber, id, now, effects),
            Input::Arrived { subscriber, id } => self.arrived(subscriber, id, now, effects),
            Input::Gone { subscriber, id } => self.gone(subscriber, id, effects),
            Input::Unsubscribed { subscription } => self.unsubscribed(subscription, now, effects),
            Input::AgentRemoved => self.agent_removed(effects),
            Input::Tick => {}
        }
        self.deliver(effects);
        self.rest();
        if self.watch.is_some() {
            self.notify_watchers(shows_life, now, effects);
        }
        #[cfg(debug_assertions)]
        self.assert_invariants(now);
    }

    /// When to feed [`Input::Tick`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<UnixMs> {
        let alarm = self.queue.next_alarm().map(|(at, _)| at);
        if self.watch.is_some() { alarm.into_iter().chain(self.next_watch()).min() } else { alarm }
    }

    /// Whether the driver may drop this mailbox and make a new one later: no subscriber is open, and nothing is under way
    /// with the store whose outcome it would have to know.
    pub fn is_idle(&self) -> bool {
        self.queue.subscribers().is_empty()
            && self.storing.is_empty()
            && self.settled.is_empty()
            && !self.load.is_under_way()
    }

    /// Forgets a message; the store is left as it is.
    pub(crate) fn forget(&mut self, id: MessageId, effects: &mut Vec<Effect>) {
        // A tombstone was released when it became one.
        if self.queue.remove(id).is_some_and(|message| !message.place.is_tombstone()) {
            effects.push(Effect::Release { id });
        }
    }

    /// Gives back the memory of what is over; an idle mailbox holds no allocation but its subscribers.
    fn rest(&mut self) {
        self.queue.rest();
        if self.storing.is_empty() {
            self.storing = BTreeMap::new();
        }
        self.settled.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::*;

    #[test]
    fn a_mailbox_is_small_because_there_is_one_for_each_connected_agent() {
        assert!(size_of::<Mailbox>() <= 96, "{} bytes", size_of::<Mailbox>());
    }

    #[test]
    fn nothing_is_left_of_a_message_that_is_over() {
        let mut desk = Desk::with_subscriber(hold());
        desk.arrives(message(1));
        desk.ack(1);
        desk.erased(1);
        assert_eq!(desk.mailbox.next_deadline(), None);
        desk.disconnect(1);
        assert!(desk.mailbox.is_idle());
    }
}
