//! Requests with short answers: sent, waited for with a deadline, read up to a bound; and the errors in them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use doorbell_protocol::problem;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use crate::error::Error;
use crate::http2::connection::lost;

/// What is read of an answer: its body, if any, is a sentence about an error.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How much of the service's explanation is repeated, in characters.
const DETAIL_MAX: usize = 300;
/// The longest wait that a service can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A request for `url`.
pub(crate) fn request(method: Method, url: &Url, fields: HeaderMap) -> Result<Request<()>, Error> {
    let uri: Uri = url.as_str().parse().map_err(|_| Error::Unusable("it sent a URL that HTTP cannot carry"))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    Ok(request)
}

/// Sends a request and waits for the whole answer, for `limit` at most.
pub(crate) async fn exchange(
    requests: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
    limit: Duration,
) -> Result<Response<Bytes>, Error> {
    let exchange = async {
        let mut requests = requests.ready().await.map_err(lost)?;
        let (response, mut sending) = requests.send_request(request, body.is_empty()).map_err(lost)?;
        if !body.is_empty() {
            sending.send_data(body, true).map_err(lost)?;
        }
        let (head, body) = response.await.map_err(lost)?.into_parts();
        // Status and fields decide; a body that is too long to explain an error is left out.
        let body = read(body, ANSWER_BYTES_MAX).await?.unwrap_or_default();
        Ok(Response::from_parts(head, body))
    };
    timeout(limit, exchange).await.map_err(|_| Error::Timeout("answer", limit))?
}

/// All of a body; `None` if it is longer than `max` bytes. An error if it is cut short (RFC 8188 s4.2).
pub(crate) async fn read(mut stream: RecvStream, max: usize) -> Result<Option<Bytes>, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.map_err(lost)?;
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
        stream.flow_control().release_capacity(chunk.len()).map_err(lost)?;
    }
    Ok(Some(body.freeze()))
}

/// Whether an answer says that its resource does not exist, or no longer: 404 or 410 (RFC 8030 s7.3), in the service's own
/// form.
pub(crate) fn is_gone(status: StatusCode, body: &[u8]) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) && problem::errno_in(status, body).is_some()
}

/// The error of an answer with another status than the one that was asked for.
pub(crate) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) && problem::errno_in(status, body).is_none() {
        return Error::Stranger { status, retry_after: retry_after(headers) };
    }
    Error::Refused { status, detail: detail(body), retry_after: retry_after(headers) }
}

/// Retry-After, if it counts seconds (the other form, a date, would need a wall clock).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs).min(RETRY_AFTER_MAX))
}

/// The service's explanation of an error, for people. It is foreign text: so it is cut, and control characters are
/// removed.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        message: String,
        #[serde(default)]
        hint: String,
    }
    // Other services explain their errors in other formats, or not at all.
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else { return String::new() };
    let text = format!(": {} {}", problem.message, problem.hint);
    text.trim_end().chars().filter(|c| !c.is_control()).take(DETAIL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_body_becomes_text_without_control_characters() {
        let body = br#"{"code":400,"message":"No such \u001b[31mset.","hint":"Leave it out."}"#;
        assert_eq!(detail(body), ": No such [31mset. Leave it out.");
        assert_eq!(detail(b"<html>"), "");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(5000));
        assert_eq!(detail(long.as_bytes()).len(), DETAIL_MAX);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_bounded() {
        let after = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
