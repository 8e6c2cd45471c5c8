//! What becomes of each message from its arrival to its acknowledgement, as rules without IO (RFC 8030 s6.2).
//!
//! A message is handed to the app, tried again if the app fails (WA-14), and owed a DELETE from the moment it was
//! handed over or given up. A URI that was seen before is never handed over again, whatever is behind it now.
//! Time is an argument: how long the agent's clock has run.
//!
//! The invariants, which [`Inbox::check`] asserts: a URI is in one place only (waiting, with the app, or owed); the
//! counter of DELETE requests in flight is right; every bound is kept.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use url::Url;

use crate::limits::Limits;

/// The messages that are not handled yet, and the DELETE requests owed to the service.
pub(crate) struct Inbox<M> {
    limits: Limits,
    /// In order of arrival; messages that failed, at the end.
    waiting: VecDeque<Waiting<M>>,
    /// With the app at this moment.
    in_hand: HashSet<Url>,
    owed: BTreeMap<Url, Owed>,
    /// How many of `owed` are in flight.
    acknowledging: usize,
    settled: Settled,
}

/// A message that waits for the app.
pub(crate) struct Waiting<M> {
    pub(crate) uri: Url,
    pub(crate) message: M,
    /// Attempts that failed.
    failures: u32,
    not_before: Duration,
}

/// A resource that is to be deleted.
#[derive(Clone, Copy)]
struct Owed {
    /// The outcome of the message that is reported to the service.
    outcome: Outcome,
    failures: u32,
    /// Answers that the resource is gone, of which it is not known who gave them.
    doubts: u32,
    not_before: Duration,
    in_flight: bool,
}

/// What follows from a failure of the app.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The app gets the message again.
    Again,
    /// That was the last attempt: the message is acknowledged without having been handled.
    GivenUp,
}

impl Owed {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, failures: 0, doubts: 0, not_before: Duration::ZERO, in_flight: false }
    }
}

