//! The answers of the admin listener, its errors among them.

use bytes::Bytes;
use doorbell_protocol::problem::{self, Problem, errno};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

use crate::config::Origin;
use crate::transport::{Payload, Response};

const TEXT: &str = "text/plain; charset=utf-8";
/// No page may embed an answer, and no resource of another place is used.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// 200 with a body.
pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Payload::from(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with text.
pub(super) fn text(body: impl Into<Bytes>) -> Response {
    whole(TEXT, body)
}

/// 421: the request was sent to a name that is not this machine's.
pub(super) fn wrong_host() -> Response {
    let text = "The admin listener answers to the names of this machine only.";
    let hint =
        "Open it as http://127.0.0.1:PORT/ or http://localhost:PORT/. A proxy in front must send one of them in Host.";
    problem(Problem::new(StatusCode::MISDIRECTED_REQUEST, errno::TRANSPORT, text).with_hint(hint))
}

/// 405: everything here can only be read.
pub(super) fn method_not_allowed() -> Response {
    let text = "The admin listener is for reading only.";
    let problem_of_method = Problem::new(StatusCode::METHOD_NOT_ALLOWED, errno::METHOD, text);
    let mut response = problem(problem_of_method.with_hint("It supports GET and HEAD."));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// 404.
pub(super) fn not_found() -> Response {
    let text = "The admin listener has no such resource.";
    let hint = "It has /livez and /metrics. Push URLs are on the public listener.";
    problem(Problem::new(StatusCode::NOT_FOUND, errno::UNKNOWN_URL, text).with_hint(hint))
}

/// An answer with a problem. [`complete`] writes its body.
fn problem(problem: Problem) -> Response {
    let mut response = Response::new(Payload::default());
    *response.status_mut() = problem.status;
    response.extensions_mut().insert(problem);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    response
}

/// Adds what every answer has.
pub(super) fn complete(response: &mut Response, origin: &Origin) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = problem.to_json(origin.as_str()).into();
    }
    protect(response.headers_mut());
}

/// The answer to a request that HTTP itself rejects.
pub(super) fn rejection(problem: &Problem, origin: &Origin) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(problem.to_json(origin.as_str())));
    *response.status_mut() = problem.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    protect(response.headers_mut());
    response
}

fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(http::header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
}
