//! The application servers: a pool of VAPID keys, each with one token that is used again and again (RFC 8292 s5).

use std::time::Duration;

use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::SigningKey;
use http::HeaderValue;

use crate::clock;
use crate::error::{Blame, Result};

/// A busy push service sees more of them; what matters is that there are several.
const KEYS: usize = 16;

/// As real senders have it: longer than any measurement.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The pool.
pub(super) struct Keys(Vec<Key>);

struct Key {
    public: String,
    authorization: HeaderValue,
}

impl Keys {
    /// Fresh keys, with tokens for the push service at `origin`.
    pub(super) fn generate(origin: &str) -> Result<Self> {
        let keys = (0..KEYS).map(|_| Key::generate(origin)).collect::<Result<Vec<_>>>()?;
        debug_assert_eq!(keys.len(), KEYS, "each number modulo KEYS has a key");
        Ok(Self(keys))
    }

    /// The public key that agent `number` subscribes for, in base64url.
    pub(super) fn public(&self, number: usize) -> &str {
        &self.0[number % KEYS].public
    }

    /// What goes with each message to agent `number`.
    pub(super) fn authorization(&self, number: usize) -> &HeaderValue {
        &self.0[number % KEYS].authorization
    }
}

impl Key {
    fn generate(origin: &str) -> Result<Self> {
        let key = SigningKey::generate().blame_generator("cannot make a key")?;
        let token = key.sign(origin, clock::unix_now().plus(LIFETIME), None).blame_generator("cannot sign a token")?;
        let credentials = Credentials { token: &token, key: *key.public_key() };
        let authorization = credentials.to_value().blame_generator("a token that is not a header value")?;
        Ok(Self { public: key.public_key().to_base64url(), authorization })
    }
}
