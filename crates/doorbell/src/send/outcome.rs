//! The outcome of sending, in words, in JSON and as an exit status.

use std::time::Duration;

use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::key::PublicKey;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::Reply;
use doorbell_sender::error::{Distrust, SendError};
use doorbell_sender::explanation::Source;
use doorbell_sender::vendor::Vendor;
use http::StatusCode;
use serde_json::json;

use super::receipt::Fate;
use super::setup::{Setup, map_origin_hint};
use crate::{browser, output};

/// The result of the last attempt, and of the message after that.
pub(super) struct Outcome {
    result: Result<Reply, SendError>,
    fate: Option<Fate>,
    attempts: u32,
    signed_with: PublicKey,
    /// Where it was sent.
    origin: String,
    vendor: Option<Vendor>,
}

impl Outcome {
    pub(super) fn of(result: Result<Reply, SendError>, attempts: u32, setup: &Setup) -> Self {
        let (endpoint, signed_with) = (&setup.subscription.endpoint, *setup.signer().public_key());
        Self { result, fate: None, attempts, signed_with, origin: endpoint.origin(), vendor: endpoint.vendor() }
    }

    /// The members of an acceptance, if it is one.
    pub(super) fn accepted(&self) -> Option<&Accepted> {
        match &self.result {
            Ok(Reply { answer: Answer::Accepted(accepted), .. }) => Some(accepted),
            _ => None,
        }
    }

    /// Adds the end of the accepted message.
    pub(super) fn learn(&mut self, fate: Fate) {
        debug_assert!(self.accepted().is_some(), "only an accepted message has a receipt");
        self.fate = Some(fate);
    }

    /// As the help of the verb lists them.
    pub(super) fn exit_status(&self) -> u8 {
        match &self.result {
            Ok(reply) => match reply.answer {
                Answer::Accepted(_) => self.fate.as_ref().map_or(0, Fate::exit_status),
                Answer::Gone => 3,
                Answer::TooLarge | Answer::Refused => 4,
                Answer::RetryLater { .. } => 5,
            },
            Err(SendError::Connect(_)) => 5,
            Err(SendError::Endpoint(_) | SendError::Request(_)) => crate::USAGE,
            Err(SendError::Broken(_) | SendError::Untrusted(_) | SendError::ProxyLogin(_)) => 1,
        }
    }

    /// An acceptance goes to standard output, everything else to standard error.
    pub(super) fn print(&self, asked: Ttl) {
        match &self.result {
            Ok(Reply { status, answer: Answer::Accepted(accepted), .. }) => {
                let doubt = if accepted.receipt.is_none() { "; delivery is not confirmed" } else { "" };
                output::report(format_args!("accepted by the push service ({}){doubt}", status.as_u16()));
                print_accepted(accepted, asked);
            }
            Ok(reply) => {
                browser::status(&format!("{}: {}", status_line(reply.status), self.meaning(reply)));
                let explanation = &reply.explanation;
                let whose = match explanation.source {
                    Source::PushService => "the push service reports",
                    Source::Unknown | Source::Other | Source::WebPage => "the answer reads",
                };
                for line in [&explanation.message, &explanation.hint].into_iter().filter(|line| !line.is_empty()) {
                    browser::status(&format!("{whose}: {line}"));
                }
            }
            Err(error) => browser::status(&self.failure(error)),
        }
    }

    /// Why there is no answer, and what a user tries next.
    fn failure(&self, error: &SendError) -> String {
        match error {
            SendError::Connect(_) => format!("{error}; gave up after {}", self.attempts()),
            SendError::Untrusted(why) => format!("{error}; {}", self.distrust_hint(why)),
            SendError::Endpoint(error) => super::setup::endpoint_error(error),
            SendError::Broken(_) | SendError::Request(_) | SendError::ProxyLogin(_) => error.to_string(),
        }
    }

    fn distrust_hint(&self, why: &Distrust) -> String {
        let origin = &self.origin;
        match why {
            Distrust::Issuer => "name the file of its certificate authority with --ca".to_owned(),
            Distrust::Expired | Distrust::NotYetValid => format!(
                "the push service needs another one, or this machine's clock is wrong: `doorbell doctor {origin}` \
                 compares them"
            ),
            Distrust::OtherHost => format!(
                "the push service needs one for the host of {origin}, or another --public-url: `doorbell doctor \
                 {origin}` shows which names it has"
            ),
            Distrust::Other(_) => "the push service needs another one".to_owned(),
        }
    }

