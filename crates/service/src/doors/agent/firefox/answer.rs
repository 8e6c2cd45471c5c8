//! What the door says when something is not done: the one place where errors become codes of the WebSocket and statuses
//! of its messages.

use doorbell_protocol::firefox::Malformed;
use doorbell_protocol::key::KeyError;
use doorbell_protocol::problem::{Problem, errno};
use http::StatusCode;
use http::header::{HeaderValue, SEC_WEBSOCKET_VERSION};
use thiserror::Error;

use crate::doors::wire;
use crate::hub::HubError;
use crate::transport::Response;
use crate::transport::websocket::Ended;

/// Why the service ends a connection. Firefox comes back after five seconds whatever the code is, but for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// No hello in time.
    NoHello,
    /// The client said something else before its hello.
    HelloFirst,
    /// It said hello again.
    HelloTwice,
    Malformed(Malformed),
    Binary,
    TooLarge,
    Framing,
    /// It did not answer a ping in time.
    Silent,
    /// What it is about was removed: with its next hello it begins anew.
    Gone,
    /// The same client has another connection, which is newer.
    Superseded,
    /// The service restarts.
    Restarting,
    /// The service cannot do what it has to do.
    Unavailable,
}

impl Closing {
    /// Code (RFC 6455 s7.4) and reason.
    pub(super) fn frame(self) -> (u16, &'static str) {
        match self {
            Self::NoHello => (1008, "no hello in time"),
            Self::HelloFirst => (1008, "hello comes first"),
            Self::HelloTwice => (1008, "hello comes once"),
            Self::Malformed(Malformed::Json) => (1007, "not a JSON object of this protocol"),
            Self::Malformed(Malformed::Missing(_)) => (1007, "a member is missing"),
            Self::Binary => (1003, "messages are text"),
            Self::TooLarge => (1009, "the message is too large"),
            Self::Framing => (1002, "the framing is wrong"),
            Self::Silent => (1008, "no pong in time"),
            Self::Gone => (1000, "the uaid is gone"),
            // The code on which Firefox does not come back by itself. Any other would let two copies of a profile push
            // each other out for ever; the older one comes back when it has something to ask, or a new network.
            Self::Superseded => (4774, "another connection took over"),
            Self::Restarting => (1012, "the service restarts"),
            Self::Unavailable => (1013, "try again later"),
        }
    }
}

impl From<HubError> for Closing {
    fn from(error: HubError) -> Self {
        if error == HubError::Gone { Self::Gone } else { Self::Unavailable }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has left, or cannot be reached.
    Left,
    /// The service says goodbye.
    Close(Closing),
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Left => Self::Left,
            Ended::Binary => Self::Close(Closing::Binary),
            Ended::NotText => Self::Close(Closing::Malformed(Malformed::Json)),
            Ended::TooLarge => Self::Close(Closing::TooLarge),
            Ended::Protocol => Self::Close(Closing::Framing),
        }
    }
}

impl<T: Into<Closing>> From<T> for End {
    fn from(closing: T) -> Self {
        Self::Close(closing.into())
    }
}

/// Why a subscription was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the channelID has a subscription with another key")]
    Conflict,
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Refusal {
    /// The status of the answer to `register`.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Key(_) => 400,
            Self::Conflict | Self::Hub(HubError::Taken) => 409,
            Self::Hub(HubError::Full | HubError::Overloaded) => 429,
            Self::Hub(_) => 503,
        }
    }
}

/// The answer to a handshake that is none.
pub(super) fn no_websocket(status: StatusCode) -> Response {
    let problem = Problem::new(status, errno::BAD_REQUEST, "This is no WebSocket handshake.")
        .with_hint("Send Connection: Upgrade, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key (RFC 6455 s4.1).");
    let mut response = wire::problem(&problem);
    if status == StatusCode::UPGRADE_REQUIRED {
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}
