//! Which clients may send: VAPID credentials (RFC 8292), verified once and cached until they expire.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use doorbell_protocol::headers::coding::CRYPTO_KEY;
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::header::{Credentials, CredentialsError};
use doorbell_protocol::vapid::verify::{self, VapidError};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use thiserror::Error;
use tracing::warn;

use crate::capability::KeyFingerprint;
use crate::config::Origin;
use crate::locked::Locked;

/// Tokens in one half of the cache. Senders use one token per origin and key for hours: 64 thousand tokens take few
/// megabytes, and a flood of new tokens displaces at most the older half.
const CACHED_MAX: usize = 1 << 15;

/// Why a client may not send to a subscription.
#[derive(Debug, Error)]
pub(crate) enum VapidRejection {
    /// The subscription is restricted and the request is not signed: 401 with a challenge (RFC 8292 s4.2).
    #[error("this subscription accepts only signed messages")]
    Missing,
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The token is invalid.
    #[error(transparent)]
    Token(#[from] VapidError),
    /// The token is valid, but the subscription is restricted to another key.
    #[error("the subscription is restricted to another application server key")]
    OtherKey,
    /// The token does not fit the time, and the service's own clock may be the reason: 429, because a sender must not
    /// give the subscription up for it.
    #[error("the token seems too old or too new, but this service's clock is wrong or has just been set")]
    ClockInDoubt,
}

impl VapidRejection {
    /// The rejection by a service that doubts its clock: no judgement that depends on the time is final then.
    pub(super) fn in_doubt(self) -> Self {
        match self {
            Self::Token(VapidError::Expired { .. } | VapidError::TooLong { .. }) => Self::ClockInDoubt,
            other => other,
        }
    }
}

/// Verifies credentials, and caches valid ones by the exact bytes of their headers. ES256 costs more than the rest of a
/// message, and parsing the key, which must be a point of the curve, costs much of that rest.
pub(crate) struct VapidVerifier {
    /// The origin, as senders may write it.
    origins: Vec<String>,
    /// The origin without its port, which senders may also name unless the audience is strict; empty if it has none.
    without_port: Vec<String>,
    is_strict: AtomicBool,
    tokens: Locked<TokenCache>,
    lenient: Locked<HashSet<KeyFingerprint>>,
}

/// The maximum of remembered keys that sign for the origin without its port. Each has a line in the log, and any client
/// can create keys.
const LENIENT_KEYS_MAX: usize = 256;

/// Two halves: when the newer one is full it becomes the older one, and the tokens of the older one are dropped.
#[derive(Default)]
struct TokenCache {
    newer: HashMap<HeadersHash, VerifiedToken>,
    older: HashMap<HeadersHash, VerifiedToken>,
}

/// The hash of the headers that hold credentials.
type HeadersHash = [u8; 32];

/// The key of verified credentials, and their expiry.
#[derive(Clone, Copy)]
struct VerifiedToken {
    key: PublicKey,
    until: UnixMs,
    /// It names our origin without the port.
    is_lenient: bool,
}

impl VapidVerifier {
    /// `strict_audience`: whether a token must name the origin with its port, as RFC 8292 s2 requires. Several
    /// libraries omit the port; the rest is still the name of this host.
    pub(crate) fn new(origin: &Origin, strict_audience: bool) -> Self {
        Self {
            origins: origin.spellings(),
            without_port: origin.spellings_without_port(),
            is_strict: AtomicBool::new(strict_audience),
            tokens: Locked::default(),
            lenient: Locked::default(),
        }
    }

    /// Changes whether a token must name the port.
    pub(crate) fn set_strict(&self, strict_audience: bool) {
        self.is_strict.store(strict_audience, Ordering::Relaxed);
    }

    /// The key that signed the request, if it is signed and may send to a subscription with this restriction.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        restricted_to: Option<KeyFingerprint>,
        now: UnixMs,
    ) -> Result<Option<PublicKey>, VapidRejection> {
        let key = self.signer(headers, now)?;
        match (restricted_to, key) {
            (Some(_), None) => Err(VapidRejection::Missing),
            (Some(only), Some(key)) if only != key.fingerprint() => Err(VapidRejection::OtherKey),
            _ => Ok(key),
        }
    }