    fn attempts(&self) -> String {
        match self.attempts {
            1 => "1 attempt".to_owned(),
            n => format!("{n} attempts"),
        }
    }

    /// What a rejection means for the user.
    fn meaning(&self, reply: &Reply) -> String {
        let is_google = self.vendor == Some(Vendor::Google);
        match (&reply.answer, reply.status.as_u16()) {
            (Answer::Gone, _) if is_google => format!(
                "Google does not know this subscription; delete it and ask for a new one; {}",
                map_origin_hint(&self.origin)
            ),
            (Answer::Gone, status) => gone(status, reply.explanation.source).to_owned(),
            (Answer::TooLarge, _) => "the message is too long for this push service".to_owned(),
            (Answer::RetryLater { .. }, 404) => format!(
                "{OF_NO_PUSH_SERVICE}: is it a proxy whose push service is away? Gave up after {}; keep the subscription and send \
                 again later",
                self.attempts()
            ),
            (Answer::RetryLater { after }, _) => {
                let gave_up = format!("gave up after {} at a busy push service", self.attempts());
                match after {
                    Some(after) => format!("{gave_up}, which asks to wait {}", secs(*after)),
                    None => gave_up,
                }
            }
            (_, 300..=399) => "the push service points elsewhere, and that is never followed".to_owned(),
            (_, 401 | 403) if is_google => format!(
                "Google does not accept our signature (key {}): the subscription was made with another key, which --key \
                 names; {}",
                self.signed_with.to_base64url(),
                map_origin_hint(&self.origin)
            ),
            (_, 401 | 403) => format!(
                "the push service does not accept our signature (key {}). Was the subscription made with another key, \
                 or is a --subject missing?",
                self.signed_with.to_base64url()
            ),
            _ => "the push service refuses this message and would do so again".to_owned(),
        }
    }

    /// One object on one line.
    pub(super) fn to_json(&self, ttl: Ttl) -> serde_json::Value {
        let mut object = match &self.result {
            Ok(reply) => reply_json(reply),
            Err(error) => json!({ "outcome": error_word(error), "message": self.failure(error) }),
        };
        object["attempts"] = json!(self.attempts);
        if let Some(fate) = &self.fate {
            object["receipt"] = fate.to_json(ttl);
        }
        object
    }
}

const OF_NO_PUSH_SERVICE: &str = "the answer is not in the form of a push service";

/// What 404 and 410 mean, as far as it is known who sent them.
fn gone(status: u16, source: Source) -> &'static str {
    match (status, source) {
        (_, Source::PushService) | (410, Source::Unknown | Source::Other) => {
            "the subscription is gone for good; delete it and ask for a new one"
        }
        (_, Source::Unknown | Source::Other) => {
            "the push service does not know this subscription, or a proxy answered in its place; if it stays so, delete \
             the subscription and ask for a new one"
        }
        (_, Source::WebPage) => {
            "the subscription is gone, or a proxy answered in the push service's place (the answer is a web page); if it \
             stays so, delete the subscription and ask for a new one"
        }
    }
}

fn print_accepted(accepted: &Accepted, asked: Ttl) {
    let ttl = match accepted.ttl {
        Some(granted) if granted < asked => format!("{granted} s, shortened from {asked} s"),
        Some(granted) => format!("{granted} s"),
        None => format!("{asked} s requested; the push service does not report what it granted"),
    };
    output::report(format_args!("ttl      {ttl}"));
    if let Some(message) = &accepted.message {
        output::report(format_args!("message  {message}"));
    }
}

fn reply_json(reply: &Reply) -> serde_json::Value {
    let status = reply.status.as_u16();
    let word = match &reply.answer {
        Answer::Accepted(Accepted { message, ttl, receipt }) => {
            let ttl_secs = ttl.map(Ttl::as_secs);
            return json!({
                "outcome": "accepted", "status": status,
                "messageUrl": message, "ttl": ttl_secs, "receiptUrl": receipt,
            });
        }
        Answer::Gone => "gone",
        Answer::TooLarge => "too-large",
        Answer::Refused => "refused",
        Answer::RetryLater { .. } => "gave-up",
    };
    let why = &reply.explanation;
    let source = match why.source {
        Source::PushService => "push-service",
        Source::WebPage => "web-page",
        Source::Unknown | Source::Other => "unknown",
    };
    json!({
        "outcome": word, "status": status, "source": source,
        "errno": why.errno, "message": why.message, "hint": why.hint,
    })
}

