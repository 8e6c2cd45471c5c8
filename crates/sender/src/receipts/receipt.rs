//! One receipt, read from its event: `{"message":"<uri>","status":204,"outcome":"delivered","at":<unix ms>}`.

use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use http::StatusCode;
use serde::Deserialize;

use super::events::Event;
use crate::endpoint::{ENDPOINT_MAX, Endpoint};

/// The type of the events that are receipts.
pub const KIND: &str = "receipt";

/// The outcome of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message resource, absolute: the Location of its acceptance.
    pub message: String,
    /// How the message ended.
    pub outcome: Outcome,
    /// 204 if it was delivered, 410 if it never will be (RFC 8030 s6.3).
    pub status: StatusCode,
    /// When that happened, if the push service reports it.
    pub at: Option<UnixMs>,
}

#[derive(Deserialize)]
struct Wire {
    message: String,
    status: Option<u16>,
    outcome: Option<String>,
    at: Option<i64>,
}

impl Receipt {
    /// Reads an event of the receipt subscription `source`; `None` if it is not a receipt.
    pub fn read(event: &Event, source: &Endpoint) -> Option<Self> {
        let wire: Wire = serde_json::from_str(&event.data).ok().filter(|_| event.kind == KIND)?;
        let message = source.resolve(&wire.message).filter(|url| url.len() <= ENDPOINT_MAX)?;
        let outcome = outcome(wire.status, wire.outcome.as_deref())?;
        Some(Self { message, outcome, status: outcome.status(), at: wire.at.map(UnixMs::from_millis) })
    }
}

/// The status is the standard's and decides; the word has more detail. If the word is unknown, because it is newer than
/// this program, or contradicts the status, the outcome is the plain meaning of the status.
fn outcome(status: Option<u16>, word: Option<&str>) -> Option<Outcome> {
    let named: Option<Outcome> = word.and_then(|word| word.parse().ok());
    match status {
        None => named,
        Some(status) => {
            let plain = [Outcome::Delivered, Outcome::Dropped].into_iter().find(|plain| plain.status() == status)?;
            named.filter(|named| named.status() == plain.status()).or(Some(plain))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(kind: &str, data: &str) -> Option<Receipt> {
        let source = Endpoint::parse("https://push.example.net/r/1").unwrap();
        Receipt::read(&Event { id: None, kind: kind.to_owned(), data: data.to_owned() }, &source)
    }

    fn outcome_of(rest: &str) -> Option<Outcome> {
        read(KIND, &format!(r#"{{"message":"/m/1"{rest}}}"#)).map(|receipt| receipt.outcome)
    }

    #[test]
    fn a_receipt_names_the_message_its_outcome_and_the_time_as_8030_5_1_2() {
        let data = r#"{"message":"/m/1","status":410,"outcome":"expired","at":1800000000000,"new":[]}"#;
        let receipt = Receipt {
            message: "https://push.example.net/m/1".to_owned(),
            outcome: Outcome::Expired,
            status: StatusCode::GONE,
            at: Some(UnixMs::from_secs(1_800_000_000)),
        };
        assert_eq!(read(KIND, data), Some(receipt));
        assert_eq!(read("", data), None, "another type of event");
    }

    #[test]
    fn the_status_decides_and_the_word_has_more_detail_as_8030_5_1_2() {
        for known in Outcome::ALL {
            let (status, word) = (known.status().as_u16(), known.as_str());
            assert_eq!(outcome_of(&format!(r#","status":{status},"outcome":"{word}""#)), Some(known));
            assert_eq!(outcome_of(&format!(r#","outcome":"{word}""#)), Some(known));
        }
        for (rest, outcome) in [
            (r#","status":204"#, Outcome::Delivered),
            (r#","status":410"#, Outcome::Dropped),
            (r#","status":410,"outcome":"eaten""#, Outcome::Dropped),
            (r#","status":410,"outcome":"delivered""#, Outcome::Dropped),
            (r#","status":204,"outcome":"expired""#, Outcome::Delivered),
        ] {
            assert_eq!(outcome_of(rest), Some(outcome), "{rest}");
        }
    }

    #[test]
    fn an_event_without_message_or_outcome_is_not_a_receipt() {
        for rest in ["", r#","status":200"#, r#","status":"204""#, r#","outcome":"eaten""#] {
            assert_eq!(outcome_of(rest), None, "{rest}");
        }
        let long = format!(r#"{{"message":"/{}","status":204}}"#, "x".repeat(ENDPOINT_MAX));
        for data in ["", "{}", "[]", r#"{"status":204}"#, r#"{"message":"https://","status":204}"#, &long] {
            assert_eq!(read(KIND, data), None, "{data:.40}");
        }
    }

    proptest! {
        #[test]
        fn no_data_makes_it_panic(data: String, message: String, status: u16) {
            let _ = read(KIND, &data);
            let _ = read(KIND, &serde_json::json!({ "message": message, "status": status }).to_string());
        }
    }
}
