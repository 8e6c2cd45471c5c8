//! Answers of the application server's door: the only place where its errors become statuses.

use doorbell_protocol::headers::coding::Unopenable;
use doorbell_protocol::headers::topic::TopicError;
use doorbell_protocol::headers::ttl::{TTL, Ttl, TtlError};
use doorbell_protocol::headers::urgency::UrgencyError;
use doorbell_protocol::message::ContentHeadersError;
use doorbell_protocol::problem::{Problem, errno};
use doorbell_protocol::receipt::ReportError;
use http::header::{CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use thiserror::Error;

use super::vapid::VapidRejection;
use crate::doors::buckets::TooFast;
use crate::doors::wire;
use crate::hub::HubError;
use crate::transport::{BodyError, Response};

/// Why a message was not accepted.
#[derive(Debug, Error)]
pub(super) enum Rejection {
    #[error("the subscription is gone")]
    Gone,
    #[error("the signing key and the encryption key are the same")]
    KeyReuse,
    #[error("the receipt subscription is unknown")]
    Receipts,
    #[error("this connection cannot receive server pushes")]
    NoPush,
    #[error(transparent)]
    Vapid(#[from] VapidRejection),
    #[error(transparent)]
    TooFast(#[from] TooFast),
    #[error(transparent)]
    Ttl(#[from] TtlError),
    #[error(transparent)]
    Urgency(#[from] UrgencyError),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Content(#[from] ContentHeadersError),
    #[error("the subscription belongs to a browser, which cannot open this message: {0}")]
    Unopenable(#[from] Unopenable),
    #[error(transparent)]
    Outcome(#[from] ReportError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("too many new receipt subscriptions: {0}")]
    Growth(TooFast),
    #[error(transparent)]
    Hub(HubError),
}

impl From<HubError> for Rejection {
    fn from(error: HubError) -> Self {
        if error == HubError::Gone { Self::Gone } else { Self::Hub(error) }
    }
}

impl Rejection {
    /// The answer on the wire.
    pub(super) fn answer(self) -> Response {
        self.answer_with(StatusCode::NOT_FOUND, StatusCode::FORBIDDEN)
    }

    /// The same to a push, which the operator may have set: for a subscription that is gone, and for wrong credentials.
    pub(super) fn answer_with(self, gone: StatusCode, vapid: StatusCode) -> Response {
        let text = self.to_string();
        let bad =
            |number, hint: &'static str| Problem::new(StatusCode::BAD_REQUEST, number, text.clone()).with_hint(hint);
        let problem = match self {
            Self::Gone => return gone_for_good(gone),
            Self::Vapid(rejection) => return unauthorized(&rejection, text, vapid),
            Self::Hub(error) => wire::hub_problem(error),
            Self::Body(error) => wire::body_problem(error),
            Self::TooFast(TooFast { retry_after_secs, .. }) => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, errno::RATE, text)
                    .with_retry_after(retry_after_secs)
                    .with_hint("Wait for the time in Retry-After; send less often, or one message with a Topic.")
            }
            Self::Growth(too_fast) => wire::growth_problem(text, too_fast).with_hint(wire::ONE_RECEIPT_SUBSCRIPTION),
            Self::Receipts => bad(errno::RECEIPTS, "Omit the Link to get a new receipt subscription (RFC 8030 s5.1)."),
            Self::NoPush => Problem::new(StatusCode::NOT_ACCEPTABLE, errno::TRANSPORT, text)
                .with_hint("Ask with `Accept: text/event-stream`, or over HTTP/2 with server push (RFC 8030 s6.3)."),
            Self::KeyReuse => bad(errno::KEY_REUSE, "Create a new ECDH key for each message (RFC 8292 s3.2)."),
            Self::Ttl(TtlError::Missing) => bad(
                errno::TTL_MISSING,
                "Add `TTL: <seconds>`: how long the service may keep the message (RFC 8030 s5.2).",
            ),
            Self::Ttl(_) => bad(errno::TTL_INVALID, "TTL is one whole number of seconds, such as `TTL: 3600`."),
            Self::Urgency(_) => bad(errno::URGENCY, "Send one of very-low, low, normal, high, or omit it."),
            Self::Topic(_) => bad(errno::TOPIC, "Send one topic of 1 to 32 characters out of A-Z a-z 0-9 - _."),
            Self::Unopenable(why) => bad(errno::ENCRYPTION_HEADERS, remedy(why)),
            Self::Outcome(_) => bad(
                errno::BAD_REQUEST,
                "Send `Doorbell-Outcome: undecryptable` or `refused` once, or omit it if the message was delivered.",
            ),
            Self::Content(_) => bad(errno::ENCRYPTION_HEADERS, "Send each content header once and in its usual form."),
        };
        wire::problem(&problem)
    }
}

/// What to change in a message that no browser can open.
fn remedy(why: Unopenable) -> &'static str {
    match why {
        Unopenable::Uncoded | Unopenable::Coding => {
            "Encrypt the message (RFC 8291) and send `Content-Encoding: aes128gcm`; only a push without a body needs none."
        }
        Unopenable::Salt | Unopenable::Dh => {
            "Send the salt in Encryption and the public key of the message in Crypto-Key, or use aes128gcm (RFC 8291)."
        }
        Unopenable::Short | Unopenable::Key | Unopenable::RecordSize => {
            "Send the whole encrypted body, which begins with salt, record size and the public key of the message \
             (RFC 8291 s4, RFC 8188 s2.1)."
        }
    }
}

/// How long a 410 is good for, in Mozilla's service.
const GONE_MAX_AGE: &str = "max-age=86400";

/// A subscription that is gone never comes back.
fn gone_for_good(status: StatusCode) -> Response {
    let mut response = wire::not_found(status);
    if status == StatusCode::GONE {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(GONE_MAX_AGE));
    }
    response
}

/// After this time a sender looks whether the service's clock is right again: NTP sets one soon after the start.
const CLOCK_RETRY_SECS: u32 = 60;

/// 401 with a bare challenge for missing credentials, 403 for wrong ones (RFC 8292 s4.2) unless the operator set another
/// status, and 429 if our clock may be the reason.
fn unauthorized(rejection: &VapidRejection, text: String, wrong: StatusCode) -> Response {
    if matches!(rejection, VapidRejection::Missing) {
        let hint = "Sign with the key that the web app passed as applicationServerKey (RFC 8292).";
        return challenge(StatusCode::UNAUTHORIZED, text, hint);
    }
    if matches!(rejection, VapidRejection::ClockInDoubt) {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, errno::CLOCK, text)
            .with_retry_after(CLOCK_RETRY_SECS)
            .with_hint(
                "Try again with the same or a new token. If it stays so, the service's clock must be set (NTP).",
            );
        return wire::problem(&problem);
    }
    let hint =
        "Sign with ES256, aud = the origin of the push URL, exp at most 24 hours ahead; check the clock and the key.";
    challenge(wrong, text, hint)
}

/// The answer to missing or wrong credentials; a 401 has a challenge (RFC 9110 s15.5.2).
fn challenge(status: StatusCode, text: String, hint: &'static str) -> Response {
    let mut response = wire::problem(&Problem::new(status, errno::AUTHENTICATION, text).with_hint(hint));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("vapid"));
    }
    response
}

/// The answer to an accepted message, with the granted TTL (PS-8030-5.2-5).
pub(super) fn accepted(status: StatusCode, granted: Ttl) -> Response {
    let mut response = wire::empty(status);
    response.headers_mut().insert(HeaderName::from_static(TTL), granted.to_value());
    response
}
