//! The methods of each resource, by its path alone: a removed resource and one that never existed have the same ones,
//! so that no client can distinguish the two (PS-8030-8.3-2). And which resources pages of other origins may use (CORS).

use doorbell_protocol::problem::ERRORS_PATH;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::agent::chromium::{CHECKIN_PATH, Chromium, REGISTRATION_PATH};
use super::agent::wake::WAKE_PATH;
use super::{PUSH, SUBSCRIBE_PATH, wire};
use crate::transport::Response;

/// What a path supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Methods {
    /// The value of the Allow field.
    pub(super) list: &'static str,
    /// Whether pages of any origin may use it: application servers' resources, whose URL is the permission. Agents'
    /// resources are not for pages: each visitor of a page would become an agent.
    is_for_pages: bool,
}

const READ: Methods = Methods { list: "GET, HEAD, OPTIONS", is_for_pages: false };
const POST: Methods = Methods { list: "POST, OPTIONS", is_for_pages: false };
const SEND: Methods = Methods { is_for_pages: true, ..POST };
const RECEIVE: Methods = Methods { list: "GET, HEAD, DELETE, OPTIONS", is_for_pages: false };
const FOLLOW: Methods = Methods { is_for_pages: true, ..RECEIVE };
const WHOLE_SERVER: Methods = Methods { list: "GET, HEAD, POST, DELETE, OPTIONS", is_for_pages: false };

/// The answer's fields that a page may read, in addition to those that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Location, Link, TTL, Retry-After, Date, Allow, WWW-Authenticate, Content-Encoding, Encryption, Crypto-Key, \
     X-Request-Id",
);
/// The request's fields that a page may send. `*` does not include Authorization, and older browsers do not know it.
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Encoding, Content-Type, Crypto-Key, Doorbell-Outcome, Encryption, Last-Event-ID, Link, \
     Prefer, Topic, TTL, Urgency, *",
);
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
/// How long a browser may keep the answer to a preflight, in seconds. It depends on nothing that changes.
const PREFLIGHT_KEPT: HeaderValue = HeaderValue::from_static("86400");

impl Methods {
    /// The methods of the resource at `path`; `None` if the service has none there.
    pub(super) fn of(path: &str, chromium: &Chromium) -> Option<Self> {
        match path {
            "/" | ERRORS_PATH | WAKE_PATH => return Some(READ),
            SUBSCRIBE_PATH => return Some(POST),
            CHECKIN_PATH | REGISTRATION_PATH => return chromium.is_open().then_some(POST),
            "*" => return Some(WHOLE_SERVER),
            _ => {}
        }
        match path.get(..PUSH.len())? {
            PUSH => Some(SEND),
            "/m/" | "/r/" => Some(FOLLOW),
            "/s/" | "/a/" => Some(RECEIVE),
            _ => chromium.push_token(path).map(|_| SEND),
        }
    }

    pub(super) fn have(self, method: &Method) -> bool {
        self.list.split(", ").any(|one| one == method.as_str())
    }

    /// The answer to OPTIONS, and to a browser that asks for a page whether it may (WHATWG Fetch s4.8).
    pub(super) fn options(self, request: &HeaderMap) -> Response {
        let mut response = wire::empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(self.list));
        if self.is_for_pages && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(self.list));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
            headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_KEPT);
        }
        response
    }

    /// Whether pages of other origins may read the answer to a request: one that comes from a page, or a GET, because a
    /// cache may return its answer to a page later.
    pub(super) fn answer_pages(self, method: &Method, request: &HeaderMap) -> bool {
        self.is_for_pages && (*method == Method::GET || request.contains_key(ORIGIN))
    }
}

/// Lets pages of other origins read an answer, and the reason of a rejection.
pub(super) fn show_to_pages(answer: &mut HeaderMap) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
