//! Checks a VAPID token (RFC 8292 s2): ES256, for this origin, not expired, valid for at most a day.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::claims::{Claims, Wire};
use super::header::Credentials;
use crate::base64url;
use crate::time::UnixMs;

/// How far ahead `exp` may be (RFC 8292 s2).
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// How much further, for a sender that signs for the full day with a clock that is a little ahead of ours.
/// The other end has no tolerance: an expired token is expired, so a cache of verified tokens needs no second rule.
pub const SKEW_MAX: Duration = Duration::from_secs(60);

/// r and s of P-256, 32 bytes each; a DER signature has another length or another meaning.
const SIGNATURE_LENGTH: usize = 64;

/// Why a token was rejected; the answer is 403. The texts name the value of the claim that came, shortened and escaped, and
/// the value that is wanted: they are for the sender of the token, and not for a log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VapidError {
    /// Not three base64url parts, or a part that is not the JSON it should be.
    #[error("the token is not a JWT")]
    Malformed,
    /// Another algorithm than ES256, or critical extensions.
    #[error("the token is not signed with ES256")]
    Algorithm,
    /// The signature is not 64 bytes, or not made by the key over this token.
    #[error("the signature does not match the key")]
    Signature,
    /// A claim that is there twice has no one meaning.
    #[error("a claim of the token is there twice")]
    Twice,
    /// `aud` does not include the origin of the push resource, or is missing.
    #[error("the audience (aud) is {came}, and must be {wanted}, the origin of the push URL")]
    Audience {
        /// The claim, as JSON; or that it is missing.
        came: String,
        /// The origin, as JSON.
        wanted: String,
    },
    /// No `exp`.
    #[error("the expiry (exp) is missing, and must be a number of seconds since 1970, at most {latest}")]
    NoExpiry {
        /// The latest `exp` that is accepted now, in seconds.
        latest: i64,
    },
    /// `exp` is past.
    #[error("the token has expired: the expiry (exp) is {exp}, and must not be before {now}, which is now")]
    Expired {
        /// The claim, as JSON.
        exp: String,
        /// The time, in seconds.
        now: i64,
    },
    /// `exp` is more than 24 hours ahead.
    #[error("the token expires more than 24 hours from now: the expiry (exp) is {exp}, and must be at most {latest}")]
    TooLong {
        /// The claim, as JSON.
        exp: String,
        /// The latest `exp` that is accepted now, in seconds.
        latest: i64,
    },
    /// A claim has a value of another type than it must have.
    #[error("the claim {name} is {came}, and must be {wanted}")]
    Type {
        /// The name of the claim.
        name: &'static str,
        /// The claim, as JSON.
        came: String,
        /// The type that it must have.
        wanted: &'static str,
    },
}

