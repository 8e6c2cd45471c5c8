//! The application servers: a pool of VAPID keys, each with one token that is used again and again (RFC 8292 s5).

use std::time::Duration;

use anyhow::{Context, Result};
use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::clock;
use http::HeaderValue;

/// As many as one busy push service sees of at any time would be more; what matters is that there are several.
const KEYS: usize = 16;

/// As real senders have it: far beyond the end of any measurement.
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
        (0..KEYS).map(|_| Key::generate(origin)).collect::<Result<_>>().map(Self)
    }

    /// The public key that agent `number` subscribes for, in base64url.
    pub(super) fn public(&self, number: usize) -> &str {
        self.0.get(number % KEYS).map_or("", |key| &key.public)
    }

    /// What goes with each message to agent `number`.
    pub(super) fn authorization(&self, number: usize) -> Option<HeaderValue> {
        Some(self.0.get(number % KEYS)?.authorization.clone())
    }
}

impl Key {
    fn generate(origin: &str) -> Result<Self> {
        let key = SigningKey::generate()?;
        let token = key.sign(origin, clock::now().plus(LIFETIME), None)?;
        let credentials = Credentials { token: &token, key: *key.public_key() };
        let authorization = credentials.to_value().context("a token that is no header")?;
        Ok(Self { public: key.public_key().to_base64url(), authorization })
    }
}
