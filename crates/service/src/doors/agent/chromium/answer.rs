//! What the door says when something is not done: the one place where errors become statuses of check-in, words of
//! registration and ends of a stream.

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

/// Why a browser did not check in. On 400 and 401 Chromium gives up, and on 401 it also forgets who it is, with all its
/// subscriptions; on anything else it tries again later.
#[derive(Debug, Error)]
pub(super) enum CheckinRefusal {
    #[error("the id and the secret do not belong together")]
    Device,
    #[error("more browsers are new than the service takes in a minute")]
    TooFast(#[from] TooFast),
    #[error(transparent)]
    Malformed(#[from] WireError),
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl CheckinRefusal {
    /// The answer on the wire.
    pub(super) fn answer(self) -> Response {
        let text = self.to_string();
        wire::problem(&match self {
            Self::Device => Problem::new(StatusCode::UNAUTHORIZED, errno::AUTHENTICATION, text).with_hint(
                "The browser begins anew. If it was moved here from another service, that is as it must be.",
            ),
            Self::TooFast(TooFast { retry_after_secs, .. }) => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, errno::RATE, text)
                    .with_retry_after(retry_after_secs)
                    .with_hint("Wait as long as Retry-After says, or raise chromium_enrolments_per_minute.")
            }
            Self::Malformed(_) => Problem::new(StatusCode::BAD_REQUEST, errno::BAD_REQUEST, text)
                .with_hint("This is where a Chromium checks in; its --gcm-checkin-url must name it."),
            Self::Body(error) => wire::body_problem(error),
        })
    }
}

/// Why a page was not subscribed or unsubscribed.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("the id and the secret do not belong together")]
    Device,
    #[error("the sender is not one that can sign")]
    Sender,
    #[error("the device subscribes more often than it may in a minute")]
    TooFast(#[from] TooFast),
    #[error(transparent)]
    Form(#[from] RegistrationError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Refusal {
    /// The word decides whether the page waits while Chromium tries again; the status is for those who read along.
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
            // It must not wait for room that only unsubscribing makes.
            Self::Hub(HubError::Full) => (StatusCode::TOO_MANY_REQUESTS, ErrorWord::TooManyRegistrations),
            Self::Hub(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorWord::Internal),
        }
    }
}

/// The answer to a registration.
pub(super) fn registered(outcome: Result<String, Refusal>) -> Response {
    let (status, body) = match &outcome {
        Ok(token) => (StatusCode::OK, RegistrationAnswer::Token(token).body()),
        Err(refusal) => {
            let (status, word) = refusal.word();
            (status, RegistrationAnswer::Error(word).body())
        }
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Why the service ends a stream. To a client that is logged in it says Close, after which Chromium comes back in a
/// moment if its login is older than ten seconds, and else after half a minute: so two copies of a profile, which push
/// each other out, do so twice in half a minute and not all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Closing {
    #[error("no login in time")]
    NoLogin,
    #[error(transparent)]
    Framing(Ended),
    #[error(transparent)]
    Malformed(#[from] WireError),
    #[error(transparent)]
    Rules(#[from] StreamError),
    #[error("nothing was heard in time")]
    Silent,
    #[error("the device's agent was removed")]
    Gone,
    #[error("another connection took over")]
    Superseded,
    #[error("the service restarts")]
    Restarting,
    #[error("the service is not available")]
    Unavailable,
}

impl From<HubError> for Closing {
    fn from(error: HubError) -> Self {
        if error == HubError::Gone { Self::Gone } else { Self::Unavailable }
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has left, or cannot be reached.
    Left,
    /// All that was to be said was said.
    Said,
    /// The service ends it.
    Close(Closing),
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Left => Self::Left,
            Ended::Framing(_) => Self::Close(Closing::Framing(ended)),
        }
    }
}

impl<T: Into<Closing>> From<T> for End {
    fn from(closing: T) -> Self {
        Self::Close(closing.into())
    }
}

/// Why a login is refused: a code of HTTP's kind and a text for Chromium's log (chrome://gcm-internals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLogin {
    /// The id and the secret do not belong together.
    Device,
    /// What the login lists cannot be settled now.
    Unavailable,
}

impl NoLogin {
    /// The code and the text.
    pub(super) fn error(self) -> (u32, &'static str) {
        match self {
            Self::Device => (401, "the id and the secret do not belong together"),
            Self::Unavailable => (503, "the service is not available"),
        }
    }
}
