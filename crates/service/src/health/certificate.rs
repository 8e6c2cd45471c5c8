//! Whether clients get a certificate that is valid now.

use std::sync::Arc;

use doorbell_protocol::time::UnixMs;

use super::rfc3339;
use crate::accept::tls::CertificateResolver;
use crate::clock::Clock;
use crate::config::TlsSource;
use crate::status::{CertificateStatus, Condition};

const NAME: &str = "certificate";
/// One with less time left was probably forgotten: authorities renew a third of the lifetime before the end.
const FORGOTTEN_SECS: i64 = 7 * 24 * 3600;

/// The certificate of the listeners, and where it comes from.
pub(crate) struct Certificate {
    pub(crate) source: &'static str,
    pub(crate) resolver: Arc<CertificateResolver>,
}

/// The short name of a source.
pub(crate) fn source(tls: &TlsSource) -> &'static str {
    match tls {
        TlsSource::SelfSigned => "self-signed",
        TlsSource::Files { .. } => "files",
        TlsSource::Acme(_) => "acme",
        TlsSource::Plain => "none",
    }
}

impl Certificate {
    pub(super) fn status(&self, now: UnixMs) -> CertificateStatus {
        let end = self.resolver.valid_until();
        CertificateStatus {
            source: self.source,
            not_after: end.map(rfc3339),
            ends_in_secs: end.map(|end| end.as_secs().saturating_sub(now.as_secs())),
            problem: self.resolver.problem(),
        }
    }
}

/// Whether handshakes succeed with clients that look at the time.
pub(super) fn condition(certificate: Option<&Certificate>, clock: &Clock) -> Condition {
    let Some(Certificate { source, resolver }) = certificate else {
        return Condition::holds(NAME, "TLS does not end here");
    };
    let next = resolver.next_attempt().map(|waits| waits.hint(clock.served()));
    let Some((begin, end)) = resolver.valid_from().zip(resolver.valid_until()) else {
        return Condition::fails(
            NAME,
            "there is no certificate yet: TLS connections are refused",
            after(
                "the log says what is tried: the domain must lead to this machine, and port 443 must be reachable",
                next,
            ),
        );
    };
    let condition = judge(source, begin, end, clock.plausible_wall(), next);
    match resolver.problem() {
        Some(why) => with_problem(condition, &why),
        None => condition,
    }
}

/// The same where the certificate that should follow cannot be used.
fn with_problem(condition: Condition, why: &str) -> Condition {
    let fix = "correct that, then `doorbell reload`: until then the present certificate stays in use";
    Condition {
        message: format!("{}; the next one cannot be used: {why}", condition.message),
        hint: Some(condition.hint.unwrap_or_else(|| fix.to_owned())),
        ..condition
    }
}

/// A hint, and when the next attempt is.
fn after(hint: &str, next: Option<String>) -> String {
    next.map_or_else(|| hint.to_owned(), |next| format!("{hint}; {next}"))
}

fn judge(source: &str, begin: UnixMs, end: UnixMs, now: UnixMs, next: Option<String>) -> Condition {
    let renew = match source {
        "acme" => "the log says why it was not renewed; `doorbell reload` tries again",
        "files" => "renew it: the service reads the files again by itself when they change",
        _ => "set the clock: the service renews this certificate by itself",
    };
    let renew = after(renew, next);
    let left = end.as_secs().saturating_sub(now.as_secs());
    if now.as_secs() < begin.as_secs() {
        let text = format!("the certificate is not valid before {}: clients refuse it", rfc3339(begin));
        Condition::fails(NAME, text, "set the clock, or get another certificate")
    } else if left < 0 {
        Condition::fails(NAME, format!("the certificate expired at {}: clients refuse it", rfc3339(end)), renew)
    } else {
        let text = format!("the certificate is valid until {}", rfc3339(end));
        let condition = Condition::holds(NAME, text);
        // Certificates by ACME may live for some days only, and their renewal is logged.
        if left < FORGOTTEN_SECS && source == "files" { condition.with_hint(renew) } else { condition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: UnixMs = UnixMs::from_secs(1_790_000_000);
    const END: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn at(secs: i64) -> Condition {
        judge("files", BEGIN, END, UnixMs::from_secs(secs), None)
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_second() {
        assert!(!at(BEGIN.as_secs() - 1).ok && at(BEGIN.as_secs()).ok);
        assert!(at(END.as_secs()).ok && !at(END.as_secs() + 1).ok);
    }

    #[test]
    fn a_file_near_its_end_is_pointed_out_before_clients_refuse_it() {
        let near = at(END.as_secs() - FORGOTTEN_SECS + 1);
        assert!(near.ok && near.hint.is_some(), "{near:?}");
        assert_eq!(at(END.as_secs() - FORGOTTEN_SECS).hint, None);
        let expired = at(END.as_secs() + 1);
        assert!(expired.message.contains("expired at 2027-01-15T08:00:00Z"), "{expired:?}");
    }
}
