//! Which push service this one resembles, where more than one behaviour is right or common.

use http::StatusCode;
use serde::Deserialize;

/// One word for several defaults. A setting that is given on its own wins over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// What RFC 8030 and RFC 8292 say.
    #[default]
    Rfc,
    /// What senders and tests know from Mozilla's service.
    Mozilla,
}

impl Compat {
    /// The answer to a push to a removed subscription.
    pub(super) fn gone_status(self) -> StatusCode {
        match self {
            Self::Rfc => StatusCode::NOT_FOUND,
            Self::Mozilla => StatusCode::GONE,
        }
    }

    /// The answer to wrong VAPID credentials.
    pub(super) fn vapid_status(self) -> StatusCode {
        match self {
            Self::Rfc => StatusCode::FORBIDDEN,
            Self::Mozilla => StatusCode::UNAUTHORIZED,
        }
    }

    /// The largest body, in bytes: the least that RFC 8030 s7.2 allows, or 4096 of plaintext in base64 with the rest.
    pub(super) fn body_max(self) -> usize {
        match self {
            Self::Rfc => 4096,
            Self::Mozilla => 5630,
        }
    }
}