impl<M> Inbox<M> {
    /// An inbox that owes the deletions that an earlier run left behind.
    pub(crate) fn new(limits: Limits, owed: impl IntoIterator<Item = Url>) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            in_hand: HashSet::new(),
            owed: owed.into_iter().map(|uri| (uri, Owed::new(Outcome::Delivered))).collect(),
            acknowledging: 0,
            settled: Settled::default(),
        }
    }

    /// Whether the message was here before. If it was handled, the service does not know that yet: it is owed a DELETE.
    pub(crate) fn knows(&mut self, uri: &Url, now: Duration) -> bool {
        if let Some(owed) = self.owed.get_mut(uri) {
            owed.not_before = owed.not_before.min(now);
            return true;
        }
        if let Some(outcome) = self.settled.outcome(uri) {
            self.owe_as(uri.clone(), outcome);
            return true;
        }
        self.is_unhandled(uri)
    }

    /// Takes in a message that it does not know.
    pub(crate) fn take(&mut self, uri: Url, message: M) {
        self.waiting.push_back(Waiting { uri, message, failures: 0, not_before: Duration::ZERO });
        self.check();
    }

    /// Acknowledges what cannot be handed over at all (WA-13), with the outcome that its sender gets. While too much is
    /// owed it is only dropped: the service pushes it again later.
    pub(crate) fn discard(&mut self, uri: Url, outcome: Outcome) {
        debug_assert_ne!(outcome, Outcome::Delivered, "what was delivered was handed over");
        if self.owed.len() < self.limits.owed_max {
            self.owe_as(uri, outcome);
        }
    }

    /// Owes the DELETE of a resource. If a message with its URI waits here, which only a service at fault can bring
    /// about, it is owed when that is handled.
    pub(crate) fn owe(&mut self, uri: Url) {
        if !self.is_unhandled(&uri) {
            self.owe_as(uri, Outcome::Delivered);
        }
    }

    fn owe_as(&mut self, uri: Url, outcome: Outcome) {
        self.owed.entry(uri).or_insert(Owed::new(outcome));
        self.check();
    }

    /// Drops the waiting messages that `is_unwanted`. They are not owed a DELETE: their subscription was left, which
    /// removes them at the service too.
    pub(crate) fn forget(&mut self, is_unwanted: impl Fn(&M) -> bool) {
        self.waiting.retain(|waiting| !is_unwanted(&waiting.message));
    }

    /// Drops what is owed and `is_unreachable`, except what is in flight.
    pub(crate) fn release(&mut self, is_unreachable: impl Fn(&Url) -> bool) {
        self.owed.retain(|uri, owed| owed.in_flight || !is_unreachable(uri));
    }

    /// A resource whose DELETE is due, and the outcome to report with it; [`Inbox::answered`] must follow.
    pub(crate) fn next_acknowledgement(&mut self, now: Duration) -> Option<(Url, Outcome)> {
        if self.acknowledging >= self.limits.acknowledging_max {
            return None;
        }
        let (uri, owed) = self.owed.iter_mut().find(|(_, o)| !o.in_flight && o.not_before <= now)?;
        owed.in_flight = true;
        self.acknowledging += 1;
        let next = (uri.clone(), owed.outcome);
        self.check();
        Some(next)
    }

    /// A message that is due for the app; [`Inbox::handed_over`] or [`Inbox::failed`] must follow.
    pub(crate) fn next_message(&mut self, now: Duration) -> Option<Waiting<M>> {
        if self.owed.len() >= self.limits.owed_max {
            return None;
        }
        let place = self.waiting.iter().position(|w| w.not_before <= now)?;
        let waiting = self.waiting.remove(place).expect("the place was found in it");
        self.in_hand.insert(waiting.uri.clone());
        self.check();
        Some(waiting)
    }

    /// When something becomes due that is not yet at `now`, the moment for which the next steps were asked.
    pub(crate) fn deadline(&self, now: Duration) -> Option<Duration> {
        let owed = self.owed.values().filter(|o| !o.in_flight).map(|o| o.not_before);
        let waiting = self.waiting.iter().map(|w| w.not_before);
        owed.chain(waiting).filter(|at| *at > now).min()
    }

    /// The app has handled it.
    pub(crate) fn handed_over(&mut self, uri: &Url) {
        self.put_down(uri);
        self.owe(uri.clone());
    }

    /// The app could not handle it (WA-14). What it never took is not delivered: its sender learns that it was refused.
    pub(crate) fn failed(&mut self, mut waiting: Waiting<M>, now: Duration, random: u32) -> Verdict {
        self.put_down(&waiting.uri);
        waiting.failures += 1;
        if waiting.failures >= self.limits.attempts_max {
            self.owe_as(waiting.uri, Outcome::Refused);
            return Verdict::GivenUp;
        }
        waiting.not_before = now + self.limits.redeliver.wait(waiting.failures, random);
        self.waiting.push_back(waiting);
        self.check();
        Verdict::Again
    }

    fn put_down(&mut self, uri: &Url) {
        let was_in_hand = self.in_hand.remove(uri);
        debug_assert!(was_in_hand, "the app returns only what it got");
    }

    /// A DELETE was answered with a doubtful 404: whether there were so many that it is believed. [`Inbox::answered`]
    /// must follow.
    pub(crate) fn doubted(&mut self, uri: &Url) -> bool {
        let owed = self.owed.get_mut(uri).expect("an entry stays until its DELETE is answered");
        owed.doubts = owed.doubts.saturating_add(1);
        owed.doubts >= self.limits.doubts_max
    }

    /// A DELETE was answered for good, or failed and is due again later.
    pub(crate) fn answered(&mut self, uri: &Url, settled: bool, now: Duration, random: u32) {
        let owed = self.owed.get_mut(uri).expect("an entry stays until its DELETE is answered");
        debug_assert!(owed.in_flight, "only what was sent is answered");
        owed.in_flight = false;
        self.acknowledging -= 1;
        if settled {
            let outcome = owed.outcome;
            self.owed.remove(uri);
            self.settled.insert(uri.clone(), outcome, self.limits.remembered_max);
        } else {
            owed.failures = owed.failures.saturating_add(1);
            owed.not_before = now + self.limits.acknowledge.wait(owed.failures, random);
        }
        self.check();
    }

    /// A new connection: what failed on the old one need not wait.
    pub(crate) fn connected(&mut self) {
        for owed in self.owed.values_mut() {
            owed.not_before = Duration::ZERO;
        }
    }

    /// Whether another message may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < self.limits.waiting_max
    }

    /// Whether a message waits for the app or is with it.
    pub(crate) fn has_messages(&self) -> bool {
        !self.waiting.is_empty() || !self.in_hand.is_empty()
    }

    /// Whether every message is handled and nothing is owed.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_messages() && self.owed.is_empty()
    }

    fn is_unhandled(&self, uri: &Url) -> bool {
        self.in_hand.contains(uri) || self.waiting.iter().any(|w| w.uri == *uri)
    }

    /// Asserts what must hold after every step.
    fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let unhandled: HashSet<&Url> = self.waiting.iter().map(|w| &w.uri).chain(&self.in_hand).collect();
        let count = self.waiting.len() + self.in_hand.len();
        assert_eq!(unhandled.len(), count, "a message waits once");
        assert!(unhandled.iter().all(|uri| !self.owed.contains_key(*uri)), "what is owed was handled");
        assert!(self.waiting.len() <= self.limits.waiting_max, "nothing is taken in without room");
        let in_flight = self.owed.values().filter(|owed| owed.in_flight).count();
        assert_eq!(in_flight, self.acknowledging, "every DELETE in flight is counted once");
        assert!(self.acknowledging <= self.limits.acknowledging_max, "the DELETE requests in flight are bounded");
        self.settled.check(self.limits.remembered_max);
    }
}

