//! Watchers: subscribers that are offered nothing, and learn when messages wait for an agent that does not take them.
//!
//! A watcher changes nothing for the other subscribers: its window is zero, so no message goes to it. What it learns
//! follows from the messages and subscribers in memory after each event, and starts anew when it connects.

use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::time::UnixMs;

use crate::effect::Effect;
use crate::input::{Input, Mode, SubscriberId};
use crate::load::Load;
use crate::mailbox::Mailbox;
use crate::message::{Message, Place};
use crate::queue::Queue;
use crate::subscriber::Subscriber;

/// How long no other subscriber is open before the agent counts as away: an agent that reconnects is not away.
const GRACE: Duration = Duration::from_millis(1_000);

/// How long an agent may take to show that it is alive after it was sent a message: a dead connection looks open for
/// minutes.
const ANSWER_TIME: Duration = Duration::from_millis(5_000);

/// The watchers of a mailbox, and what is known of the agent's other subscribers.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    watchers: Vec<Watcher>,
    /// Since when no other subscriber is open, while none is.
    away_since: Option<UnixMs>,
    /// Since when the agent has shown no life although a message is on its way to it. It stays when the message times
    /// out: that is no sign of life.
    unanswered_since: Option<UnixMs>,
}

/// One watcher.
#[derive(Debug)]
struct Watcher {
    id: SubscriberId,
    /// The urgency that it was last notified of, while that holds.
    reported: Option<Urgency>,
    /// The last other subscriber has closed since: what it left behind is news.
    is_stale: bool,
}

impl Mailbox {
    pub(crate) fn add_watcher(&mut self, id: SubscriberId) {
        let watch = self.watch.get_or_insert_default();
        watch.watchers.push(Watcher { id, reported: None, is_stale: false });
    }

    pub(crate) fn remove_watcher(&mut self, id: SubscriberId) {
        if let Some(watch) = &mut self.watch {
            watch.watchers.retain(|watcher| watcher.id != id);
        }
        self.watch.take_if(|watch| watch.watchers.is_empty());
    }

    /// Notifies the watchers of what the event has changed. `shows_life`: it came from the agent.
    pub(crate) fn notify_watchers(&mut self, shows_life: bool, now: UnixMs, effects: &mut Vec<Effect>) {
        let Some(watch) = &mut self.watch else { return };
        watch.follow(&self.queue, shows_life, self.latest);
        // While pages are missing it is unknown how many messages wait.
        if self.load != Load::Complete {
            return;
        }
        let (is_due, is_away) = (watch.is_due(self.latest), watch.away_since.is_some());
        for watcher in &mut watch.watchers {
            let subscriber = self.queue.subscriber(watcher.id).expect("every watcher is an open subscriber");
            effects.extend(watcher.next_event(subscriber, &self.queue, is_due, is_away, now));
        }
    }

    /// When to look at the watchers again if nothing else happens before.
    pub(crate) fn next_watch(&self) -> Option<UnixMs> {
        let watch = self.watch.as_ref().filter(|_| !self.queue.is_empty())?;
        watch.deadlines().filter(|at| *at > self.latest).min()
    }
}

impl Watch {
    fn follow(&mut self, queue: &Queue, shows_life: bool, latest: UnixMs) {
        let mut others = queue.subscribers().iter().filter(|subscriber| subscriber.spec.mode != Mode::Watch).peekable();
        let is_away = others.peek().is_none();
        let on_its_way = others.any(|subscriber| subscriber.unacked > 0);
        if is_away && self.away_since.is_none() {
            self.away_since = Some(latest);
            self.watchers.iter_mut().for_each(|watcher| watcher.is_stale = true);
        } else if !is_away {
            self.away_since = None;
        }
        if shows_life || is_away || queue.is_empty() {
            self.unanswered_since = None;
        }
        if on_its_way {
            self.unanswered_since.get_or_insert(latest);
        }
    }

