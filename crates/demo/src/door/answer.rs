//! Answers, and the one place where an error becomes one: `{"code","message","hint"}`: what the
//! page decides by, what is wrong, and what to do.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tracing::error;

use crate::error::DemoError;
use crate::house::House;
use crate::limits::SESSION_KEPT;

pub(super) type Response = http::Response<Full<Bytes>>;

/// Scripts, styles and sounds from here only, and no other page may frame ours.
const POLICY: &str = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// When a client should look again whether there is room: what makes it takes minutes at least.
const ROOM_AFTER: Duration = Duration::from_secs(60);

pub(super) fn json(value: &Value) -> Response {
    with_type("application/json", Bytes::from(value.to_string()))
}

/// 204.
pub(super) fn done() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A voice mail. The browser shall not make anything else of it.
pub(super) fn sound(media_type: &'static str, sound: Vec<u8>) -> Response {
    with_type(media_type, Bytes::from(sound))
}

pub(super) fn with_type(kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// With the session's cookie; without a value it is taken back.
pub(super) fn with_cookie(mut response: Response, name: &str, value: &str, house: &House) -> Response {
    let age = if value.is_empty() { 0 } else { SESSION_KEPT.as_secs() };
    let secure = if house.site.starts_with("https:") { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    let cookie = HeaderValue::from_str(&cookie).expect("a sealed session is base64url and full stops");
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

pub(super) fn error(error: &DemoError) -> Response {
    let (status, code, hint) = explain(error);
    if status.is_server_error() {
        error!(%error, "a request failed");
    }
    // What went wrong inside is for the log and not for strangers.
    let message = if status.is_server_error() { "the server has a problem".to_owned() } else { error.to_string() };
    let mut response = json(&json!({ "code": code, "message": message, "hint": hint }));
    *response.status_mut() = status;
    if let Some(wait) = wait(error) {
        // Rounded up: a request at that second is accepted.
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
    }
    response
}

/// The headers that every answer has.
pub(super) fn finish(mut response: Response, head: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if head {
        *response.body_mut() = Full::default();
    }
    response
}

/// How long to wait before the same request may succeed: every 429 reports it.
fn wait(error: &DemoError) -> Option<Duration> {
    match error {
        DemoError::TooManyGuesses(wait) | DemoError::TooOften(wait) | DemoError::TooManyAtOnce(wait) => Some(*wait),
        DemoError::TooMany(_) => Some(ROOM_AFTER),
        _ => None,
    }
}

/// Status, what a page decides by, and what to do.
fn explain(error: &DemoError) -> (StatusCode, &'static str, &'static str) {
    match error {
        DemoError::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "Correct it and try again."),
        DemoError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Make it shorter."),
        DemoError::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Remove something, or try again later."),
        DemoError::NotSignedIn => (StatusCode::UNAUTHORIZED, "not-signed-in", "Sign in with your name."),
        DemoError::NameTaken(_) => (
            StatusCode::CONFLICT,
            "name-taken",
            "If it is you: choose \u{201c}Add a device\u{201d} there and open its link here, or give your passphrase. If not: \
             take another name.",
        ),
        DemoError::InvitationNeeded => (
            StatusCode::FORBIDDEN,
            "invitation-needed",
            "Ask a person who is here for one (\u{201c}Invite a person\u{201d}), and open its link.",
        ),
        DemoError::WrongPassphrase => (StatusCode::FORBIDDEN, "wrong-passphrase", "Try again, or take another name."),
        DemoError::TooManyGuesses(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-guesses",
            "Wait, or choose \u{201c}Add a device\u{201d} where you are signed in and open its link here.",
        ),
        DemoError::TooOften(_) => (StatusCode::TOO_MANY_REQUESTS, "too-often", "Wait, and try again then."),
        DemoError::TooManyAtOnce(_) => {
            (StatusCode::TOO_MANY_REQUESTS, "too-many-at-once", "Wait a second, and try again.")
        }
        DemoError::NotYou => (StatusCode::FORBIDDEN, "not-you", "Sign in as the person that you want to act for."),
        DemoError::OtherSite => (StatusCode::FORBIDDEN, "other-site", "Open the demo's own page."),
        DemoError::WrongHost => (
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-host",
            "Open the address that `doorbell demo` prints, or start it with this one as --demo-url.",
        ),
        DemoError::Subscription(_) => (
            StatusCode::BAD_REQUEST,
            "subscription",
            "Start the browser with `doorbell firefox`, so that it uses this push service.",
        ),
        DemoError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "It may have been removed."),
        DemoError::Away(_) => (StatusCode::CONFLICT, "away", "Leave a voice mail: they will be notified."),
        DemoError::Busy(_) => (StatusCode::CONFLICT, "busy", "Leave a voice mail, or try again later."),
        DemoError::CallOver => (StatusCode::GONE, "call-over", "Call back."),
        DemoError::Random
        | DemoError::Store(_)
        | DemoError::File { .. }
        | DemoError::Bind { .. }
        | DemoError::Sender(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Its operator finds the reason in its log.")
        }
    }
}
