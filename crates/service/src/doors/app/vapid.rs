//! Who may send: VAPID credentials (RFC 8292), verified once and remembered until they expire.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

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

/// Tokens in one half of the cache. Senders use one token per origin and key for hours: 64 thousand of them are few
/// megabytes, and a flood of fresh tokens pushes out at most the older half.
const REMEMBERED_MAX: usize = 1 << 15;

/// Why a request may not send here.
#[derive(Debug, Error)]
pub(crate) enum VapidRefusal {
    /// The subscription is restricted and the request is not signed: 401 with a challenge (RFC 8292 s4.2).
    #[error("this subscription takes signed messages only")]
    Missing,
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] VapidError),
    /// The token is good, but the subscription is restricted to another key.
    #[error("the subscription was made for another application server key")]
    OtherKey,
}

/// Checks credentials, and remembers good ones by the exact octets of their headers: ES256 costs more than all else of a
/// message, and even to read the key, which must be a point of the curve, costs a good part of the rest.
pub(crate) struct Gate {
    origin: Origin,
    /// The origin without its port, which senders may also name; `None` if it has none or if the audience is strict.
    without_port: Option<String>,
    verified: Mutex<Verified>,
    lenient: Mutex<HashSet<KeyFingerprint>>,
}

/// How many keys are remembered that sign for the origin without its port: each is logged once, and strangers make keys.
const LENIENT_KEYS_MAX: usize = 256;

/// Two halves: when the newer one is full it becomes the older one, and what was in the older one is forgotten.
#[derive(Default)]
struct Verified {
    newer: HashMap<Name, Good>,
    older: HashMap<Name, Good>,
}

/// The hash of the headers that have the credentials.
type Name = [u8; 32];

/// Whose credentials they are, and until when.
#[derive(Clone, Copy)]
struct Good {
    key: PublicKey,
    until: UnixMs,
}

impl Gate {
    /// `strict_audience`: whether a token must name the origin with its port, as RFC 8292 s2 has it. Several libraries leave
    /// the port out; the name is then still that of this host.
    pub(crate) fn new(origin: Origin, strict_audience: bool) -> Self {
        let without_port = origin.without_port().filter(|_| !strict_audience);
        Self { origin, without_port, verified: Mutex::default(), lenient: Mutex::default() }
    }

    /// The key that signed the request, if it is signed and may send to a subscription with this restriction.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        restricted_to: Option<KeyFingerprint>,
        now: UnixMs,
    ) -> Result<Option<PublicKey>, VapidRefusal> {
        let key = self.signer(headers, now)?;
        match (restricted_to, key) {
            (Some(_), None) => Err(VapidRefusal::Missing),
            (Some(only), Some(key)) if only != key.fingerprint() => Err(VapidRefusal::OtherKey),
            _ => Ok(key),
        }
    }

    fn signer(&self, headers: &HeaderMap, now: UnixMs) -> Result<Option<PublicKey>, VapidRefusal> {
        let name = name(headers);
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&name);
        if let Some(good) = known.filter(|good| now < good.until) {
            return Ok(Some(good.key));
        }
        let Some(credentials) = Credentials::parse(headers)? else { return Ok(None) };
        let origin = self.origin.as_str();
        let claims = match &self.without_port {
            Some(without_port) => verify::verify(&credentials, &[origin, without_port], now)?,
            None => verify::verify(&credentials, &[origin], now)?,
        };
        if !claims.aud.iter().any(|aud| aud == origin) {
            self.note_lenient(&credentials.key);
        }
        let good = Good { key: credentials.key, until: claims.exp };
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).remember(name, good);
        Ok(Some(good.key))
    }

    /// Logs once per key that it signs for the origin without its port, without the key; and nothing once the set is full.
    fn note_lenient(&self, key: &PublicKey) {
        let mut keys = self.lenient.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() < LENIENT_KEYS_MAX && keys.insert(key.fingerprint()) {
            let keys = keys.len();
            warn!(keys, "a sender signs for this service's origin without the port; strict_audience would reject it");
        }
    }
}

impl Verified {
    fn get(&self, name: &Name) -> Option<Good> {
        self.newer.get(name).or_else(|| self.older.get(name)).copied()
    }

    fn remember(&mut self, name: Name, good: Good) {
        if self.newer.len() >= REMEMBERED_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(name, good);
    }
}