/// The last URIs that were settled, oldest forgotten first.
#[derive(Default)]
struct Settled {
    order: VecDeque<Url>,
    /// With the outcome that was reported: it is reported again if the message comes again.
    outcomes: HashMap<Url, Outcome>,
}

impl Settled {
    fn outcome(&self, uri: &Url) -> Option<Outcome> {
        self.outcomes.get(uri).copied()
    }

    fn insert(&mut self, uri: Url, outcome: Outcome, max: usize) {
        if self.outcomes.insert(uri.clone(), outcome).is_none() {
            self.order.push_back(uri);
        }
        while self.order.len() > max
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
    }

    fn check(&self, max: usize) {
        assert_eq!(self.order.len(), self.outcomes.len(), "every settled URI has its turn to be forgotten");
        assert!(self.order.len() <= max, "the memory of settled messages is bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Backoff;

    const NEVER: Duration = Duration::MAX;

    fn limits() -> Limits {
        let second = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(1) };
        Limits { redeliver: second, acknowledge: second, remembered_max: 2, owed_max: 3, ..Limits::default() }
    }

    fn inbox() -> Inbox<&'static str> {
        Inbox::new(limits(), [])
    }

    fn uri(n: u32) -> Url {
        Url::parse(&format!("https://push.example/m/{n}")).unwrap()
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_message_is_known_in_every_state_from_arrival_to_long_after_ua_8030_6_2_2() {
        let mut inbox = inbox();
        assert!(!inbox.knows(&uri(1), at(0)));
        inbox.take(uri(1), "text");
        assert!(inbox.knows(&uri(1), at(0)));
        let waiting = inbox.next_message(at(0)).unwrap();
        assert!(inbox.knows(&uri(1), at(0)) && inbox.next_message(at(0)).is_none());
        inbox.handed_over(&waiting.uri);
        assert!(inbox.knows(&uri(1), at(0)));
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Delivered)));
        assert!(inbox.knows(&uri(1), at(0)) && inbox.next_acknowledgement(at(0)).is_none());
        inbox.answered(&uri(1), true, at(0), 0);
        assert!(inbox.is_empty());
        assert!(inbox.knows(&uri(1), at(0)), "a redelivery after the acknowledgement");
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Delivered)), "is acknowledged again");
    }

    #[test]
    fn a_resource_that_also_waits_as_a_message_is_owed_when_that_is_handled() {
        let mut inbox = inbox();
        inbox.take(uri(1), "text");
        inbox.owe(uri(1));
        assert_eq!(inbox.next_acknowledgement(at(0)), None);
        let waiting = inbox.next_message(at(0)).unwrap();
        inbox.handed_over(&waiting.uri);
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Delivered)));
    }

    #[test]
    fn what_an_earlier_run_handed_over_is_known_and_owed() {
        let mut inbox = Inbox::<&str>::new(limits(), [uri(7)]);
        assert!(inbox.knows(&uri(7), at(0)));
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(7), Outcome::Delivered)));
    }

    #[test]
    fn a_failing_app_gets_three_attempts_with_waits_between_and_others_go_first_wa_14() {
        let mut inbox = inbox();
        inbox.take(uri(1), "bad");
        let first = inbox.next_message(at(0)).unwrap();
        assert_eq!(inbox.failed(first, at(0), u32::MAX), Verdict::Again);
        inbox.take(uri(2), "good");
        assert_eq!(inbox.next_message(at(0)).unwrap().message, "good");
        assert!(inbox.next_message(at(0)).is_none());
        assert_eq!(inbox.deadline(at(0)), Some(at(1)));
        let second = inbox.next_message(at(1)).unwrap();
        assert_eq!(inbox.failed(second, at(1), u32::MAX), Verdict::Again);
        let third = inbox.next_message(at(2)).unwrap();
        assert_eq!(inbox.failed(third, at(2), u32::MAX), Verdict::GivenUp);
        assert!(inbox.next_message(NEVER).is_none());
        assert_eq!(inbox.next_acknowledgement(at(2)), Some((uri(1), Outcome::Refused)), "the app did not take it");
    }

    #[test]
    fn what_could_not_be_opened_is_acknowledged_as_such_also_when_it_comes_again_wa_13() {
        let mut inbox = inbox();
        inbox.discard(uri(1), Outcome::Undecryptable);
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Undecryptable)));
        inbox.answered(&uri(1), false, at(0), u32::MAX);
        assert!(inbox.knows(&uri(1), at(0)), "a redelivery before the acknowledgement");
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Undecryptable)));
        inbox.answered(&uri(1), true, at(0), 0);
        assert!(inbox.knows(&uri(1), at(0)), "a redelivery after the acknowledgement");
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Undecryptable)));
    }

    #[test]
    fn a_failed_delete_waits_and_a_new_connection_ends_the_wait() {
        let mut inbox = inbox();
        inbox.owe(uri(1));
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Delivered)));
        inbox.answered(&uri(1), false, at(0), u32::MAX);
        assert_eq!(inbox.next_acknowledgement(at(0)), None);
        assert_eq!(inbox.deadline(at(0)), Some(at(1)));
        inbox.connected();
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Delivered)));
    }

    #[test]
    fn a_doubtful_404_is_believed_after_some_because_another_service_may_know_no_other() {
        let mut inbox = Inbox::<&str>::new(Limits { doubts_max: 3, ..limits() }, [uri(1)]);
        for is_believed in [false, false, true] {
            inbox.next_acknowledgement(NEVER).unwrap();
            assert_eq!(inbox.doubted(&uri(1)), is_believed);
            inbox.answered(&uri(1), is_believed, at(0), 0);
        }
        assert!(inbox.is_empty());
    }

    #[test]
    fn at_every_moment_a_waiting_message_is_due_or_has_a_deadline() {
        for ms in [0, 999, 1000, 1001, 5000].map(Duration::from_millis) {
            let mut inbox = inbox();
            inbox.take(uri(1), "text");
            let waiting = inbox.next_message(at(0)).unwrap();
            inbox.failed(waiting, at(0), u32::MAX);
            assert!(inbox.deadline(ms).is_some() != inbox.next_message(ms).is_some(), "{ms:?}");
        }
    }

    #[test]
    fn nothing_more_is_handed_over_while_too_much_is_owed() {
        let mut inbox = Inbox::new(limits(), (1..=3).map(uri));
        inbox.take(uri(9), "text");
        assert!(inbox.next_message(at(0)).is_none());
        let (settled, _) = inbox.next_acknowledgement(at(0)).unwrap();
        inbox.answered(&settled, true, at(0), 0);
        assert!(inbox.next_message(at(0)).is_some());
    }

    #[test]
    fn what_cannot_be_opened_is_dropped_while_too_much_is_owed() {
        let mut inbox = Inbox::<&str>::new(limits(), (1..=3).map(uri));
        inbox.discard(uri(4), Outcome::Refused);
        assert!(!inbox.knows(&uri(4), at(0)));
    }

    #[test]
    fn deletes_in_flight_are_bounded() {
        let limits = Limits { acknowledging_max: 2, ..limits() };
        let mut inbox = Inbox::<&str>::new(limits, (1..=3).map(uri));
        let (first, _) = inbox.next_acknowledgement(at(0)).unwrap();
        assert!(inbox.next_acknowledgement(at(0)).is_some() && inbox.next_acknowledgement(at(0)).is_none());
        inbox.answered(&first, true, at(0), 0);
        assert!(inbox.next_acknowledgement(at(0)).is_some());
    }

    #[test]
    fn the_memory_of_settled_messages_is_bounded() {
        let mut inbox = inbox();
        for n in 1..=3 {
            inbox.owe(uri(n));
            inbox.next_acknowledgement(at(0)).unwrap();
            inbox.answered(&uri(n), true, at(0), 0);
        }
        assert!(!inbox.knows(&uri(1), at(0)), "the oldest is forgotten");
        assert!(inbox.knows(&uri(2), at(0)) && inbox.knows(&uri(3), at(0)));
    }

    #[test]
    fn the_messages_of_a_left_subscription_are_dropped_and_nothing_is_owed_for_them() {
        let mut inbox = inbox();
        inbox.take(uri(1), "left");
        inbox.take(uri(2), "kept");
        inbox.forget(|message| *message == "left");
        assert_eq!(inbox.next_message(at(0)).unwrap().message, "kept");
        assert!(inbox.next_message(at(0)).is_none() && inbox.next_acknowledgement(at(0)).is_none());
        assert!(!inbox.knows(&uri(1), at(0)));
    }

    #[test]
    fn what_cannot_be_reached_is_owed_no_longer_once_it_is_not_in_flight() {
        let mut inbox = Inbox::<&str>::new(limits(), [uri(1), uri(2)]);
        assert_eq!(inbox.next_acknowledgement(at(0)), Some((uri(1), Outcome::Delivered)));
        inbox.release(|_| true);
        inbox.answered(&uri(1), true, at(0), 0);
        assert!(inbox.is_empty());
    }

    /// Numbers that look random, the same ones in each run.
    struct Draws(u64);

    impl Draws {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(self.0 >> 33).unwrap() % bound
        }
    }

    #[test]
    fn whatever_happens_in_any_order_the_invariants_hold_and_everything_is_settled_in_the_end() {
        let limits = Limits { waiting_max: 4, acknowledging_max: 3, owed_max: 6, ..limits() };
        let mut draws = Draws(1);
        let mut inbox = Inbox::new(limits, [uri(0)]);
        let (mut in_hand, mut in_flight, mut now) = (Vec::new(), Vec::new(), Duration::ZERO);
        // Every step asserts the invariants, in `check`.
        for step in 0..20_000 {
            // Towards the end nothing new arrives, and nothing fails.
            let is_ending = step > 19_000;
            now += Duration::from_millis(draws.below(200).into());
            match draws.below(if is_ending { 4 } else { 8 }) {
                0 => in_hand.extend(inbox.next_message(now)),
                1 => in_flight.extend(inbox.next_acknowledgement(now)),
                2 if !in_hand.is_empty() => {
                    let waiting: Waiting<u32> = in_hand.swap_remove(0);
                    if is_ending || draws.below(2) == 0 {
                        inbox.handed_over(&waiting.uri);
                    } else {
                        inbox.failed(waiting, now, draws.below(u32::MAX));
                    }
                }
                3 if !in_flight.is_empty() => {
                    let (uri, _) = in_flight.swap_remove(0);
                    inbox.answered(&uri, is_ending || draws.below(2) == 0, now, draws.below(u32::MAX));
                }
                4 => inbox.connected(),
                5 => {
                    let left = draws.below(30);
                    inbox.forget(|message| *message == left);
                }
                6 | 7 => {
                    let arrived = draws.below(30);
                    // One that the app has is in hand here too: so it does not fill the inbox again when it fails.
                    let has_room = inbox.waiting.len() + in_hand.len() < limits.waiting_max;
                    match inbox.knows(&uri(arrived), now) {
                        false if draws.below(8) == 0 => inbox.discard(uri(arrived), Outcome::Undecryptable),
                        false if has_room => inbox.take(uri(arrived), arrived),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        assert!(inbox.is_empty() && in_hand.is_empty() && in_flight.is_empty());
    }
}
