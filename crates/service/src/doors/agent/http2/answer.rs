//! Answers of the agents' HTTP/2 door: the only place where its errors become statuses.

use doorbell_protocol::headers::urgency::UrgencyError;
use doorbell_protocol::key::KeyError;
use doorbell_protocol::problem::{Problem, errno};
use http::StatusCode;
use thiserror::Error;

use crate::doors::buckets::TooFast;
use crate::doors::wire;
use crate::hub::HubError;
use crate::transport::{BodyError, Response};

/// Why an agent's request was rejected.
#[derive(Debug, Error)]
pub(super) enum Rejection {
    #[error("the subscription set is unknown")]
    Set,
    #[error("the options are not a JSON object with a member `vapid` that is text")]
    Options,
    #[error("the body looks like options and has another media type")]
    MediaType,
    #[error(transparent)]
    Key(KeyError),
    #[error("this connection cannot receive server pushes")]
    NoPush,
    #[error("more messages wait, and the client did not receive the ones before")]
    Cut,
    #[error(transparent)]
    Urgency(#[from] UrgencyError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("too many new user agents: {0}")]
    Growth(#[from] TooFast),
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Rejection {
    /// The answer on the wire.
    pub(super) fn answer(self) -> Response {
        let text = self.to_string();
        let bad =
            |number, hint: &'static str| Problem::new(StatusCode::BAD_REQUEST, number, text.clone()).with_hint(hint);
        let problem = match self {
            Self::Hub(HubError::Gone) => return wire::not_found(StatusCode::NOT_FOUND),
            Self::Hub(error) => wire::hub_problem(error),
            Self::Body(error) => wire::body_problem(error),
            Self::Growth(too_fast) => wire::growth_problem(text, too_fast),
            Self::Set => bad(errno::SUBSCRIBE_OPTIONS, "Omit the Link to start a new set."),
            Self::Options | Self::Key(_) => bad(
                errno::SUBSCRIBE_OPTIONS,
                "Send {\"vapid\": \"<base64url of the 65-byte P-256 key>\"} (RFC 8292 s4.1), or no body for a \
                 subscription that is open to all senders.",
            ),
            Self::MediaType => Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, errno::SUBSCRIBE_OPTIONS, text)
                .with_hint(
                    "Send the options with `Content-Type: application/webpush-options+json` (RFC 8292 s4.1), or no \
                     body for a subscription that is open to all senders.",
                ),
            Self::Urgency(_) => bad(errno::URGENCY, "Send one of very-low, low, normal, high, or omit it."),
            Self::Cut => Problem::new(StatusCode::REQUEST_TIMEOUT, errno::TIMEOUT, text).with_hint(
                "Ask again: open the windows (RFC 9113 s5.2), answer PINGs, and keep the connection open until the \
                 answer.",
            ),
            Self::NoPush => Problem::new(StatusCode::NOT_ACCEPTABLE, errno::TRANSPORT, text).with_hint(
                "Ask over HTTP/2 with SETTINGS_ENABLE_PUSH = 1 and room for concurrent streams (RFC 8030 s6), or with \
                 `Accept: text/event-stream`.",
            ),
        };
        wire::problem(&problem)
    }
}
