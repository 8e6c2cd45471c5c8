//! Answers to failures: the only place where errors become codes of the WebSocket and statuses of its messages.

use doorbell_protocol::firefox::Malformed;
use doorbell_protocol::key::KeyError;
use doorbell_protocol::problem::{Problem, errno};
use http::StatusCode;
use http::header::{HeaderValue, SEC_WEBSOCKET_VERSION};
use thiserror::Error;

use crate::doors::buckets::TooFast;
use crate::doors::wire;
use crate::hub::HubError;
use crate::transport::Response;
use crate::transport::websocket::Ended;

/// Why the service ends a connection. Firefox reconnects after five seconds, whatever the code; the one exception is
/// below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The hello did not arrive in time.
    NoHello,
    /// The client sent something else before its hello.
    HelloFirst,
    /// It sent a second hello.
    HelloTwice,
    Malformed(Malformed),
    Binary,
    TooLarge,
    Framing,
    /// It did not answer a ping in time.
    Silent,
    /// The agent was removed: with its next hello the client starts over.
    Gone,
    /// The same client has a newer connection.
    Superseded,
    /// The service restarts.
    Restarting,
    /// The service cannot do its work.
    Unavailable,
}

impl CloseReason {
    /// The code (RFC 6455 s7.4) and the reason.
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
            // On this code Firefox does not reconnect by itself. With any other, two copies of a profile would replace
            // each other's connection forever. The older one reconnects when it has a request or a new network.
            Self::Superseded => (4774, "another connection replaced this one"),
            Self::Restarting => (1012, "the service restarts"),
            Self::Unavailable => (1013, "try again later"),
        }
    }
}

impl From<HubError> for CloseReason {
    fn from(error: HubError) -> Self {
        if error == HubError::Gone { Self::Gone } else { Self::Unavailable }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client has left, or cannot be reached.
    Left,
    /// The service closes it.
    Close(CloseReason),
}

impl End {
    /// The reason, for the access log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Left => "the client left",
            Self::Close(reason) => reason.frame().1,
        }
    }
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Left => Self::Left,
            Ended::Binary => Self::Close(CloseReason::Binary),
            Ended::NotText => Self::Close(CloseReason::Malformed(Malformed::Json)),
            Ended::TooLarge => Self::Close(CloseReason::TooLarge),
            Ended::Protocol => Self::Close(CloseReason::Framing),
        }
    }
}

impl<T: Into<CloseReason>> From<T> for End {
    fn from(reason: T) -> Self {
        Self::Close(reason.into())
    }
}

/// Why no subscription was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Rejection {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the channelID has a subscription with another key")]
    Conflict,
    #[error("too many new user agents: {0}")]
    Growth(#[from] TooFast),
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Rejection {
    /// The status of the answer to `register`.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Key(_) => 400,
            Self::Conflict | Self::Hub(HubError::Taken) => 409,
            Self::Growth(_)
            | Self::Hub(HubError::Full | HubError::Overloaded | HubError::NoRoom | HubError::StoreFull) => 429,
            Self::Hub(_) => 503,
        }
    }

    /// The number that counts it in the metrics: that of the same refusal over HTTP.
    pub(super) fn errno(self) -> u16 {
        match self {
            Self::Key(_) => errno::SUBSCRIBE_OPTIONS,
            Self::Conflict => errno::BAD_REQUEST,
            Self::Growth(_) => errno::RATE,
            Self::Hub(error) => wire::hub_problem(error).errno,
        }
    }
}

/// The answer to a request that is not a WebSocket handshake.
pub(super) fn no_websocket(status: StatusCode) -> Response {
    let problem = Problem::new(status, errno::BAD_REQUEST, "This is not a WebSocket handshake.")
        .with_hint("Send Connection: Upgrade, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key (RFC 6455 s4.1).");
    let mut response = wire::problem(&problem);
    if status == StatusCode::UPGRADE_REQUIRED {
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}
