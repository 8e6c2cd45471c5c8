//! The outcome of a message, for the application server that asked for a receipt (RFC 8030 s5.1, s6.3).

use std::str::FromStr;

use http::{HeaderMap, HeaderName, StatusCode};
use thiserror::Error;

/// The field with the word: on pushed receipts, and on a DELETE by an agent whose application did not get the message.
pub const OUTCOME: HeaderName = HeaderName::from_static("doorbell-outcome");

/// How a message ended. Each message that wanted a receipt has one outcome, and it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The agent acknowledged it, or a holder of the message's URI deleted it.
    Delivered,
    /// Its time to live ran out first.
    Expired,
    /// The agent received it and could not decrypt it.
    Undecryptable,
    /// The subscription or the agent that it was for is gone.
    Unsubscribed,
    /// The service dropped it: for example it had TTL 0 and the agent was not connected.
    Dropped,
    /// The agent received it and the application did not take it: there is no such subscription, the agent had the
    /// message before, or the application failed.
    Refused,
}

/// A word that is not the name of an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the outcome is not one of delivered, expired, undecryptable, unsubscribed, dropped, refused")]
pub struct UnknownOutcome;

/// A DELETE that reports what an agent cannot know, or no outcome at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the outcome of the message is not one of delivered, undecryptable, refused, or it is repeated")]
pub struct ReportError;

impl Outcome {
    /// All of them; the place in this list plus one is the [`code`](Self::code).
    pub const ALL: [Self; 6] =
        [Self::Delivered, Self::Expired, Self::Undecryptable, Self::Unsubscribed, Self::Dropped, Self::Refused];

    /// What the agent reports in the fields of a DELETE of the message: [`Outcome::Delivered`] if it names no outcome.
    pub fn from_delete(headers: &HeaderMap) -> Result<Self, ReportError> {
        let mut words = headers.get_all(OUTCOME).iter();
        let Some(word) = words.next() else { return Ok(Self::Delivered) };
        let outcome = word.to_str().ok().and_then(|word| word.trim().to_ascii_lowercase().parse().ok());
        let reported = outcome.filter(|it| matches!(it, Self::Delivered | Self::Undecryptable | Self::Refused));
        reported.filter(|_| words.next().is_none()).ok_or(ReportError)
    }

    /// Its word in receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Undecryptable => "undecryptable",
            Self::Unsubscribed => "unsubscribed",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }

    /// The status of the receipt (RFC 8030 s6.3): 204 if it was delivered, 410 if it never will be.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Delivered => StatusCode::NO_CONTENT,
            _ => StatusCode::GONE,
        }
    }

    /// Its number in a store. The meaning of a number never changes.
    pub const fn code(self) -> u8 {
        match self {
            Self::Delivered => 1,
            Self::Expired => 2,
            Self::Undecryptable => 3,
            Self::Unsubscribed => 4,
            Self::Dropped => 5,
            Self::Refused => 6,
        }
    }

    /// The outcome with the number `code`.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Delivered),
            2 => Some(Self::Expired),
            3 => Some(Self::Undecryptable),
            4 => Some(Self::Unsubscribed),
            5 => Some(Self::Dropped),
            6 => Some(Self::Refused),
            _ => None,
        }
    }
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(word: &str) -> Result<Self, UnknownOutcome> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word).ok_or(UnknownOutcome)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn words_and_codes_lead_back_to_their_outcome() {
        for (place, outcome) in (1..).zip(Outcome::ALL) {
            assert_eq!(outcome.code(), place);
            assert_eq!(Outcome::from_code(place), Some(outcome));
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        assert_eq!(Outcome::from_code(0), None);
        assert_eq!(Outcome::from_code(7), None);
        assert_eq!("Delivered".parse::<Outcome>(), Err(UnknownOutcome));
    }

    #[test]
    fn a_delete_reports_what_an_agent_can_know_and_nothing_else() {
        let read = |words: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for word in words {
                headers.append(OUTCOME, HeaderValue::from_static(word));
            }
            Outcome::from_delete(&headers)
        };
        assert_eq!(read(&[]), Ok(Outcome::Delivered));
        for outcome in [Outcome::Delivered, Outcome::Undecryptable, Outcome::Refused] {
            assert_eq!(read(&[outcome.as_str()]), Ok(outcome));
        }
        assert_eq!(read(&[" Refused"]), Ok(Outcome::Refused), "words compare without case");
        for words in [&["expired"][..], &["unsubscribed"], &["dropped"], &["eaten"], &[""], &["refused", "refused"]] {
            assert_eq!(read(words), Err(ReportError), "{words:?}");
        }
    }

    #[test]
    fn what_arrived_is_204_and_everything_else_410_ps_8030_6_3_2_and_6_3_3() {
        let statuses = Outcome::ALL.map(|outcome| outcome.status().as_u16());
        assert_eq!(statuses, [204, 410, 410, 410, 410, 410]);
    }
}
