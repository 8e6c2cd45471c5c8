//! The mailbox under test, with a bug planted into what goes in and out of it if a test asks for one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use doorbell_mailbox::{Effect, Input, Mailbox, Mode, Rules, SubscriberSpec};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;

use crate::judge::{Violation, broken};

/// The rule that a failed assertion of the mailbox breaks.
pub(crate) const ASSERTIONS: &str = "the mailbox's own assertions hold";

pub(crate) const RULES: Rules = Rules { ack_timeout_ms: 30_000, decline_backoff_ms: 1_000, offers_max: 3 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    AcceptBeforeDurable,
    NoExpiry,
    NoRetryAfterTimeOut,
    TopicLeak,
    NoDeadline,
    FloorIgnored,
    WindowIgnored,
    DrainWithoutEnd,
    AckLost,
    UnsubscribeLost,
    IdMintedTwice,
    WatcherServed,
    WaitingLost,
    QuietLost,
    LostLikeRefused,
    SecondLost,
    SecondUnnamed,
    SecondWithoutEnd,
}

pub(crate) struct Subject {
    mailbox: Mailbox,
    bug: Option<Bug>,
    /// The message of the last event, if that was one for the store.
    submitted: Option<MessageId>,
}

impl Subject {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let never = Rules { ack_timeout_ms: u32::MAX, ..RULES };
        let rules = if bug == Some(Bug::NoRetryAfterTimeOut) { never } else { RULES };
        Self { mailbox: Mailbox::new(rules), bug, submitted: None }
    }

    /// Feeds the mailbox. An assertion that fails in it is a violation like any other: a seed repeats it.
    pub(crate) fn handle(&mut self, mut input: Input, now: UnixMs, effects: &mut Vec<Effect>) -> Result<(), Violation> {
        self.spoil_input(&mut input);
        let mailbox = &mut self.mailbox;
        let handled = catch_unwind(AssertUnwindSafe(|| mailbox.handle(input, now, effects)));
        self.spoil_effects(effects);
        match handled {
            Ok(()) => Ok(()),
            Err(panic) => broken(ASSERTIONS, panic.downcast_ref::<String>()),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<UnixMs> {
        self.mailbox.next_deadline().filter(|_| self.bug != Some(Bug::NoDeadline))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.mailbox.is_idle()
    }

    fn spoil_input(&mut self, input: &mut Input) {
        let before = self.submitted.take();
        if let Input::Submit { entry, transient: false, .. } = input {
            self.submitted = Some(entry.id);
        }
        let later = |at: &mut UnixMs| *at = at.plus(Duration::from_secs(1_000_000));
        match (self.bug, input) {
            (Some(Bug::NoExpiry), Input::Submit { entry, .. }) => later(&mut entry.expires_at),
            (Some(Bug::NoExpiry), Input::Loaded { entries, .. }) => {
                entries.iter_mut().for_each(|entry| later(&mut entry.expires_at));
            }
            (Some(Bug::TopicLeak), Input::Stored { replaced, .. }) => *replaced = None,
            (Some(Bug::FloorIgnored), Input::SetFloor { floor, .. }) => *floor = None,
            (Some(Bug::WindowIgnored), Input::Connect { spec, .. }) => {
                *spec = SubscriberSpec { window: spec.window + 1, ..*spec };
            }
            (Some(Bug::WatcherServed), Input::Connect { spec, .. }) if spec.mode == Mode::Watch => {
                *spec = SubscriberSpec { mode: Mode::Hold, window: 1, ..*spec };
            }
            (Some(Bug::AckLost), input @ Input::Ack { request: None, .. }) => *input = Input::Tick,
            (Some(Bug::LostLikeRefused), input @ Input::NotPassedOn { .. }) => {
                if let Input::NotPassedOn { request, id } = *input {
                    *input = Input::Ack { request, id, outcome: Outcome::Refused };
                }
            }
            (Some(Bug::SecondLost), input @ Input::NotPassedOn { request: None, .. }) => *input = Input::Tick,
            (Some(Bug::SecondWithoutEnd), input @ Input::Ack { request: None, outcome: Outcome::Refused, .. }) => {
                if let Input::Ack { request, id, .. } = *input {
                    *input = Input::NotPassedOn { request, id };
                }
            }
            (Some(Bug::UnsubscribeLost), input @ Input::Unsubscribed { .. }) => *input = Input::Tick,
            (Some(Bug::IdMintedTwice), Input::Submit { entry, .. }) => entry.id = before.unwrap_or(entry.id),
            _ => {}
        }
    }

    fn spoil_effects(&self, effects: &mut Vec<Effect>) {
        match self.bug {
            Some(Bug::AcceptBeforeDurable) => {
                let persisted = effects.iter().filter_map(|effect| match effect {
                    Effect::Persist { request } => Some(Effect::Accept { request: *request }),
                    _ => None,
                });
                let early: Vec<Effect> = persisted.collect();
                effects.extend(early);
            }
            Some(Bug::SecondUnnamed) => effects.iter_mut().for_each(|effect| {
                if let Effect::Send { second, .. } = effect {
                    *second = false;
                }
            }),
            Some(Bug::WaitingLost) => effects.retain(|effect| !matches!(effect, Effect::Waiting { .. })),
            Some(Bug::QuietLost) => effects.retain(|effect| !matches!(effect, Effect::Quiet { .. })),
            Some(Bug::DrainWithoutEnd) => effects.retain(|effect| !matches!(effect, Effect::Drained { .. })),
            _ => {}
        }
    }
}
