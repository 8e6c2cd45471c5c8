//! Checks a VAPID token (RFC 8292 s2): ES256, for this origin, not expired, not for longer than a day.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use super::claims::{Claims, Wire};
use super::header::Credentials;
use crate::base64url;
use crate::time::UnixMs;

/// How far ahead `exp` may be (RFC 8292 s2).
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// How much further, for a sender that signs for the full day with a clock that is a little ahead of ours.
/// The other end gets no grace: an expired token is expired, so that a cache of verified ones needs no second rule.
pub const SKEW_MAX: Duration = Duration::from_secs(60);

/// r and s of P-256, 32 octets each; a DER signature has another length or another meaning.
const SIGNATURE_LENGTH: usize = 64;

/// Why a token was refused; the answer is 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VapidError {
    /// Not three base64url parts, or a part that is not the JSON it should be.
    #[error("the token is not a JWT")]
    Malformed,
    /// Another algorithm than ES256, or critical extensions.
    #[error("the token is not signed with ES256")]
    Algorithm,
    /// The signature is not 64 octets, or not made by the key over this token.
    #[error("the signature does not match the key")]
    Signature,
    /// `aud` is missing or does not include the origin of the push resource.
    #[error("the audience (aud) is not the origin of this push service")]
    Audience,
    /// No `exp`.
    #[error("the token has no expiry (exp)")]
    NoExpiry,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `exp` is more than 24 hours ahead.
    #[error("the token expires more than 24 hours from now")]
    TooLong,
}

/// The claims of `credentials`, if the token is good for one of `origins` at `now`.
///
/// An origin is compared as its exact text: scheme, host and any port other than the default, nothing behind
/// (`https://push.example.net:8443`).
pub fn verify(credentials: &Credentials<'_>, origins: &[&str], now: UnixMs) -> Result<Claims, VapidError> {
    let (signed, signature) = credentials.token.rsplit_once('.').ok_or(VapidError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(VapidError::Malformed)?;
    check_algorithm(header)?;
    // Nothing of the payload is looked at before the signature holds (RFC 8292 s2).
    check_signature(credentials, signed, signature)?;
    let claims = read_claims(payload)?;
    if !claims.aud.iter().any(|aud| origins.contains(&aud.as_str())) {
        return Err(VapidError::Audience);
    }
    check_expiry(claims.exp, now)?;
    Ok(claims)
}

/// The part of a JOSE header (RFC 7515 s4.1) that decides something.
#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<IgnoredAny>,
}

fn check_algorithm(header: &str) -> Result<(), VapidError> {
    let header: Header = parse(header)?;
    if header.alg == "ES256" && header.crit.is_none() { Ok(()) } else { Err(VapidError::Algorithm) }
}

fn check_signature(credentials: &Credentials<'_>, signed: &str, signature: &str) -> Result<(), VapidError> {
    let signature = base64url::decode(signature).map_err(|_| VapidError::Signature)?;
    if signature.len() != SIGNATURE_LENGTH {
        return Err(VapidError::Signature);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, credentials.key.as_bytes())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| VapidError::Signature)
}

fn read_claims(payload: &str) -> Result<Claims, VapidError> {
    let wire: Wire = parse(payload)?;
    let exp = wire.exp.ok_or(VapidError::NoExpiry)?;
    Ok(Claims { aud: wire.aud.ok_or(VapidError::Audience)?.into_vec(), exp: numeric_date(&exp), sub: wire.sub })
}

/// A NumericDate (RFC 7519 s2) may have a fraction; it is rounded down. What no clock will ever show saturates.
#[allow(clippy::cast_possible_truncation)]
fn numeric_date(exp: &serde_json::Number) -> UnixMs {
    let secs = exp.as_i64().or_else(|| exp.as_f64().map(|secs| secs as i64));
    UnixMs::from_secs(secs.unwrap_or(i64::MAX))
}

fn check_expiry(exp: UnixMs, now: UnixMs) -> Result<(), VapidError> {
    if exp < now {
        Err(VapidError::Expired)
    } else if exp > now.plus(LIFETIME_MAX).plus(SKEW_MAX) {
        Err(VapidError::TooLong)
    } else {
        Ok(())
    }
}

fn parse<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, VapidError> {
    let json = base64url::decode(part).map_err(|_| VapidError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| VapidError::Malformed)
}
