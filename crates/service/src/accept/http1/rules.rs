//! Rules of HTTP/1 that hyper leaves to its caller, and the answers to what hyper itself rejects.

use doorbell_protocol::problem::{Problem, errno};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, Method, StatusCode, Version};

/// Checks the head of a request; `is_followed`: the client has sent more than the head.
pub(super) fn check(request: &http::Request<hyper::body::Incoming>, is_followed: bool) -> Result<(), Problem> {
    let (version, headers) = (request.version(), request.headers());
    check_host(version, headers)?;
    let has_body = || is_followed || CONTENT.iter().any(|name| headers.contains_key(name));
    if version < Version::HTTP_11
        && request.method() == Method::POST
        && !headers.contains_key(CONTENT_LENGTH)
        && has_body()
    {
        // It would count as empty, and what was sent would be lost. Proxies send a POST without a body like this.
        let text = "An HTTP/1.0 request has a body of unknown length.";
        let hint = "Send Content-Length (RFC 9112 s6.3), with 0 for an empty body, or use HTTP/1.1.";
        return Err(Problem::new(StatusCode::LENGTH_REQUIRED, errno::BAD_REQUEST, text).with_hint(hint));
    }
    Ok(())
}

/// The fields that describe a body.
const CONTENT: [HeaderName; 4] =
    [CONTENT_TYPE, CONTENT_ENCODING, HeaderName::from_static("encryption"), HeaderName::from_static("crypto-key")];

/// HTTP/1.1 has one Host, and no version has two (RFC 9112 s3.2).
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(bad("The request has no Host.")),
        (Some(_), Some(_)) => Err(bad("The request has more than one Host.")),
    }
}

fn bad(text: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, errno::BAD_REQUEST, text)
        .with_hint("Send one Host, with the name and port of the service's URLs (RFC 9112 s3.2).")
}

/// The answer to a head that did not arrive in time.
pub(super) fn timed_out() -> Problem {
    let text = "The head of the request did not arrive in time.";
    Problem::new(StatusCode::REQUEST_TIMEOUT, errno::TIMEOUT, text).with_hint("Send it again, without pauses.")
}

/// The problem behind hyper's own answer to a request that it cannot parse.
pub(super) fn unreadable(status: StatusCode) -> Problem {
    let (text, hint) = match status {
        StatusCode::URI_TOO_LONG => ("The URI is too long.", "Use the URL that the service gave."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("The head of the request has too many bytes or fields.", "Send at most 16 KiB and 64 fields.")
        }
        _ => {
            ("The request is not HTTP.", "Send HTTP/1.1 (RFC 9112) or HTTP/2; look for a proxy that changes requests.")
        }
    };
    Problem::new(status, errno::BAD_REQUEST, text).with_hint(hint)
}
