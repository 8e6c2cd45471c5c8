//! From when to when our own certificates are valid. This is about wall time, which may be wrong: at boot it may be
//! 1970, and a synchronisation sets it.

use doorbell_protocol::time::UnixMs;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::X509Certificate;

/// How long a CA is valid from the time at which it is made.
pub(super) const CA_VALID: Duration = Duration::days(3650);
/// How long a certificate is valid; browsers refuse longer ones.
pub(super) const LEAF_VALID: Duration = Duration::days(397);
/// A certificate with less time left is made again. Browsers and clients that cache it have time to see the new one.
const RENEWED_BEFORE_END: Duration = Duration::days(60);
/// A certificate begins in the past, for clients whose clock is behind.
const BACKDATED: Duration = Duration::DAY;
/// This program is younger, so an earlier time is the time of a wrong clock.
pub(super) const RELEASED: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
/// Later times are the times of a wrong clock too, and leave room to add years.
const LATEST: OffsetDateTime = datetime!(9000-01-01 00:00 UTC);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept::tls) struct Validity {
    pub(in crate::accept::tls) not_before: OffsetDateTime,
    pub(in crate::accept::tls) not_after: OffsetDateTime,
}

impl Validity {
    /// Reads it from a certificate.
    pub(in crate::accept::tls) fn of(certificate: &X509Certificate<'_>) -> Self {
        let valid = certificate.validity();
        Self { not_before: valid.not_before.to_datetime(), not_after: valid.not_after.to_datetime() }
    }

    /// For a certificate that is made now, within the validity of its CA.
    pub(super) fn of_leaf(now: OffsetDateTime, ca: Self) -> Self {
        let (not_before, not_after) = (now - BACKDATED, now - BACKDATED + LEAF_VALID);
        Self { not_before: not_before.max(ca.not_before), not_after: not_after.min(ca.not_after) }
    }

    /// Whether the certificate has to be made again: it ends soon, or begins in the future because it was made while
    /// the clock was ahead.
    pub(super) fn is_due(self, now: OffsetDateTime) -> bool {
        now < self.not_before || self.not_after - now < RENEWED_BEFORE_END
    }
}

/// The time by which certificates are made. A clock that is plainly wrong counts as the nearest time that can be.
pub(in crate::accept::tls) fn plausible(now: UnixMs) -> OffsetDateTime {
    // Out of the range of dates is far in the future, or before 1970.
    let read = OffsetDateTime::from_unix_timestamp(now.as_secs()).unwrap_or(LATEST);
    read.clamp(RELEASED, LATEST)
}
