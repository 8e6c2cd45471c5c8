//! DELETE: of a message that was handled (RFC 8030 s6.2), of a subscription that is left (RFC 8030 s7.3).

use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::receipt::{OUTCOME, Outcome};
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use crate::error::Error;
use crate::http2::answer::{exchange, is_gone, request};

/// What became of a DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// It existed, and no longer does.
    Now,
    /// It did not exist: deleted before, or expired.
    Before,
    /// The service will never do it; asking again would not help.
    Never,
    /// The service could not do it now.
    NotYet,
    /// 404 or 410, but not in the service's own form: a proxy answers in its place, or it is a service of another form.
    Doubtful,
}

/// Deletes a resource.
pub(crate) async fn delete(requests: SendRequest<Bytes>, url: &Url, limit: Duration) -> Result<Deleted, Error> {
    delete_with(requests, url, HeaderMap::new(), limit).await
}

/// Deletes a message. A field reports that it could not be opened or that the app did not take it, to services that send
/// receipts; others ignore it.
pub(crate) async fn acknowledge(
    requests: SendRequest<Bytes>,
    message: &Url,
    outcome: Outcome,
    limit: Duration,
) -> Result<Deleted, Error> {
    let mut fields = HeaderMap::new();
    if outcome != Outcome::Delivered {
        fields.insert(OUTCOME, HeaderValue::from_static(outcome.as_str()));
    }
    delete_with(requests, message, fields, limit).await
}

async fn delete_with(
    requests: SendRequest<Bytes>,
    url: &Url,
    fields: HeaderMap,
    limit: Duration,
) -> Result<Deleted, Error> {
    let request = request(Method::DELETE, url, fields)?;
    let answer = exchange(requests, request, Bytes::new(), limit).await?;
    Ok(meaning(answer.status(), answer.body()))
}

fn meaning(status: StatusCode, body: &[u8]) -> Deleted {
    match status {
        _ if is_gone(status, body) => Deleted::Before,
        StatusCode::NOT_FOUND | StatusCode::GONE => Deleted::Doubtful,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Deleted::NotYet,
        s if s.is_success() => Deleted::Now,
        s if s.is_server_error() => Deleted::NotYet,
        _ => Deleted::Never,
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::problem::{Problem, errno};

    use super::*;

    #[test]
    fn only_a_status_that_may_change_is_asked_again_ua_8030_6_2_1() {
        for (status, expected) in [
            (204, Deleted::Now),
            (200, Deleted::Now),
            (404, Deleted::Doubtful),
            (410, Deleted::Doubtful),
            (429, Deleted::NotYet),
            (500, Deleted::NotYet),
            (503, Deleted::NotYet),
            (302, Deleted::Never),
            (403, Deleted::Never),
        ] {
            assert_eq!(meaning(StatusCode::from_u16(status).unwrap(), b"<html>"), expected, "{status}");
        }
        for (status, number) in [(StatusCode::NOT_FOUND, errno::UNKNOWN_URL), (StatusCode::GONE, errno::GONE)] {
            assert_eq!(
                meaning(status, &Problem::new(status, number, "It is gone.").to_json("https://push.example")),
                Deleted::Before
            );
        }
    }
}