/// All values of the headers that credentials may be in, each with its length, so that no two requests share a name.
fn name(headers: &HeaderMap) -> Name {
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

    fn gate() -> Gate {
        Gate::new(Origin::parse(ORIGIN).unwrap(), false)
    }

    fn signed(key: &SigningKey, aud: &str, exp: UnixMs) -> HeaderMap {
        let token = key.sign(aud, exp, None).unwrap();
        let value = format!("vapid t={token}, k={}", key.public_key().to_base64url());
        [(http::header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_restricted_subscription_takes_its_own_key_only_ps_8292_4_2_1() {
        let (own, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let only = Some(own.public_key().fingerprint());
        let exp = NOW.plus(Duration::from_secs(3600));
        assert!(gate().check(&signed(&own, ORIGIN, exp), only, NOW).is_ok());
        assert!(matches!(gate().check(&signed(&other, ORIGIN, exp), only, NOW), Err(VapidRefusal::OtherKey)));
        assert!(matches!(gate().check(&HeaderMap::new(), only, NOW), Err(VapidRefusal::Missing)));
        assert!(matches!(gate().check(&HeaderMap::new(), None, NOW), Ok(None)));
    }

    #[test]
    fn a_remembered_token_expires_all_the_same_ps_8292_5_1() {
        let (key, gate) = (SigningKey::generate().unwrap(), gate());
        let headers = signed(&key, ORIGIN, NOW.plus(Duration::from_secs(10)));
        assert!(gate.check(&headers, None, NOW).is_ok());
        assert_eq!(gate.verified.lock().unwrap().newer.len(), 1);
        assert!(gate.check(&headers, None, NOW.plus(Duration::from_secs(9))).is_ok());
        assert!(gate.check(&headers, None, NOW.plus(Duration::from_secs(11))).is_err());
    }

    #[test]
    fn our_origin_without_its_port_is_an_audience_unless_it_is_strict_ps_8292_2_4() {
        let key = SigningKey::generate().unwrap();
        let judged = |origin: &str, strict: bool, aud: &str| {
            let gate = Gate::new(Origin::parse(origin).unwrap(), strict);
            let headers = signed(&key, aud, NOW.plus(Duration::from_secs(3600)));
            // Twice: the second time from memory.
            let accepted = gate.check(&headers, None, NOW).is_ok();
            assert_eq!(gate.check(&headers, None, NOW).is_ok(), accepted);
            accepted
        };
        let on_port = "https://push.example.org:8443";
        assert!(judged(on_port, false, on_port) && judged(on_port, true, on_port));
        assert!(judged(on_port, false, ORIGIN) && !judged(on_port, true, ORIGIN));
        assert!(judged("https://[::1]:8443", false, "https://[::1]"));
        for other in
            ["http://push.example.org", "https://push.example.org:8444", "https://push.example.org:", "https://h"]
        {
            assert!(!judged(on_port, false, other), "{other}");
        }
        assert!(!judged(ORIGIN, false, on_port), "a port that we do not have is not left out");
    }

    #[test]
    fn keys_that_leave_the_port_out_are_remembered_once_and_bounded() {
        let gate = Gate::new(Origin::parse("https://push.example.org:8443").unwrap(), false);
        let exp = NOW.plus(Duration::from_secs(3600));
        let key = SigningKey::generate().unwrap();
        for secs in 0..3 {
            let headers = signed(&key, ORIGIN, exp.plus(Duration::from_secs(secs)));
            assert!(gate.check(&headers, None, NOW).is_ok());
        }
        assert_eq!(gate.lenient.lock().unwrap().len(), 1);
        for _ in 0..LENIENT_KEYS_MAX + 2 {
            gate.note_lenient(SigningKey::generate().unwrap().public_key());
        }
        assert_eq!(gate.lenient.lock().unwrap().len(), LENIENT_KEYS_MAX);
    }

    #[test]
    fn a_refused_token_is_not_remembered_and_the_cache_is_bounded() {
        let (key, gate) = (SigningKey::generate().unwrap(), gate());
        let headers = signed(&key, "https://elsewhere.example", NOW.plus(Duration::from_secs(10)));
        assert!(gate.check(&headers, None, NOW).is_err());
        let mut verified = gate.verified.lock().unwrap();
        assert!(verified.newer.is_empty());
        for n in 0..4 * REMEMBERED_MAX as u64 {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&n.to_be_bytes());
            verified.remember(name, Good { key: *key.public_key(), until: NOW });
        }
        assert!(verified.newer.len() + verified.older.len() <= 2 * REMEMBERED_MAX);
    }
}