    /// Whether what waits is to be reported.
    fn is_due(&self, latest: UnixMs) -> bool {
        self.deadlines().any(|at| at <= latest)
    }

    /// When the agent counts as away, and when as dead.
    fn deadlines(&self) -> impl Iterator<Item = UnixMs> {
        let away = self.away_since.map(|since| since.plus(GRACE));
        let dead = self.unanswered_since.map(|since| since.plus(ANSWER_TIME));
        away.into_iter().chain(dead)
    }
}

impl Watcher {
    fn next_event(
        &mut self,
        subscriber: &Subscriber,
        queue: &Queue,
        is_due: bool,
        is_away: bool,
        now: UnixMs,
    ) -> Option<Effect> {
        // While no other subscriber is open all that waits is ready. Otherwise it is counted: a busy agent shows life
        // with each message, so this is rare.
        let waits = if is_away {
            queue.next_for(subscriber).and_then(|id| queue.get(id)).map(|message| message.urgency)
        } else if is_due {
            waiting(subscriber, queue, now).map(|message| message.urgency).max()
        } else {
            None
        };
        match (waits, self.reported) {
            (None, None) => None,
            (None, Some(_)) => {
                self.reported = None;
                Some(Effect::Quiet { subscriber: self.id })
            }
            (Some(urgency), known) => {
                let is_news = self.is_stale || known.is_none_or(|known| urgency > known);
                (is_due && is_news).then(|| self.report(subscriber, queue, urgency, now))
            }
        }
    }

    fn report(&mut self, subscriber: &Subscriber, queue: &Queue, urgency: Urgency, now: UnixMs) -> Effect {
        self.reported = Some(urgency);
        self.is_stale = false;
        let oldest = queue.messages().find(|(_, message)| is_waiting(message, subscriber, now));
        let (oldest, _) = oldest.expect("the message of this urgency waits");
        let expires = waiting(subscriber, queue, now).map(|message| message.expires_at).max();
        let expires = expires.expect("the message of this urgency waits");
        let messages = u32::try_from(waiting(subscriber, queue, now).count());
        let messages = messages.expect("a store counts an agent's messages in a `u32`");
        Effect::Waiting { subscriber: self.id, messages, urgency, since: oldest.minted_at(), expires }
    }
}

fn waiting<'a>(subscriber: &'a Subscriber, queue: &'a Queue, now: UnixMs) -> impl Iterator<Item = &'a Message> {
    queue.messages().map(|(_, message)| message).filter(move |message| is_waiting(message, subscriber, now))
}

/// Whether the store holds the message and the agent may still take it.
fn is_waiting(message: &Message, subscriber: &Subscriber, now: UnixMs) -> bool {
    let in_store = !message.transient && message.place != Place::Storing && !message.place.is_tombstone();
    in_store && !message.is_expired(now) && subscriber.carries(message.subscription, message.urgency)
}

impl Input {
    /// Whether it shows that the agent, and not only its connection, is alive.
    pub(crate) fn shows_life(&self) -> bool {
        match self {
            Self::Ack { .. } | Self::NotPassedOn { .. } | Self::Declined { .. } | Self::Arrived { .. } => true,
            Self::Connect { spec, .. } => spec.mode != Mode::Watch,
            _ => false,
        }
    }
}

