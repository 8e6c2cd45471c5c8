//! Answers that the HTTP doors share, and how a problem looks on the wire.

use doorbell_protocol::problem::{self, Problem, errno};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LAST_MODIFIED, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::config::Origin;
use crate::hub::{HubError, Message};
use crate::transport::{BodyError, Payload, Response, date};

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Payload::default());
    *response.status_mut() = status;
    response
}

/// 307: the same request, elsewhere (RFC 8030 s7.1).
pub(super) fn redirect(to: HeaderValue) -> Response {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(LOCATION, to);
    response
}

/// A problem as JSON, with Retry-After where it has one.
pub(super) fn problem(problem: &Problem) -> Response {
    let mut response = Response::new(problem.to_json().into());
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    if let Some(secs) = problem.retry_after_secs {
        headers.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// What every unknown, removed or expired URL gets, so that nobody can tell which it was (PS-8030-8.3-2).
pub(super) fn not_found(status: StatusCode) -> Response {
    let number = if status == StatusCode::GONE { errno::GONE } else { errno::UNKNOWN_URL };
    let text = "There is no such resource, or there is none any more.";
    problem(
        &Problem::new(status, number, text)
            .with_hint("A subscription that answers so is over: forget it, and let the web app subscribe again."),
    )
}

/// 405 with the methods that the resource has.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    let text = "This resource does not have that method.";
    let mut response = problem(
        &Problem::new(StatusCode::METHOD_NOT_ALLOWED, errno::METHOD, text).with_hint(format!("It has {allowed}.")),
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What a person sees who opens the service in a browser.
pub(super) fn greeting(origin: &Origin) -> Response {
    let text =
        format!("Doorbell, a Web Push service (RFC 8030).\nUser agents subscribe with POST {origin}/subscribe\n");
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What every errno means.
pub(super) fn errors() -> Response {
    let mut response = Response::new(include_str!("../../../../docs/errors.md").into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
    response
}

/// The problem of a body that was not taken.
pub(super) fn body_problem(error: BodyError) -> Problem {
    let text = error.to_string();
    match error {
        BodyError::TooLarge { max } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, errno::TOO_LARGE, text)
            .with_hint(format!("Send at most {max} octets; put more behind a URL and send that.")),
        BodyError::TimedOut => Problem::new(StatusCode::REQUEST_TIMEOUT, errno::TIMEOUT, text),
        BodyError::Broken => Problem::new(StatusCode::BAD_REQUEST, errno::BAD_REQUEST, text),
    }
}

/// The problem of a request that the hub did not carry out, other than by there being no such resource.
pub(super) fn hub_problem(error: HubError) -> Problem {
    let (status, number, text, secs) = match error {
        HubError::Gone => (StatusCode::NOT_FOUND, errno::UNKNOWN_URL, "There is no such resource.", None),
        HubError::NoReceipts => {
            (StatusCode::BAD_REQUEST, errno::RECEIPTS, "The receipt subscription is not known.", None)
        }
        HubError::Taken => (StatusCode::CONFLICT, errno::BAD_REQUEST, "The subscription's name is taken.", None),
        HubError::ReceiptsFull => {
            let text = "The receipt subscription has too many receipts that nobody took.";
            (StatusCode::TOO_MANY_REQUESTS, errno::RECEIPTS_FULL, text, Some(10))
        }
        HubError::Full => {
            let text = "The user agent has as much stored as it may have.";
            (StatusCode::TOO_MANY_REQUESTS, errno::QUOTA, text, Some(60))
        }
        HubError::Overloaded => {
            let text = "The service has more to do than it can at the moment.";
            (StatusCode::TOO_MANY_REQUESTS, errno::UNAVAILABLE, text, Some(2))
        }
        HubError::Unavailable => {
            let text = "The service cannot do this now; a message may or may not have been kept.";
            (StatusCode::SERVICE_UNAVAILABLE, errno::UNAVAILABLE, text, Some(10))
        }
        HubError::Damaged => {
            let text = "What the service stored about this resource is damaged.";
            (StatusCode::SERVICE_UNAVAILABLE, errno::UNAVAILABLE, text, None)
        }
    };
    let problem = Problem::new(status, number, text);
    match secs {
        Some(secs) => problem.with_retry_after(secs).with_hint(format!("Try again in {secs} seconds.")),
        None => problem,
    }
}

/// The header fields of a message on its way to the agent: what describes the body, and when it was sent.
/// Urgency, Topic and credentials are not among them (PS-8030-5.3-4, PS-8030-5.4-6, PS-8292-4.2-4).
pub(super) fn message_headers(message: &Message) -> HeaderMap {
    let mut headers: HeaderMap = message.headers.iter().collect();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    headers.insert(LAST_MODIFIED, date::value(message.id.minted_at()));
    headers
}
