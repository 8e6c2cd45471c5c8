//! The answers of the admin listener, its errors among them.

use bytes::Bytes;
use doorbell_protocol::problem::{self, Problem, errno};
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::page::Page;
use super::report;
use crate::config::Origin;
use crate::status::Readiness;
use crate::transport::{Payload, Response};

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// No page may embed an answer, and no resource of another place is used.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// 200 with a body.
pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    with_status(StatusCode::OK, content_type, body)
}

fn with_status(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Payload::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with a document.
pub(super) fn json(document: &impl Serialize) -> Response {
    json_with(StatusCode::OK, document)
}

fn json_with(status: StatusCode, document: &impl Serialize) -> Response {
    let mut text = serde_json::to_vec_pretty(document).expect("numbers and text always have a JSON form");
    text.push(b'\n');
    with_accept(with_status(status, JSON, text))
}

/// 200 if the process works, 503 if only a new start helps.
pub(super) fn liveness(liveness: &Result<(), String>) -> Response {
    match liveness {
        Ok(()) => whole(TEXT, "ok\n"),
        Err(why) => with_status(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("FAILED   {why}\n")),
    }
}

/// 200 if the service is ready and 503 if not, with a line for each condition.
pub(super) fn readiness(readiness: &Readiness) -> Response {
    with_accept(with_status(status_of(readiness), TEXT, report::text(readiness)))
}

/// The same as JSON.
pub(super) fn readiness_json(readiness: &Readiness) -> Response {
    json_with(status_of(readiness), readiness)
}

fn status_of(readiness: &Readiness) -> StatusCode {
    if readiness.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The page of the status.
pub(super) fn page(page: &Page) -> Response {
    let mut response = with_accept(whole(HTML, page.html.clone()));
    let policy = format!("{POLICY}; style-src '{}'; img-src data:", page.style_hash);
    let policy = HeaderValue::try_from(policy).expect("a hash is visible ASCII");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// 307 to the status.
pub(super) fn to_status() -> Response {
    let mut response = with_status(StatusCode::TEMPORARY_REDIRECT, TEXT, "the status is at /status\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/status"));
    response
}

/// Whether the client names this media type. Many clients accept everything, and name nothing.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        is_named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
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
    let hint = "It has /status, /readyz, /livez and /metrics. Push URLs are on the public listener.";
    problem(Problem::new(StatusCode::NOT_FOUND, errno::UNKNOWN_URL, text).with_hint(hint))
}

/// An answer with a problem. [`complete`] writes its body.
fn problem(problem: Problem) -> Response {
    let mut response = with_status(problem.status, problem::CONTENT_TYPE, Bytes::new());
    response.extensions_mut().insert(problem);
    response
}

/// Adds what every answer has.
pub(super) fn complete(response: &mut Response, origin: &Origin) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // A page that gave its name this address may read this answer: it must not learn the origin.
        let is_foreign = problem.status == StatusCode::MISDIRECTED_REQUEST;
        let origin = if is_foreign { "" } else { origin.as_str() };
        *response.body_mut() = problem.to_json(origin).into();
    }
    protect(response.headers_mut());
}

/// The answer to a request that HTTP itself rejects. Its host was not checked, so it does not name the origin either.
pub(super) fn rejection(problem: &Problem) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(problem.to_json("")));
    *response.status_mut() = problem.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    protect(response.headers_mut());
    response
}

fn with_accept(mut response: Response) -> Response {
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_counts_when_the_client_names_it() {
        let accepts = |value: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::try_from(value).unwrap())]);
            super::accepts(&headers, "text/html")
        };
        assert!(accepts("text/html,application/xhtml+xml,*/*;q=0.8") && accepts("application/json, TEXT/HTML;q=0.1"));
        assert!(!accepts("*/*") && !accepts("application/json") && !accepts("text/html;q=0") && !accepts(""));
    }
}
