//! Answers of the wake door: the only place where its errors become statuses.

use doorbell_protocol::headers::urgency::UrgencyError;
use doorbell_protocol::problem::{Problem, errno};
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use thiserror::Error;

use crate::doors::wire;
use crate::hub::HubError;
use crate::transport::Response;

/// Why a request to watch was rejected.
#[derive(Debug, Error)]
pub(super) enum Rejection {
    #[error("there is no valid credential")]
    Credential,
    #[error(transparent)]
    Urgency(#[from] UrgencyError),
    #[error("wake events are server-sent events")]
    NoEvents,
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Rejection {
    /// The answer on the wire.
    pub(super) fn answer(self) -> Response {
        let text = self.to_string();
        match self {
            Self::Credential => {
                let problem = Problem::new(StatusCode::UNAUTHORIZED, errno::WAKE_CREDENTIAL, text)
                    .with_hint("Send `Authorization: Bearer` with Firefox's current uaid or the extension's token.");
                let mut response = wire::problem(&problem);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            Self::Hub(HubError::Gone) => {
                let text = "The browser of this uaid has no subscription any more.";
                let problem = Problem::new(StatusCode::GONE, errno::WAKE_CREDENTIAL, text)
                    .with_hint("Read the uaid from the profile again: a browser gets a new one when it starts anew.");
                wire::problem(&problem)
            }
            Self::Hub(error) => wire::problem(&wire::hub_problem(error)),
            Self::Urgency(_) => {
                let problem = Problem::new(StatusCode::BAD_REQUEST, errno::URGENCY, text)
                    .with_hint("Send one of very-low, low, normal, high, or omit it.");
                wire::problem(&problem)
            }
            Self::NoEvents => {
                let problem = Problem::new(StatusCode::NOT_ACCEPTABLE, errno::TRANSPORT, text)
                    .with_hint("Ask with `Accept: text/event-stream`.");
                wire::problem(&problem)
            }
        }
    }
}
