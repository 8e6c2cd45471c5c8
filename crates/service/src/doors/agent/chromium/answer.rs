//! Answers to failures: the only place where errors become statuses of check-in, words of registration and ends of a
//! stream.

use doorbell_protocol::mcs::registration::RegistrationError;
use doorbell_protocol::mcs::registration::answer::{ErrorWord, RegistrationAnswer};
use doorbell_protocol::mcs::stream::StreamError;
use doorbell_protocol::mcs::wire::WireError;
use doorbell_protocol::problem::{Problem, errno};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use thiserror::Error;

use crate::doors::buckets::TooFast;
use crate::doors::wire;
use crate::hub::HubError;
use crate::transport::mcs::Ended;
use crate::transport::{BodyError, Response};

/// Why a check-in failed. On 400 and 401 Chromium gives up; on 401 it also forgets its identity with all its
/// subscriptions. On anything else it retries later.
#[derive(Debug, Error)]
pub(super) enum CheckinRejection {
    #[error("the id and the secret do not belong together")]
    Device,
    #[error("too many new browsers: {0}")]
    TooFast(#[from] TooFast),
    #[error(transparent)]
    Malformed(#[from] WireError),
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl CheckinRejection {
    /// The answer on the wire.
    pub(super) fn answer(self) -> Response {
        let text = self.to_string();
        wire::problem(&match self {
            Self::Device => Problem::new(StatusCode::UNAUTHORIZED, errno::AUTHENTICATION, text)
                .with_hint("The browser starts over. After a move from another service this is expected."),
            Self::TooFast(TooFast { retry_after_secs, .. }) => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, errno::RATE, text)
                    .with_retry_after(retry_after_secs)
                    .with_hint(
                        "Wait for the time in Retry-After, or raise chromium_enrolments_per_minute or _per_source.",
                    )
            }
            Self::Malformed(_) => Problem::new(StatusCode::BAD_REQUEST, errno::BAD_REQUEST, text)
                .with_hint("Only Chromium checks in here: its --gcm-checkin-url names this URL."),
            Self::Body(error) => wire::body_problem(error),
        })
    }
}

/// Why a page was not subscribed or unsubscribed.
#[derive(Debug, Error)]
pub(super) enum Rejection {
    #[error("the id and the secret do not belong together")]
    Device,
    #[error("the sender is not a valid key")]
    Sender,
    #[error("the device has reached its limit of registrations per minute")]
    TooFast(#[from] TooFast),
    #[error(transparent)]
    Form(#[from] RegistrationError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Rejection {
    /// The word decides whether the page waits while Chromium retries; the status is for people who read the traffic.
    fn word(&self) -> (StatusCode, ErrorWord) {
        match self {
            Self::Device | Self::Form(RegistrationError::Credentials) => {
                (StatusCode::UNAUTHORIZED, ErrorWord::AuthenticationFailed)
            }
            Self::Sender => (StatusCode::BAD_REQUEST, ErrorWord::InvalidSender),
            Self::TooFast(_) => (StatusCode::TOO_MANY_REQUESTS, ErrorWord::QuotaExceeded),
            Self::Form(_) => (StatusCode::BAD_REQUEST, ErrorWord::InvalidParameters),
            Self::Body(BodyError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, ErrorWord::InvalidParameters),
            Self::Body(BodyError::TimedOut) => (StatusCode::REQUEST_TIMEOUT, ErrorWord::Internal),
            Self::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, ErrorWord::Internal),
            // Only unsubscribing makes room, so the page must not wait.
            Self::Hub(HubError::Full) => (StatusCode::TOO_MANY_REQUESTS, ErrorWord::TooManyRegistrations),
            Self::Hub(HubError::Overloaded | HubError::NoRoom | HubError::StoreFull) => {
                (StatusCode::TOO_MANY_REQUESTS, ErrorWord::Internal)
            }
            Self::Hub(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorWord::Internal),
        }
    }
}

/// The answer to a registration, of which `outcome` is the body.
pub(super) fn registered(outcome: Result<String, Rejection>) -> Response {
    let (status, body) = match &outcome {
        Ok(body) => (StatusCode::OK, body.clone()),
        Err(rejection) => {
            let (status, word) = rejection.word();
            (status, RegistrationAnswer::Error(word).body())
        }
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Why the service ends a stream. A client that is logged in receives Close. Then Chromium reconnects quickly if its
/// login is older than ten seconds, and otherwise after half a minute. So two copies of a profile, which replace each
/// other's connection, do so twice in half a minute and not all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum CloseReason {
    #[error("no login in time")]
    NoLogin,
    #[error(transparent)]
    Framing(Ended),
    #[error(transparent)]
    Malformed(#[from] WireError),
    #[error(transparent)]
    Rules(#[from] StreamError),
    #[error("no heartbeat in time")]
    Silent,
    #[error("the device's agent was removed")]
    Gone,
    #[error("another connection replaced this one")]
    Superseded,
    #[error("the service restarts")]
    Restarting,
    #[error("the service is not available")]
    Unavailable,
}

impl From<HubError> for CloseReason {
    fn from(error: HubError) -> Self {
        if error == HubError::Gone { Self::Gone } else { Self::Unavailable }
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has left, or cannot be reached.
    Left,
    /// The service has sent everything.
    Finished,
    /// The service ends it.
    Close(CloseReason),
}

impl End {
    /// The reason, for the access log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Left => "the client left",
            Self::Finished => "it was finished",
            Self::Close(reason) => match reason {
                CloseReason::NoLogin => "no login in time",
                CloseReason::Framing(_) => "the framing is wrong",
                CloseReason::Malformed(_) => "a stanza is malformed",
                CloseReason::Rules(_) => "a stanza does not fit the stream",
                CloseReason::Silent => "no heartbeat in time",
                CloseReason::Gone => "the device's agent was removed",
                CloseReason::Superseded => "another connection replaced this one",
                CloseReason::Restarting => "the service restarts",
                CloseReason::Unavailable => "the service is not available",
            },
        }
    }
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Left => Self::Left,
            Ended::Framing(_) => Self::Close(CloseReason::Framing(ended)),
        }
    }
}

impl<T: Into<CloseReason>> From<T> for End {
    fn from(reason: T) -> Self {
        Self::Close(reason.into())
    }
}

/// Why a login is rejected: a code like HTTP's and a text for Chromium's log (chrome://gcm-internals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginRejection {
    /// The id and the secret do not belong together.
    Device,
    /// The messages in the login's list cannot be settled now.
    Unavailable,
}

impl LoginRejection {
    /// The code and the text.
    pub(super) fn error(self) -> (u32, &'static str) {
        match self {
            Self::Device => (401, "the id and the secret do not belong together"),
            Self::Unavailable => (503, "the service is not available"),
        }
    }
}
