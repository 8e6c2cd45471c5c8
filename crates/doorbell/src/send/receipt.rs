//! `--receipt`: waits for the receipt of one message, and explains it.

use std::time::Duration;

use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::receipt::Outcome;
use doorbell_sender::answer::Accepted;
use doorbell_sender::client::Client;
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::receipts::follower::{Follower, ReceiptEvent};
use doorbell_sender::receipts::receipt::Receipt;
use serde_json::json;
use tokio::time::timeout;

/// How much longer than the TTL a receipt may take: the push service has to notice the end, and to send it.
const GRACE: Duration = Duration::from_secs(15);

/// How long we take to delete the receipt subscription afterwards.
const TIDYING_MAX: Duration = Duration::from_secs(5);

/// The end of an accepted message.
pub(super) enum Fate {
    /// The push service sent its receipt.
    Received(Receipt),
    /// It did not send one in this time.
    NotInTime(Duration),
    /// It has no receipts.
    Unsupported,
    /// Receipts cannot be received: the reason.
    Failed(String),
}

/// How long to wait by default.
pub(super) fn time_max(accepted: &Accepted, asked: Ttl) -> Duration {
    Duration::from_secs(accepted.ttl.unwrap_or(asked).as_secs().into()) + GRACE
}

/// Waits for the receipt of a message that was `accepted`.
pub(super) async fn wait(client: &Client, accepted: &Accepted, time_max: Duration) -> Fate {
    let Some(url) = &accepted.receipt else { return Fate::Unsupported };
    let receipts = match Endpoint::parse(url) {
        Ok(receipts) => receipts,
        Err(error) => return Fate::Failed(error.to_string()),
    };
    let mut follower = Follower::new(client, receipts.clone());
    let received = timeout(time_max, receipt_of(&mut follower, accepted.message.as_deref())).await;
    let fate = received.unwrap_or(Fate::NotInTime(time_max));
    if let Fate::Received(_) = &fate {
        // It was made for this message, and gets no other receipt. If it stays, the push service removes it in time.
        let _ = timeout(TIDYING_MAX, client.delete(&receipts)).await;
    }
    fate
}

/// The receipt of `message`, or the first one if the push service did not name the message.
async fn receipt_of(follower: &mut Follower, message: Option<&str>) -> Fate {
    loop {
        match follower.next().await {
            Ok(ReceiptEvent::Receipt(receipt)) if message.is_none_or(|message| message == receipt.message) => {
                return Fate::Received(receipt);
            }
            Ok(ReceiptEvent::Receipt(_)) => {}
            Ok(ReceiptEvent::Gone | ReceiptEvent::Nothing) => {
                return Fate::Failed("the receipt subscription is gone".to_owned());
            }
            Err(error) => return Fate::Failed(error.to_string()),
        }
    }
}

impl Fate {
    /// As the help of the verb lists them.
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            Self::Received(receipt) if receipt.outcome == Outcome::Delivered => 0,
            Self::Received(_) => 6,
            Self::NotInTime(_) | Self::Unsupported | Self::Failed(_) => 7,
        }
    }

    /// Whether the receipt may still come.
    pub(super) fn may_still_come(&self) -> bool {
        matches!(self, Self::NotInTime(_) | Self::Failed(_))
    }

    /// What happened, in words.
    pub(super) fn words(&self, ttl: Ttl) -> String {
        match self {
            Self::Received(receipt) => match receipt.outcome {
                Outcome::Delivered => "delivered to the user agent".to_owned(),
                Outcome::Expired => "expired: the user agent did not come within the TTL".to_owned(),
                Outcome::Undecryptable => "the user agent could not decrypt it".to_owned(),
                Outcome::Refused => "the user agent did not hand it to the web app".to_owned(),
                Outcome::Unsubscribed => "the subscription was removed".to_owned(),
                Outcome::Dropped if ttl.as_secs() == 0 => {
                    "dropped: TTL 0, and the user agent was not connected".to_owned()
                }
                Outcome::Dropped => "dropped: the push service gave it up".to_owned(),
            },
            Self::NotInTime(waited) => format!("none within {} s; the message may still arrive", waited.as_secs()),
            Self::Unsupported => "none: this push service has no receipts".to_owned(),
            Self::Failed(why) => format!("none: {why}"),
        }
    }

    /// The member `receipt` of the outcome.
    pub(super) fn to_json(&self, ttl: Ttl) -> serde_json::Value {
        let (word, receipt) = match self {
            Self::Received(receipt) => (receipt.outcome.as_str(), Some(receipt)),
            Self::NotInTime(_) => ("none-in-time", None),
            Self::Unsupported => ("unsupported", None),
            Self::Failed(_) => ("failed", None),
        };
        json!({
            "outcome": word,
            "status": receipt.map(|receipt| receipt.status.as_u16()),
            "at": receipt.and_then(|receipt| receipt.at).map(|at| at.as_millis()),
            "message": self.words(ttl),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_words_and_its_exit_status_as_8030_5_1_2() {
        for (outcome, exit, words) in [
            (Outcome::Delivered, 0, "delivered to the user agent"),
            (Outcome::Expired, 6, "expired: the user agent did not come within the TTL"),
            (Outcome::Undecryptable, 6, "the user agent could not decrypt it"),
            (Outcome::Unsubscribed, 6, "the subscription was removed"),
            (Outcome::Dropped, 6, "dropped: the push service gave it up"),
            (Outcome::Refused, 6, "the user agent did not hand it to the web app"),
        ] {
            let status = outcome.status();
            let fate = Fate::Received(Receipt { message: "https://h/m/1".to_owned(), outcome, status, at: None });
            assert_eq!((fate.exit_status(), fate.words(Ttl::from_secs(60)).as_str()), (exit, words));
            let json = fate.to_json(Ttl::from_secs(60));
            assert_eq!(
                (json["outcome"].as_str(), json["status"].as_u64()),
                (Some(outcome.as_str()), Some(status.as_u16().into()))
            );
        }
        let silent = Fate::NotInTime(Duration::from_secs(75));
        assert_eq!((silent.exit_status(), silent.to_json(Ttl::from_secs(60))["at"].as_i64()), (7, None));
    }

    #[test]
    fn the_wait_is_the_granted_ttl_and_a_little() {
        let accepted = |ttl| Accepted { message: None, ttl, receipt: None };
        assert_eq!(time_max(&accepted(Some(Ttl::from_secs(30))), Ttl::MAX), Duration::from_secs(45));
        assert_eq!(time_max(&accepted(None), Ttl::from_secs(0)), Duration::from_secs(15));
    }
}