    fn signer(&self, headers: &HeaderMap, now: UnixMs) -> Result<Option<PublicKey>, VapidRejection> {
        let hash = hash_of(headers);
        let is_strict = self.is_strict.load(Ordering::Relaxed);
        let known = self.tokens.lock().get(&hash);
        if let Some(token) = known.filter(|token| now < token.until && !(is_strict && token.is_lenient)) {
            return Ok(Some(token.key));
        }
        let Some(credentials) = Credentials::parse(headers)? else { return Ok(None) };
        let without_port = if is_strict { &[][..] } else { &self.without_port[..] };
        let accepted: Vec<&str> = self.origins.iter().chain(without_port).map(String::as_str).collect();
        let claims = verify::verify(&credentials, &accepted, now)?;
        let is_lenient = !claims.aud.iter().any(|aud| self.origins.contains(aud));
        if is_lenient {
            self.note_lenient(&credentials.key);
        }
        let token = VerifiedToken { key: credentials.key, until: claims.exp, is_lenient };
        self.tokens.lock().insert(hash, token);
        Ok(Some(token.key))
    }

    /// Logs once for each key, without the key, that it signs for the origin without its port. When the set is full it
    /// logs nothing.
    fn note_lenient(&self, key: &PublicKey) {
        let mut keys = self.lenient.lock();
        if keys.len() < LENIENT_KEYS_MAX && keys.insert(key.fingerprint()) {
            let keys = keys.len();
            warn!(keys, "a sender signs for this service's origin without the port; strict_audience would reject it");
        }
    }
}

impl TokenCache {
    fn get(&self, hash: &HeadersHash) -> Option<VerifiedToken> {
        self.newer.get(hash).or_else(|| self.older.get(hash)).copied()
    }

    fn insert(&mut self, hash: HeadersHash, token: VerifiedToken) {
        if self.newer.len() >= CACHED_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(hash, token);
    }
}