#[cfg(debug_assertions)]
impl Mailbox {
    /// Every watcher is open, has no window, and knows what it has to know.
    pub(crate) fn assert_watch(&self) {
        let watching = self.queue.subscribers().iter().filter(|subscriber| subscriber.spec.mode == Mode::Watch);
        let listed = self.watch.iter().flat_map(|watch| &watch.watchers).map(|watcher| watcher.id);
        assert!(
            watching.clone().map(|subscriber| subscriber.id).eq(listed),
            "every watcher is listed: {:?}",
            self.watch
        );
        assert!(watching.clone().all(|subscriber| subscriber.spec.window == 0), "a watcher is offered nothing");
        let Some(watch) = self.watch.as_ref().filter(|_| self.load == Load::Complete) else { return };
        let is_away = watching.count() == self.queue.subscribers().len();
        assert_eq!(is_away, watch.away_since.is_some(), "the other subscribers are followed: {watch:?}");
        for watcher in &watch.watchers {
            let knows = watcher.reported.is_some();
            assert!(
                is_away || watch.is_due(self.latest) || !knows,
                "a watcher learns that the agent is back: {watch:?}"
            );
            assert!(!self.queue.is_empty() || !knows, "a watcher learns that nothing waits: {watch:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::headers::urgency::Urgency;

    use crate::harness::*;
    use crate::{Effect, Input, SubscriberId, SubscriberSpec};

    const WATCHER: SubscriberId = SubscriberId(9);

    fn watch(floor: Urgency) -> SubscriberSpec {
        SubscriberSpec::watch(Some(floor))
    }

    /// A mailbox with a watcher only, past the grace.
    fn watched() -> Desk {
        let mut desk = Desk::new();
        desk.connect(9, watch(Urgency::Normal));
        desk.page(&[]);
        assert_eq!(desk.wait_ms(1_000), []);
        desk
    }

    /// The same with an open subscriber 1 of the agent.
    fn watched_with(spec: SubscriberSpec) -> Desk {
        let mut desk = watched();
        desk.connect(1, spec);
        desk
    }

    fn waiting(messages: u32, urgency: Urgency) -> Effect {
        let newest = message(1);
        Effect::Waiting { subscriber: WATCHER, messages, urgency, since: id(1).minted_at(), expires: newest.expires_at }
    }

    const QUIET: Effect = Effect::Quiet { subscriber: WATCHER };
    const NORMAL: Urgency = Urgency::Normal;

    #[test]
    fn what_waits_for_an_agent_that_is_away_is_reported_at_once_and_nothing_is_sent() {
        let mut desk = watched();
        assert_eq!(desk.arrives(message(1)), [accept(1), waiting(1, NORMAL)]);
        assert_eq!(desk.arrives(message(2)), [accept(2)], "once is enough");
        assert_eq!(desk.arrives(urgent(3, Urgency::High)), [accept(3), waiting(3, Urgency::High)]);
        assert_eq!(sent(&desk.wait_ms(100_000)), []);
        assert_eq!(sent(&desk.connect(1, hold())), [(1, 3), (1, 1), (1, 2)], "nothing was consumed");
    }

    #[test]
    fn an_agent_that_reconnects_within_the_grace_is_not_away() {
        let mut desk = watched_with(hold());
        desk.arrives(message(1));
        assert_eq!(desk.disconnect(1), []);
        assert_eq!(desk.wait_ms(999), []);
        assert_eq!(desk.connect(2, hold()), [send(2, 1)]);
        assert_eq!(desk.wait_ms(4_999), []);
        desk.disconnect(2);
        assert_eq!(desk.wait_ms(1_000), [waiting(1, NORMAL)]);
    }

    #[test]
    fn the_grace_holds_when_a_watcher_connects_first_too() {
        let mut desk = Desk::new();
        desk.connect(9, watch(NORMAL));
        assert_eq!(desk.page(&[message(1)]), []);
        assert_eq!(desk.wait_ms(1_000), [waiting(1, NORMAL)]);
        desk.disconnect(9);
        desk.connect(9, watch(NORMAL));
        assert_eq!(desk.page(&[message(1)]), []);
        assert_eq!(desk.wait_ms(1_000), [waiting(1, NORMAL)], "it starts anew");
    }

    #[test]
    fn a_watcher_learns_when_the_agent_is_back_and_when_it_leaves_something_behind() {
        let mut desk = watched();
        desk.arrives(message(1));
        assert_eq!(desk.connect(1, hold()), [send(1, 1), QUIET]);
        assert_eq!(desk.disconnect(1), []);
        assert_eq!(desk.wait_ms(1_000), [waiting(1, NORMAL)]);
    }

    #[test]
    fn a_watcher_learns_when_nothing_waits_any_more() {
        let mut desk = watched();
        desk.arrives(message(1));
        assert_eq!(desk.ack(1), [release(1), erase(1), QUIET]);
        desk.erased(1);
        desk.arrives(expiring_in_ms(2, 10_000));
        assert_eq!(desk.wait_ms(10_000), [release(2), QUIET]);
    }

    #[test]
    fn a_connection_that_shows_no_life_for_five_seconds_is_reported_once() {
        for spec in [once(), hold()] {
            let mut desk = watched_with(spec);
            desk.arrives(message(1));
            assert_eq!(desk.wait_ms(4_999), []);
            assert_eq!(desk.wait_ms(1), [waiting(1, NORMAL)]);
            let later = desk.wait_ms(ACK_TIMEOUT_MS);
            assert!(later.iter().all(|effect| matches!(effect, Effect::Send { .. })), "{later:?}");
            assert_eq!(sent(&desk.disconnect(1)), []);
            assert_eq!(desk.wait_ms(1_000), [waiting(1, NORMAL)], "the dead connection has ended");
        }
    }

    #[test]
    fn a_sign_of_life_is_the_end_of_a_report() {
        let signs: [fn(&mut Desk) -> Vec<Effect>; 3] =
            [|desk| desk.declined(1, 1), |desk| desk.has_arrived(1, 1), |desk| desk.ack(1)];
        for sign in signs {
            let mut desk = watched_with(once());
            desk.arrives(message(1));
            desk.arrives(message(2));
            desk.wait_ms(5_000);
            assert!(sign(&mut desk).contains(&QUIET));
            assert_eq!(desk.wait_ms(4_999), []);
            assert_eq!(desk.wait_ms(1).len(), 1, "message 2 has no answer yet");
        }
    }

    #[test]
    fn what_is_below_the_floor_waits_without_a_word_until_the_floor_sinks() {
        let mut desk = watched();
        assert_eq!(desk.arrives(urgent(1, Urgency::Low)), [accept(1)]);
        assert_eq!(desk.wait_ms(60_000), []);
        let sunk = desk.feed(Input::SetFloor { subscriber: WATCHER, floor: None });
        assert_eq!(sunk, [waiting(1, Urgency::Low)]);
        assert_eq!(desk.feed(Input::SetFloor { subscriber: WATCHER, floor: Some(NORMAL) }), [QUIET]);
    }

    #[test]
    fn a_watcher_makes_no_transient_message_deliverable_ps_8030_5_2_9() {
        let mut desk = watched();
        assert_eq!(desk.submit_transient(message(1)), [release(1), accept(1)]);
        assert_eq!(desk.wait_ms(60_000), []);
    }

    #[test]
    fn nothing_is_reported_before_every_page_has_come() {
        let mut desk = Desk::new();
        desk.connect(9, watch(NORMAL));
        let first = Input::Loaded { entries: vec![message(1)], more: true };
        desk.feed(first);
        assert_eq!(desk.wait_ms(2_000), []);
        assert_eq!(desk.page(&[message(2)]), [waiting(2, NORMAL)]);
    }

    #[test]
    fn a_removed_agent_ends_its_watchers() {
        let mut desk = watched();
        let why = crate::CloseReason::AgentGone;
        assert_eq!(desk.feed(Input::AgentRemoved), [Effect::Close { subscriber: WATCHER, why }]);
        assert!(desk.mailbox.is_idle());
    }

    #[test]
    #[should_panic(expected = "learns that the agent is back")]
    fn a_watcher_that_is_not_notified_is_found() {
        let mut desk = watched_with(hold());
        desk.mailbox.watch.as_mut().unwrap().watchers[0].reported = Some(NORMAL);
        desk.mailbox.assert_watch();
    }
}
