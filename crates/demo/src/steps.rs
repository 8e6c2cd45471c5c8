//! What just happened, step by step, for the panel that shows it. Each step has a kind and an outcome for the page, and
//! words for people; the page decides nothing by the words.

use std::fmt::Display;

use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use serde::{Deserialize, Serialize};

use crate::calls::End;
use crate::clock;
use crate::events::Event;
use crate::pages::Pages;
use crate::store::PersonId;

/// A row of steps that belong together: a call, a message, a trial.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) id: String,
    /// Whose pages show it.
    pub(crate) viewer: PersonId,
}

/// One thing that happened. `device` is a device's label.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// The person asks for a push to their own device.
    Trial,
    /// The person calls another one.
    Call { callee: &'a str },
    /// No device of the callee has a subscription.
    NoDevice { callee: &'a str },
    /// The callee has answered.
    Answered { device: &'a str, after_secs: u64 },
    /// The call is over.
    Over { end: End },
    /// The person leaves a voice mail.
    VoiceMail { to: &'a str, kib: usize },
    /// The person writes a message.
    Message { to: &'a str },
    /// A push is encrypted and on its way to the push service.
    Sent { device: &'a str, origin: &'a str, ttl: Ttl, urgency: Urgency },
    /// The push service did not take it; the next try comes after this many seconds.
    Retry { why: &'a str, after_secs: f32 },
    /// The push service has it.
    Accepted { status: u16, took_ms: u128 },
    /// The push service refuses it.
    Refused { status: u16, why: &'a str },
    /// The push service could not be reached.
    Unreachable { why: &'a str },
    /// The device has ended its subscription; `how` is how we know.
    Unsubscribed { device: &'a str, how: &'a str },
    /// A receipt: the device has it.
    Delivered { device: &'a str, took_ms: u128 },
    /// A receipt: the device does not get it.
    Undelivered { device: &'a str, why: &'a str },
    /// The device's service worker reports.
    Device { device: &'a str, report: Report, after_ms: u32 },
}

/// What a service worker did with a push: it chooses among these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Report {
    /// It shows the notification.
    Shown,
    /// The notification was clicked.
    Clicked,
    /// The push arrived after the call had stopped ringing.
    Late,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// As it should.
    Ok,
    /// It did not succeed; the page marks it.
    Failed,
}

impl Story {
    /// Shows a step on the viewer's pages.
    pub(crate) fn step(&self, pages: &Pages, step: Step<'_>) {
        let (what, detail) = step.words();
        let at = clock::now().as_millis();
        let (kind, outcome) = (step.kind(), step.outcome());
        pages.send(self.viewer, &Event::Step { story: self.id.clone(), kind, outcome, what, detail, at });
    }
}

impl Step<'_> {
    /// Its name for programs.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Call { .. } => "call",
            Self::NoDevice { .. } => "no-device",
            Self::Answered { .. } => "answered",
            Self::Over { .. } => "over",
            Self::VoiceMail { .. } => "voice-mail",
            Self::Message { .. } => "message",
            Self::Sent { .. } => "sent",
            Self::Retry { .. } => "retry",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Delivered { .. } => "delivered",
            Self::Undelivered { .. } => "undelivered",
            Self::Device { report: Report::Shown, .. } => "shown",
            Self::Device { report: Report::Clicked, .. } => "clicked",
            Self::Device { report: Report::Late, .. } => "late",
        }
    }

    /// Whether it succeeded.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Retry { .. } | Self::Refused { .. } | Self::Unreachable { .. } | Self::Undelivered { .. } => {
                Outcome::Failed
            }
            _ => Outcome::Ok,
        }
    }

    /// What happened, and a detail for those who want to know more.
    fn words(self) -> (String, String) {
        let words = |what: &dyn Display, detail: &dyn Display| (what.to_string(), detail.to_string());
        match self {
            Self::Trial => words(&"you ask for a push to this device", &""),
            Self::Call { callee } => words(&format_args!("you call {callee}"), &""),
            Self::NoDevice { callee } => {
                words(&format_args!("no device of {callee} takes pushes"), &"it rings on open pages only")
            }
            Self::Answered { device, after_secs } => {
                words(&format_args!("answered on {device}"), &format_args!("{after_secs} s after the call began"))
            }
            Self::Over { end } => words(&format_args!("the call is over: {}", end.as_str()), &""),
            Self::VoiceMail { to, kib } => {
                words(&format_args!("you leave {to} a voice mail"), &format_args!("{kib} KiB"))
            }
            Self::Message { to } => words(&format_args!("you write to {to}"), &""),
            Self::Sent { device, origin, ttl, urgency } => words(
                &format_args!("encrypted for {device}, sent to {origin}"),
                &format_args!("TTL {ttl} s, urgency {urgency}"),
            ),
            Self::Retry { why, after_secs } => words(
                &"the push service does not take it yet",
                &format_args!("{why}; the next try is in {} s", after_secs.ceil()),
            ),
            Self::Accepted { status, took_ms } => {
                words(&"accepted by the push service", &format_args!("{status} after {took_ms} ms"))
            }
            Self::Refused { status, why } => words(&"refused by the push service", &format_args!("{status}: {why}")),
            Self::Unreachable { why } => words(&"the push service cannot be reached", &why),
            Self::Unsubscribed { device, how } => words(&format_args!("{device} has unsubscribed"), &how),
            Self::Delivered { device, took_ms } => {
                words(&format_args!("{device} has it"), &format_args!("receipt 204, {took_ms} ms after sending"))
            }
            Self::Undelivered { device, why } => words(&format_args!("not delivered to {device}"), &why),
            Self::Device { device, report, after_ms } => {
                let what = match report {
                    Report::Shown => "shows the notification",
                    Report::Clicked => "was clicked",
                    Report::Late => "received it too late to ring",
                };
                words(&format_args!("{device} {what}"), &format_args!("{after_ms} ms after the push arrived"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_fails_by_what_happened_and_not_by_the_names_in_it() {
        let called = "refused, cannot, not delivered, does not take";
        let fine = [
            Step::Call { callee: called },
            Step::Delivered { device: called, took_ms: 1 },
            Step::Device { device: called, report: Report::Late, after_ms: 1 },
            Step::Unsubscribed { device: called, how: "receipt 410" },
        ];
        assert!(fine.iter().all(|step| step.outcome() == Outcome::Ok));
        let failed = [
            Step::Retry { why: "", after_secs: 1.0 },
            Step::Refused { status: 403, why: "" },
            Step::Unreachable { why: "" },
            Step::Undelivered { device: "", why: "" },
        ];
        assert!(failed.iter().all(|step| step.outcome() == Outcome::Failed));
    }
}
