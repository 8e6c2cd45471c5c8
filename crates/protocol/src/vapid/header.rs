//! Where the credentials stand (RFC 8292 s3): `Authorization: vapid t=…, k=…`, or the two older forms of the drafts.

use http::{HeaderMap, HeaderValue, header};
use thiserror::Error;

use crate::headers::coding::CRYPTO_KEY;
use crate::headers::params;
use crate::key::{KeyError, PublicKey};

/// The longest token, in octets. A usual one has 300; the limit keeps the cost of a hostile one small.
pub const TOKEN_MAX: usize = 2048;

/// A token and the key that should have signed it. Nothing is verified yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The compact JWS.
    pub token: &'a str,
    /// The application server's key.
    pub key: PublicKey,
}

/// Why credentials could not be read; the answer is 403 (PS-8292-4.2-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// More than one Authorization, or a parameter twice.
    #[error("the credentials were given more than once")]
    Repeated,
    /// A value that is not visible ASCII.
    #[error("the credentials are not text")]
    NotText,
    /// No `t`, or nothing after the name of the scheme.
    #[error("the credentials have no token")]
    NoToken,
    /// A token longer than [`TOKEN_MAX`].
    #[error("the token is longer than {TOKEN_MAX} octets")]
    TokenTooLong,
    /// No `k`, or no `p256ecdsa` in Crypto-Key with the older forms.
    #[error("the credentials have no key")]
    NoKey,
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl<'a> Credentials<'a> {
    /// Reads Authorization (and Crypto-Key with the older forms). `None` if there is no Authorization, or if it has
    /// a scheme that is none of VAPID's, which says nothing to a push service. Proxy-Authorization is never looked at.
    pub fn parse(headers: &'a HeaderMap) -> Result<Option<Self>, CredentialsError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(CredentialsError::Repeated);
        }
        let value = value.to_str().map_err(|_| CredentialsError::NotText)?.trim();
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        match scheme {
            s if s.eq_ignore_ascii_case("vapid") => Self::from_params(rest).map(Some),
            s if s.eq_ignore_ascii_case("WebPush") || s.eq_ignore_ascii_case("Bearer") => {
                Self::from_draft(rest.trim(), headers).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `t=…, k=…` in any order; parameters that RFC 8292 does not define are ignored.
    fn from_params(rest: &'a str) -> Result<Self, CredentialsError> {
        let (mut token, mut key) = (None, None);
        for (name, value) in params::split(rest, ',').map(params::pair) {
            let slot = match name {
                n if n.eq_ignore_ascii_case("t") => &mut token,
                n if n.eq_ignore_ascii_case("k") => &mut key,
                _ => continue,
            };
            if slot.replace(params::unquote(value.unwrap_or_default())).is_some() {
                return Err(CredentialsError::Repeated);
            }
        }
        Self::new(token.ok_or(CredentialsError::NoToken)?, key.ok_or(CredentialsError::NoKey)?)
    }

    /// The token in Authorization, the key in Crypto-Key: as the drafts before RFC 8292 had it.
    fn from_draft(token: &'a str, headers: &'a HeaderMap) -> Result<Self, CredentialsError> {
        let lists = headers.get_all(CRYPTO_KEY).iter().filter_map(|value| value.to_str().ok());
        let mut keys = lists.flat_map(|list| params::split(list, ',')).filter_map(|e| params::get(e, "p256ecdsa"));
        let key = keys.next().ok_or(CredentialsError::NoKey)?;
        if keys.next().is_some() {
            return Err(CredentialsError::Repeated);
        }
        Self::new(token, key)
    }

    fn new(token: &'a str, key: &str) -> Result<Self, CredentialsError> {
        match token.len() {
            0 => Err(CredentialsError::NoToken),
            1..=TOKEN_MAX if key.is_empty() => Err(CredentialsError::NoKey),
            1..=TOKEN_MAX => Ok(Self { token, key: PublicKey::from_base64url(key)? }),
            _ => Err(CredentialsError::TokenTooLong),
        }
    }

    /// The Authorization of a request, marked so that it stays out of HPACK's tables and of debug output.
    pub fn to_value(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("vapid t={}, k={}", self.token, self.key.to_base64url())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Says nothing: whoever holds the token can use it until it expires (invariant 8).
impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}