/// The claims of `credentials`, if the token is good for one of `origins` at `now`.
///
/// An origin is compared as its exact text: scheme, host and any port other than the default, nothing after them
/// (`https://push.example.net:8443`). The first one is the one that an error names.
///
/// # Errors
/// If the token is not a JWT, not signed by its key, not for `origins`, expired, or valid for more than a day.
pub fn verify(credentials: &Credentials<'_>, origins: &[&str], now: UnixMs) -> Result<Claims, VapidError> {
    debug_assert!(!origins.is_empty(), "a push service has an origin");
    let (signed, signature) = credentials.token.rsplit_once('.').ok_or(VapidError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(VapidError::Malformed)?;
    check_algorithm(header)?;
    // Nothing of the payload is read before the signature is verified (RFC 8292 s2).
    check_signature(credentials, signed, signature)?;
    let (claims, written_exp) = read_claims(payload, origins, now)?;
    if !claims.aud.iter().any(|aud| origins.contains(&aud.as_str())) {
        return Err(audience(&serde_json::json!(claims.aud), origins));
    }
    check_expiry(claims.exp, written_exp, now)?;
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

/// The claims, and the expiry as it was written: one that is beyond every clock has another value in the claims.
fn read_claims(payload: &str, origins: &[&str], now: UnixMs) -> Result<(Claims, Number), VapidError> {
    let json = base64url::decode(payload).map_err(|_| VapidError::Malformed)?;
    let wire: Wire = serde_json::from_slice(&json).map_err(|_| mismatch(&json, origins))?;
    let exp = wire.exp.ok_or_else(|| VapidError::NoExpiry { latest: latest_expiry(now).as_secs() })?;
    let aud = wire.aud.ok_or_else(|| audience(&Value::Null, origins))?;
    Ok((Claims { aud: aud.into_vec(), exp: numeric_date(&exp), sub: wire.sub }, exp))
}

/// Why `json` is not the claims of a token: the first claim of another type than it must have.
fn mismatch(json: &[u8], origins: &[&str]) -> VapidError {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(json) else { return VapidError::Malformed };
    match (claims.get("aud"), claims.get("exp"), claims.get("sub")) {
        (Some(aud), _, _) if !is_text(aud) && !is_list_of_text(aud) && !aud.is_null() => audience(aud, origins),
        (_, Some(exp), _) if !exp.is_number() && !exp.is_null() => {
            VapidError::Type { name: "exp", came: shown(exp), wanted: "a number of seconds since 1970" }
        }
        (_, _, Some(sub)) if !is_text(sub) && !sub.is_null() => {
            VapidError::Type { name: "sub", came: shown(sub), wanted: "a mailto: or https: URI" }
        }
        // A map keeps one of two claims with the same name, and the claims themselves accept no second one.
        _ => VapidError::Twice,
    }
}

fn audience(came: &Value, origins: &[&str]) -> VapidError {
    let came = match came {
        Value::Null => "missing".to_owned(),
        // One audience reads the same with and without its list.
        Value::Array(list) if list.len() == 1 => shown(&list[0]),
        other => shown(other),
    };
    let wanted = origins.first().map(|origin| shown(&Value::from(*origin))).expect("a push service has an origin");
    VapidError::Audience { came, wanted }
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

fn is_list_of_text(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(is_text))
}

/// The longest form of a claim in an error, in characters: enough for an origin, and no answer is filled with it.
const SHOWN_MAX: usize = 120;

/// A claim as JSON, cut where it would have more than [`SHOWN_MAX`] characters. What is neither a letter, a digit nor
/// printable ASCII is escaped: it could change how a terminal shows the rest.
fn shown(claim: &Value) -> String {
    let mut text = String::new();
    let mut left = SHOWN_MAX;
    for c in claim.to_string().chars() {
        let is_plain = c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
        let length = if is_plain { 1 } else { c.escape_unicode().count() };
        let Some(rest) = left.checked_sub(length) else {
            text.push('…');
            break;
        };
        left = rest;
        if is_plain {
            text.push(c);
        } else {
            text.extend(c.escape_unicode());
        }
    }
    text
}

/// A NumericDate (RFC 7519 s2) may have a fraction; it is rounded down. A number beyond every clock saturates.
fn numeric_date(exp: &Number) -> UnixMs {
    let secs = exp.as_i64().or_else(|| exp.as_f64().map(|secs| secs as i64));
    UnixMs::from_secs(secs.unwrap_or(i64::MAX))
}

fn check_expiry(exp: UnixMs, written: Number, now: UnixMs) -> Result<(), VapidError> {
    if exp < now {
        Err(VapidError::Expired { exp: shown(&Value::Number(written)), now: now.as_secs() })
    } else if exp > latest_expiry(now) {
        Err(VapidError::TooLong { exp: shown(&Value::Number(written)), latest: latest_expiry(now).as_secs() })
    } else {
        Ok(())
    }
}

fn latest_expiry(now: UnixMs) -> UnixMs {
    now.plus(LIFETIME_MAX).plus(SKEW_MAX)
}

fn parse<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, VapidError> {
    let json = base64url::decode(part).map_err(|_| VapidError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| VapidError::Malformed)
}
