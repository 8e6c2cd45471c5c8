//! The signer of an application server: it makes one VAPID token per push service and reuses it until shortly before it
//! expires (RFC 8292 s5 lets the push service cache it too).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use doorbell_protocol::key::PublicKey;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::{SigningError, SigningKey};
use http::HeaderValue;

use crate::endpoint::Endpoint;
use crate::lock::lock;
use crate::subject::Subject;

/// How long a token is valid: half of what RFC 8292 s2 allows, so a clock that is hours wrong does no harm.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// A token with less time left is replaced: it must still be valid if the push service's clock is ahead of ours.
pub const RENEWAL: Duration = Duration::from_secs(30 * 60);

/// How many push services a signer keeps tokens for. The world has a handful, but endpoints come from strangers.
pub const ORIGINS_MAX: usize = 1024;

/// A signing key, a subject, and the tokens made with them.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    subject: Option<Subject>,
    tokens: Mutex<HashMap<String, Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    authorization: HeaderValue,
    expires_at: UnixMs,
}

impl Signer {
    /// A signer without tokens yet.
    pub fn new(key: SigningKey, subject: Option<Subject>) -> Self {
        Self { key, subject, tokens: Mutex::default() }
    }

    /// The public key: the `applicationServerKey` of subscriptions.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// The contact in its tokens.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// The Authorization of a request to `endpoint` at `now`.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn authorization(&self, endpoint: &Endpoint, now: UnixMs) -> Result<HeaderValue, SigningError> {
        let origin = endpoint.origin();
        let mut tokens = lock(&self.tokens);
        if let Some(token) = tokens.get(&origin).filter(|token| token.is_fresh(now)) {
            return Ok(token.authorization.clone());
        }
        let token = self.sign(&origin, now)?;
        tokens.retain(|_, token| token.is_fresh(now));
        if tokens.len() >= ORIGINS_MAX {
            tokens.clear();
        }
        let authorization = token.authorization.clone();
        debug_assert!(token.is_fresh(now), "a new token is valid for its whole lifetime");
        tokens.insert(origin, token);
        debug_assert!(tokens.len() <= ORIGINS_MAX, "the tokens are bounded");
        Ok(authorization)
    }

    fn sign(&self, origin: &str, now: UnixMs) -> Result<Token, SigningError> {
        let expires_at = now.plus(LIFETIME);
        let token = self.key.sign(origin, expires_at, self.subject.as_ref().map(Subject::as_str))?;
        let credentials = Credentials { token: &token, key: *self.public_key() };
        Ok(Token { authorization: credentials.to_value().ok_or(SigningError::Crypto)?, expires_at })
    }
}

impl Token {
    /// Whether it does not expire soon and, after a clock was set back, is not further ahead than a push service accepts.
    fn is_fresh(&self, now: UnixMs) -> bool {
        now.plus(RENEWAL) < self.expires_at && self.expires_at <= now.plus(LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::origins::OriginMap;
    use doorbell_protocol::vapid::claims::Claims;
    use doorbell_protocol::vapid::verify::{VapidError, verify};
    use http::{HeaderMap, header};

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn signer() -> Signer {
        let subject = Subject::parse("mailto:ops@doorbell.dev").unwrap();
        Signer::new(SigningKey::generate().unwrap(), Some(subject))
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap()
    }

    /// What a push service with `origin` makes of it.
    fn judged(value: HeaderValue, origin: &str, now: UnixMs) -> Result<Claims, VapidError> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        verify(&Credentials::parse(&headers).unwrap().unwrap(), &[origin], now)
    }

    #[test]
    fn a_token_names_the_origin_and_lives_for_twelve_hours_as_8292_2_1() {
        let value = signer().authorization(&endpoint("https://push.example.net:8443/p/x"), NOW).unwrap();
        assert!(value.is_sensitive());
        let claims = judged(value, "https://push.example.net:8443", NOW).unwrap();
        assert_eq!(claims.exp, NOW.plus(Duration::from_secs(12 * 3600)));
        assert_eq!(claims.sub.as_deref(), Some("mailto:ops@doorbell.dev"));
    }

    #[test]
    fn a_token_for_a_mapped_endpoint_names_the_origin_that_gets_it_as_8292_2_1() {
        let entry = "https://jmt17.google.com=https://push.example.org:8443".parse().unwrap();
        let origins = OriginMap::new([entry]).unwrap();
        let (mapped, _) = origins.apply(endpoint("https://jmt17.google.com/fcm/send/x")).unwrap();
        let value = signer().authorization(&mapped, NOW).unwrap();
        judged(value.clone(), "https://push.example.org:8443", NOW).unwrap();
        assert!(judged(value, "https://jmt17.google.com", NOW).is_err());
    }

    /// Signatures are randomized: equal tokens were signed once.
    #[test]
    fn a_thousand_sends_to_one_push_service_need_one_signature_as_8292_5_1() {
        let signer = signer();
        let send = |n: i64, host: &str| {
            let now = NOW.plus(Duration::from_secs(u64::try_from(n).unwrap()));
            signer.authorization(&endpoint(&format!("https://{host}/p/{n}")), now).unwrap().as_bytes().to_vec()
        };
        let one: HashSet<_> = (0..1000).map(|n| send(n, "one.example")).collect();
        assert_eq!(one.len(), 1);
        let other: HashSet<_> = (0..1000).map(|n| send(n, "other.example")).collect();
        assert_eq!(other.len(), 1);
        assert!(one.is_disjoint(&other));
    }

    #[test]
    fn a_token_is_renewed_before_it_expires_and_when_the_clock_was_set_back_as_8292_5_1() {
        let signer = signer();
        let at = |secs: i64| {
            let now = UnixMs::from_secs(NOW.as_secs() + secs);
            let value = signer.authorization(&endpoint("https://h/p"), now).unwrap();
            judged(value.clone(), "https://h", now).unwrap();
            value.as_bytes().to_vec()
        };
        let first = at(0);
        let last_moment = i64::try_from((LIFETIME - RENEWAL).as_secs()).unwrap();
        assert_eq!(at(last_moment - 1), first);
        let second = at(last_moment);
        assert_ne!(second, first);
        assert_ne!(at(-7 * 86_400), second);
    }

    #[test]
    fn the_memory_for_tokens_is_bounded() {
        let signer = signer();
        for n in 0..=ORIGINS_MAX {
            signer.authorization(&endpoint(&format!("https://h{n}.example/")), NOW).unwrap();
        }
        assert!(signer.tokens.lock().unwrap().len() <= ORIGINS_MAX);
    }

    #[test]
    fn a_token_with_a_usual_subject_is_small_as_8292_2_2_1() {
        let value = signer().authorization(&endpoint("https://updates.push.services.example/wpush/v2/x"), NOW).unwrap();
        assert!(value.len() < 450, "{}", value.len());
    }
}