/// Hashes all values of the headers that may hold credentials, each with its length, so that no two requests collide.
fn hash_of(headers: &HeaderMap) -> HeadersHash {
    let mut context = Context::new(&SHA256);
    for header in [&AUTHORIZATION, &CRYPTO_KEY] {
        for value in headers.get_all(header) {
            context.update(&value.len().to_be_bytes());
            context.update(value.as_bytes());
        }
        context.update(&usize::MAX.to_be_bytes());
    }
    let digest = context.finish();
    std::array::from_fn(|i| digest.as_ref()[i])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use doorbell_protocol::vapid::sign::SigningKey;
    use http::HeaderValue;

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);
    const ORIGIN: &str = "https://push.example.org";

    fn verifier() -> VapidVerifier {
        VapidVerifier::new(&Origin::parse(ORIGIN).unwrap(), false)
    }

    fn signed(key: &SigningKey, aud: &str, exp: UnixMs) -> HeaderMap {
        let token = key.sign(aud, exp, None).unwrap();
        let value = format!("vapid t={token}, k={}", key.public_key().to_base64url());
        [(http::header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_clock_in_doubt_excuses_what_depends_on_the_time_and_nothing_else_ps_8292_2_4() {
        let key = SigningKey::generate().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let rejected = |aud, exp| verifier().check(&signed(&key, aud, exp), None, NOW).unwrap_err().in_doubt();
        for exp in [NOW.minus(day), NOW.plus(2 * day)] {
            assert!(matches!(rejected(ORIGIN, exp), VapidRejection::ClockInDoubt));
        }
        let other = rejected("https://other.example.org", NOW.plus(day));
        assert!(matches!(other, VapidRejection::Token(VapidError::Audience { .. })), "{other}");
    }

    #[test]
    fn a_restricted_subscription_takes_its_own_key_only_ps_8292_4_2_1() {
        let (own, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let only = Some(own.public_key().fingerprint());
        let exp = NOW.plus(Duration::from_secs(3600));
        assert!(verifier().check(&signed(&own, ORIGIN, exp), only, NOW).is_ok());
        assert!(matches!(verifier().check(&signed(&other, ORIGIN, exp), only, NOW), Err(VapidRejection::OtherKey)));
        assert!(matches!(verifier().check(&HeaderMap::new(), only, NOW), Err(VapidRejection::Missing)));
        assert!(matches!(verifier().check(&HeaderMap::new(), None, NOW), Ok(None)));
    }

    #[test]
    fn a_cached_token_still_expires_ps_8292_5_1() {
        let (key, verifier) = (SigningKey::generate().unwrap(), verifier());
        let headers = signed(&key, ORIGIN, NOW.plus(Duration::from_secs(10)));
        assert!(verifier.check(&headers, None, NOW).is_ok());
        assert_eq!(verifier.tokens.lock().newer.len(), 1);
        assert!(verifier.check(&headers, None, NOW.plus(Duration::from_secs(9))).is_ok());
        assert!(verifier.check(&headers, None, NOW.plus(Duration::from_secs(11))).is_err());
    }

    #[test]
    fn our_origin_without_its_port_is_an_audience_unless_it_is_strict_ps_8292_2_4() {
        let key = SigningKey::generate().unwrap();
        let judged = |origin: &str, strict: bool, aud: &str| {
            let verifier = VapidVerifier::new(&Origin::parse(origin).unwrap(), strict);
            let headers = signed(&key, aud, NOW.plus(Duration::from_secs(3600)));
            // Twice: the second time from the cache.
            let accepted = verifier.check(&headers, None, NOW).is_ok();
            assert_eq!(verifier.check(&headers, None, NOW).is_ok(), accepted);
            accepted
        };
        let on_port = "https://push.example.org:8443";
        assert!(judged(on_port, false, on_port) && judged(on_port, true, on_port));
        assert!(judged(on_port, false, ORIGIN) && !judged(on_port, true, ORIGIN));
        assert!(judged("https://[::1]:8443", false, "https://[::1]"));
        // Both spellings, also where the port must be there.
        let (ascii, unicode) = ("https://xn--mnchen-3ya.example:8443", "https://münchen.example:8443");
        assert!(judged(ascii, true, unicode) && judged(unicode, true, ascii) && judged(unicode, true, unicode));
        assert!(judged(ascii, false, "https://münchen.example") && !judged(ascii, true, "https://münchen.example"));
        for other in
            ["http://push.example.org", "https://push.example.org:8444", "https://push.example.org:", "https://h"]
        {
            assert!(!judged(on_port, false, other), "{other}");
        }
        assert!(!judged(ORIGIN, false, on_port), "a port that we do not have is not left out");
    }

    #[test]
    fn an_audience_that_becomes_strict_is_strict_with_tokens_that_were_accepted_before() {
        let (key, verifier) = (
            SigningKey::generate().unwrap(),
            VapidVerifier::new(&Origin::parse("https://push.example.org:8443").unwrap(), false),
        );
        let headers = signed(&key, ORIGIN, NOW.plus(Duration::from_secs(3600)));
        assert!(verifier.check(&headers, None, NOW).is_ok());
        verifier.set_strict(true);
        assert!(matches!(verifier.check(&headers, None, NOW), Err(VapidRejection::Token(VapidError::Audience { .. }))));
        verifier.set_strict(false);
        assert!(verifier.check(&headers, None, NOW).is_ok());
    }

    #[test]
    fn keys_that_leave_the_port_out_are_remembered_once_and_bounded() {
        let verifier = VapidVerifier::new(&Origin::parse("https://push.example.org:8443").unwrap(), false);
        let exp = NOW.plus(Duration::from_secs(3600));
        let key = SigningKey::generate().unwrap();
        for secs in 0..3 {
            let headers = signed(&key, ORIGIN, exp.plus(Duration::from_secs(secs)));
            assert!(verifier.check(&headers, None, NOW).is_ok());
        }
        assert_eq!(verifier.lenient.lock().len(), 1);
        for _ in 0..LENIENT_KEYS_MAX + 2 {
            verifier.note_lenient(SigningKey::generate().unwrap().public_key());
        }
        assert_eq!(verifier.lenient.lock().len(), LENIENT_KEYS_MAX);
    }

    #[test]
    fn a_rejected_token_is_not_cached_and_the_cache_is_bounded() {
        let (key, verifier) = (SigningKey::generate().unwrap(), verifier());
        let headers = signed(&key, "https://elsewhere.example", NOW.plus(Duration::from_secs(10)));
        assert!(verifier.check(&headers, None, NOW).is_err());
        let mut tokens = verifier.tokens.lock();
        assert!(tokens.newer.is_empty());
        for n in 0..4 * CACHED_MAX as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            tokens.insert(hash, VerifiedToken { key: *key.public_key(), until: NOW, is_lenient: false });
        }
        assert!(tokens.newer.len() + tokens.older.len() <= 2 * CACHED_MAX);
    }
}
