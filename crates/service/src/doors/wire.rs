//! Answers that the HTTP doors share, and the format of a problem.

use doorbell_protocol::problem::{self, Problem, errno};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LAST_MODIFIED, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::buckets::TooFast;
use crate::clock::Clock;
use crate::config::Origin;
use crate::hub::{HubError, Message};
use crate::transport::{BodyError, Payload, Response, date};

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Payload::default());
    *response.status_mut() = status;
    response
}

/// 307: the same request at another place (RFC 8030 s7.1).
pub(super) fn redirect(to: HeaderValue) -> Response {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, to);
    response
}

/// An answer with a problem, and Retry-After if it has one. [`write_problem`] writes its body.
pub(super) fn problem(problem: &Problem) -> Response {
    let mut response = empty(problem.status);
    response.extensions_mut().insert(problem.clone());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    if let Some(secs) = problem.retry_after_secs {
        headers.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// Writes the body of an answer with a problem: the one place that knows how the service is called. Returns the number of
/// the problem.
pub(super) fn write_problem(response: &mut Response, origin: &Origin) -> Option<u16> {
    let problem = response.extensions_mut().remove::<Problem>()?;
    *response.body_mut() = problem.to_json(origin.as_str()).into();
    Some(problem.errno)
}

/// The same answer for every unknown, removed or expired URL: a client cannot distinguish them (PS-8030-8.3-2).
pub(super) fn not_found(status: StatusCode) -> Response {
    let number = if status == StatusCode::GONE { errno::GONE } else { errno::UNKNOWN_URL };
    let text = "This resource does not exist, or no longer exists.";
    problem(&Problem::new(status, number, text).with_hint(
        "If this is the answer of a subscription, delete the subscription; the web app can subscribe again.",
    ))
}

/// 405 with the methods that the resource has.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    let text = "This resource does not support that method.";
    let mut response = problem(
        &Problem::new(StatusCode::METHOD_NOT_ALLOWED, errno::METHOD, text).with_hint(format!("It supports {allowed}.")),
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The page for a person who opens the service in a browser.
pub(super) fn greeting(origin: &Origin) -> Response {
    let text =
        format!("Doorbell, a Web Push service (RFC 8030).\nUser agents subscribe with POST {origin}/subscribe\n");
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The meaning of every errno.
pub(super) fn errors() -> Response {
    let mut response = Response::new(include_str!("../../../../docs/errors.md").into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
    response
}

/// The problem of a rejected body.
pub(super) fn body_problem(error: BodyError) -> Problem {
    let text = error.to_string();
    match error {
        BodyError::TooLarge { max } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, errno::TOO_LARGE, text)
            .with_hint(format!("Send at most {max} bytes; put the rest behind a URL.")),
        BodyError::TimedOut => Problem::new(StatusCode::REQUEST_TIMEOUT, errno::TIMEOUT, text),
        BodyError::Broken => Problem::new(StatusCode::BAD_REQUEST, errno::BAD_REQUEST, text),
    }
}

/// The problem of a request that would create one more of what anybody may create.
pub(super) fn growth_problem(text: String, TooFast { retry_after_secs, .. }: TooFast) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, errno::RATE, text)
        .with_retry_after(retry_after_secs)
        .with_hint("Wait for the time in Retry-After. The operator may raise the limits whose names begin with new_.")
}

/// The hint for a sender that may not create another receipt subscription.
pub(super) const ONE_RECEIPT_SUBSCRIPTION: &str = "Do not make a receipt subscription with each message: name one that \
    you have in a Link field with rel=\"urn:ietf:params:push:receipt\" (RFC 8030 s5.1), or send without \
    `Prefer: respond-async`. For a new one, wait for the time in Retry-After.";

/// The problem of a request that the hub rejected, except for a missing resource.
pub(super) fn hub_problem(error: HubError) -> Problem {
    let (status, number, text, secs) = match error {
        HubError::Gone => (StatusCode::NOT_FOUND, errno::UNKNOWN_URL, "This resource does not exist.", None),
        HubError::NoReceipts => {
            (StatusCode::BAD_REQUEST, errno::RECEIPTS, "The receipt subscription is unknown.", None)
        }
        HubError::Taken => (StatusCode::CONFLICT, errno::BAD_REQUEST, "The subscription's name is taken.", None),
        HubError::ReceiptsFull => {
            let text = "The receipt subscription has reached its limit of waiting receipts.";
            (StatusCode::TOO_MANY_REQUESTS, errno::RECEIPTS_FULL, text, Some(10))
        }
        HubError::Full => {
            let text = "The user agent has reached its limit of stored messages, bytes or subscriptions.";
            (StatusCode::TOO_MANY_REQUESTS, errno::QUOTA, text, Some(60))
        }
        HubError::NoRoom => {
            let text = "The service has no room on its disk.";
            (StatusCode::TOO_MANY_REQUESTS, errno::STORE_FULL, text, Some(60))
        }
        HubError::StoreFull => {
            let text = "The service holds as much as its operator allows.";
            (StatusCode::TOO_MANY_REQUESTS, errno::STORE_FULL, text, Some(60))
        }
        HubError::ReceiptSubscriptionsFull => {
            let text = "The service holds as many receipt subscriptions as its operator allows.";
            (StatusCode::TOO_MANY_REQUESTS, errno::STORE_FULL, text, Some(60))
        }
        HubError::Overloaded => {
            let text = "The service is overloaded.";
            (StatusCode::TOO_MANY_REQUESTS, errno::UNAVAILABLE, text, Some(2))
        }
        HubError::Unavailable => {
            let text = "The store is not available; the message may or may not be stored.";
            (StatusCode::SERVICE_UNAVAILABLE, errno::UNAVAILABLE, text, Some(10))
        }
        HubError::Damaged => {
            let text = "The stored record of this resource is damaged.";
            (StatusCode::SERVICE_UNAVAILABLE, errno::UNAVAILABLE, text, None)
        }
    };
    let problem = Problem::new(status, number, text);
    match secs {
        Some(secs) if error == HubError::ReceiptSubscriptionsFull => {
            problem.with_retry_after(secs).with_hint(ONE_RECEIPT_SUBSCRIPTION)
        }
        Some(secs) => problem.with_retry_after(secs).with_hint(format!("Try again in {secs} seconds.")),
        None => problem,
    }
}

/// The header fields of a message for the agent: the description of the body and the wall time at which it was sent.
/// Urgency, Topic and credentials are not included (PS-8030-5.3-4, PS-8030-5.4-6, PS-8292-4.2-4).
pub(super) fn message_headers(message: &Message, clock: &Clock) -> HeaderMap {
    let mut headers: HeaderMap = message.headers.iter().collect();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    headers.insert(LAST_MODIFIED, date::value(clock.wall_at(message.id.minted_at())));
    headers
}
