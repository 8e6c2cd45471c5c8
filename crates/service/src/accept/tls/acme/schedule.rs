//! When a certificate is renewed, and when after a failure.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use instant_acme::{Account, RenewalInfo};
use time::OffsetDateTime;
use tracing::debug;

use super::super::self_signed::Validity;
use super::certificate::Certificate;

/// How often the authority is asked when to renew, at least and at most (RFC 9773 s4.3.2).
const ASKED_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
/// Where the authority gives no interval.
const ASKED_WITHOUT_ANSWER: Duration = Duration::from_secs(6 * 3600);
/// How long an answer to that question may take.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// There is none.
    Now,
    /// The authority suggests it.
    Suggested,
    /// Its end is near.
    Ends,
    Later,
}

/// What the authority wants.
#[derive(Default)]
pub(super) struct Schedule {
    /// When to renew, if the authority suggests a time.
    suggested: Option<OffsetDateTime>,
    /// The window of that suggestion: within one window the time stays.
    window: Option<(OffsetDateTime, OffsetDateTime)>,
    is_supported: bool,
    /// By the time of service: not asked again before it.
    not_before: UnixMs,
}

impl Schedule {
    /// Whether it is time to ask the authority again.
    pub(super) fn may_ask(&self, served: UnixMs) -> bool {
        served >= self.not_before
    }

    /// The authority is asked again at the next look, whatever wait it asked for.
    pub(super) fn ask_again(&mut self) {
        self.not_before = UnixMs::default();
    }

    /// Asks the authority when to renew.
    pub(super) async fn ask(&mut self, account: Option<&Account>, current: &Certificate, served: UnixMs) {
        self.not_before = served.plus(ASKED_WITHOUT_ANSWER);
        let (Some(account), Some(identifier)) = (account, current.identifier()) else { return };
        match tokio::time::timeout(ASK_TIMEOUT, account.renewal_info(&identifier)).await {
            Ok(Ok((info, again))) => {
                self.is_supported = true;
                self.not_before = served.plus(again.clamp(ASKED_EVERY.0, ASKED_EVERY.1));
                self.suggest(&info, random());
            }
            Ok(Err(error)) => debug!(%error, "the authority suggests no time of renewal"),
            Err(_) => debug!("the authority did not answer when to renew"),
        }
    }

    /// A moment in the window, at random, so that not all clients renew at once; `random` is from 0 to 1.
    fn suggest(&mut self, info: &RenewalInfo, random: f64) {
        let window = (info.suggested_window.start, info.suggested_window.end);
        if self.window != Some(window) && window.0 <= window.1 {
            self.window = Some(window);
            self.suggested = Some(window.0 + (window.1 - window.0) * random);
        }
    }

    /// Whether the authority has this interface, so that orders may name the certificate that they replace.
    pub(super) fn is_supported(&self) -> bool {
        self.is_supported
    }

    /// Whether it is time to renew: when the authority suggests, else in the last third of the certificate's life.
    pub(super) fn due(&self, valid: Validity, now: OffsetDateTime) -> Due {
        let lifetime = valid.not_after - valid.not_before;
        // A suggestion near the end would leave no time for a second attempt.
        let latest = valid.not_after - lifetime / 10;
        match self.suggested {
            Some(suggested) if now >= suggested => Due::Suggested,
            Some(_) if now >= latest => Due::Ends,
            None if now >= valid.not_after - lifetime / 3 => Due::Ends,
            _ => Due::Later,
        }
    }
}

fn random() -> f64 {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const VALID: Validity =
        Validity { not_before: datetime!(2026-12-01 00:00 UTC), not_after: datetime!(2027-03-01 00:00 UTC) };

    fn due(valid: Validity, suggested: Option<OffsetDateTime>, now: OffsetDateTime) -> Due {
        Schedule { suggested, ..Schedule::default() }.due(valid, now)
    }

    #[test]
    fn a_certificate_is_renewed_a_third_of_its_life_before_its_end() {
        assert_eq!(due(VALID, None, datetime!(2027-01-29 23:00 UTC)), Due::Later);
        assert_eq!(due(VALID, None, datetime!(2027-01-30 00:00 UTC)), Due::Ends);
        let of_six_days = Validity { not_after: VALID.not_before + time::Duration::days(6), ..VALID };
        assert_eq!(due(of_six_days, None, datetime!(2026-12-04 23:00 UTC)), Due::Later);
        assert_eq!(due(of_six_days, None, datetime!(2026-12-05 00:00 UTC)), Due::Ends);
    }

    #[test]
    fn the_authority_may_suggest_an_earlier_or_a_later_time_and_none_that_is_too_late() {
        let early = datetime!(2026-12-03 00:00 UTC);
        assert_eq!(due(VALID, Some(early), datetime!(2026-12-02 23:00 UTC)), Due::Later);
        assert_eq!(due(VALID, Some(early), early), Due::Suggested);
        let late = datetime!(2027-02-10 00:00 UTC);
        assert_eq!(due(VALID, Some(late), datetime!(2027-02-09 23:00 UTC)), Due::Later);
        assert_eq!(due(VALID, Some(late), late), Due::Suggested);
        assert_eq!(due(VALID, Some(datetime!(2028-01-01 00:00 UTC)), datetime!(2027-02-20 00:00 UTC)), Due::Ends);
    }

    #[test]
    fn a_suggestion_stays_within_one_window() {
        let info = |start, end| RenewalInfo {
            suggested_window: instant_acme::SuggestedWindow { start, end },
            explanation_url: None,
        };
        let (start, end) = (datetime!(2027-01-01 00:00 UTC), datetime!(2027-01-03 00:00 UTC));
        let mut schedule = Schedule::default();
        schedule.suggest(&info(start, end), 0.5);
        schedule.suggest(&info(start, end), 1.0);
        assert_eq!(schedule.suggested, Some(datetime!(2027-01-02 00:00 UTC)));
        schedule.suggest(&info(start, start), 1.0);
        assert_eq!(schedule.suggested, Some(start), "another window");
        schedule.suggest(&info(end, start), 1.0);
        assert_eq!(schedule.suggested, Some(start), "one that ends before it begins is none");
    }
}