fn error_word(error: &SendError) -> &'static str {
    match error {
        SendError::Connect(_) => "unreachable",
        SendError::Untrusted(_) => "untrusted",
        SendError::Broken(_) => "unknown",
        SendError::Endpoint(_) | SendError::Request(_) | SendError::ProxyLogin(_) => "unusable",
    }
}

/// The same, with what makes a 404 temporary.
pub(super) fn answer_line(reply: &Reply) -> String {
    let status = status_line(reply.status);
    if reply.status == StatusCode::NOT_FOUND { format!("{status}, and {OF_NO_PUSH_SERVICE}") } else { status }
}

/// `429 Too Many Requests`.
fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn secs(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::ece::keys::AgentKeys;
    use doorbell_sender::explanation::Explanation;

    use super::*;

    fn outcome(result: Result<Reply, SendError>) -> Outcome {
        let signed_with = *AgentKeys::generate().unwrap().public_key();
        let origin = "https://push.example.net".to_owned();
        Outcome { result, fate: None, attempts: 2, signed_with, origin, vendor: None }
    }

    fn replied(status: u16, answer: Answer) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        outcome(Ok(Reply { status, answer, explanation: Explanation::default() }))
    }

    #[test]
    fn each_kind_of_outcome_has_its_exit_status() {
        let accepted = Answer::Accepted(Accepted::default());
        for (status, answer, exit) in [
            (201, accepted, 0),
            (410, Answer::Gone, 3),
            (413, Answer::TooLarge, 4),
            (403, Answer::Refused, 4),
            (429, Answer::RetryLater { after: None }, 5),
        ] {
            assert_eq!(replied(status, answer).exit_status(), exit, "{status}");
        }
        assert_eq!(outcome(Err(SendError::Connect(String::new()))).exit_status(), 5);
        assert_eq!(outcome(Err(SendError::Broken(String::new()))).exit_status(), 1);
    }

    #[test]
    fn the_json_of_an_acceptance_names_the_message_and_the_granted_ttl() {
        let accepted =
            Accepted { message: Some("https://h/m/1".to_owned()), ttl: Some(Ttl::from_secs(30)), receipt: None };
        assert_eq!(
            replied(201, Answer::Accepted(accepted)).to_json(Ttl::from_secs(60)),
            json!({
                "outcome": "accepted", "status": 201, "messageUrl": "https://h/m/1", "ttl": 30,
                "receiptUrl": null, "attempts": 2,
            })
        );
    }

    #[test]
    fn a_refused_signature_names_the_key_that_signed() {
        let refused = replied(403, Answer::Refused);
        let Ok(reply) = &refused.result else { panic!("there is a reply") };
        assert!(refused.meaning(reply).contains(&refused.signed_with.to_base64url()));
    }

    #[test]
    fn at_google_a_rejection_names_its_two_reasons_and_no_other_vendor() {
        let google = |status, answer| Outcome {
            origin: "https://fcm.googleapis.com".to_owned(),
            vendor: Some(Vendor::Google),
            ..replied(status, answer)
        };
        for (status, answer) in [(403, Answer::Refused), (404, Answer::Gone), (410, Answer::Gone)] {
            let rejected = google(status, answer);
            let Ok(reply) = &rejected.result else { panic!("there is a reply") };
            let meaning = rejected.meaning(reply);
            assert!(
                meaning.contains("--map-origin https://fcm.googleapis.com=") && meaning.contains("Google"),
                "{meaning}"
            );
            assert!(!meaning.contains("--subject") && !meaning.contains("Mozilla"), "{meaning}");
        }
    }

    #[test]
    fn a_final_busy_answer_reports_how_long_to_wait() {
        let busy = replied(503, Answer::RetryLater { after: Some(Duration::from_secs(900)) });
        let Ok(reply) = &busy.result else { panic!("there is a reply") };
        assert!(busy.meaning(reply).contains("900 s"));
    }
}
