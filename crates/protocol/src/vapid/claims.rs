//! The claims of a VAPID token (RFC 8292 s2, RFC 7519 s4.1).

use serde::{Deserialize, Serialize};

use crate::time::UnixMs;

/// The claims of a token, which [`verify`](super::verify::verify) has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The origins that the token is meant for.
    pub aud: Vec<String>,
    /// When it expires.
    pub exp: UnixMs,
    /// The contact of the sender: a `mailto:` or `https:` URI. It is not verified, and must not decide anything.
    pub sub: Option<String>,
}

/// The claims on the wire. Claims that VAPID does not define are ignored.
#[derive(Deserialize)]
pub(super) struct Wire {
    pub(super) aud: Option<OneOrMany>,
    pub(super) exp: Option<serde_json::Number>,
    pub(super) sub: Option<String>,
}

/// `aud` is one string or an array of them.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// The claims as [`sign`](super::sign) writes them.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    pub(super) aud: &'a str,
    pub(super) exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub: Option<&'a str>,
}
