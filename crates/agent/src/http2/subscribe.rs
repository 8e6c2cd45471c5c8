//! Subscribing: a POST that creates a subscription, its push resource and perhaps its set (RFC 8030 s4, s4.1).

use bytes::Bytes;
use doorbell_protocol::headers::link::{self, Link, REL_PUSH, REL_PUSH_SET};
use doorbell_protocol::key::PublicKey;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use url::Url;

use crate::error::Error;
use crate::http2::answer::{exchange, refused, request};
use crate::http2::connection::Connector;

/// The media type of the restriction to one application server (RFC 8292 s4.1).
const OPTIONS_TYPE: HeaderValue = HeaderValue::from_static("application/webpush-options+json");
/// The longest URL that is accepted from a service. UnifiedPush allows push resources of 1,000 bytes at most.
const URL_BYTES_MAX: usize = 2048;

/// What the service granted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) resource: Url,
    pub(crate) endpoint: Url,
    pub(crate) set: Option<Url>,
}

/// Subscribes at `service`, into `set` if there is one already (RFC 8030 s4.1), restricted to `vapid` if given.
pub(crate) async fn subscribe(
    connector: &Connector,
    service: &Url,
    set: Option<&Url>,
    vapid: Option<&PublicKey>,
) -> Result<Granted, Error> {
    let mut target = service.clone();
    let mut redirects = 0;
    loop {
        let connection = connector.connect(&target).await?;
        let (fields, body) = options(set, vapid)?;
        let request = request(Method::POST, &target, fields)?;
        let answer = exchange(connection.requests(), request, body, connector.limits.answer_timeout).await?;
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return granted(&target, &answer);
        }
        redirects += 1;
        if redirects > connector.limits.redirects_max {
            return Err(Error::Unusable("it redirects in circles"));
        }
        let location = location(&answer).ok_or(Error::Unusable("a redirect without Location"))?;
        target = resolve(&target, location)?;
    }
}

/// The fields and the body of the request.
fn options(set: Option<&Url>, vapid: Option<&PublicKey>) -> Result<(HeaderMap, Bytes), Error> {
    let mut fields = HeaderMap::new();
    if let Some(set) = set {
        let value = Link::new(set.as_str(), REL_PUSH_SET).to_value();
        fields.insert(header::LINK, value.ok_or(Error::Unusable("its set is not a URL"))?);
    }
    let Some(key) = vapid else { return Ok((fields, Bytes::new())) };
    fields.insert(header::CONTENT_TYPE, OPTIONS_TYPE);
    let body = serde_json::json!({ "vapid": key.to_base64url() }).to_string();
    Ok((fields, body.into()))
}

/// Reads the answer to the request that went to `target`.
fn granted(target: &Url, answer: &Response<Bytes>) -> Result<Granted, Error> {
    if answer.status() != StatusCode::CREATED {
        return Err(refused(answer.status(), answer.headers(), answer.body()));
    }
    let resource = location(answer).ok_or(Error::Unusable("a subscription without Location"))?;
    let endpoint = link::target(answer.headers(), REL_PUSH);
    let endpoint = endpoint.ok_or(Error::Unusable("a subscription without a push resource"))?;
    let set = link::target(answer.headers(), REL_PUSH_SET);
    Ok(Granted {
        resource: resolve(target, resource)?,
        endpoint: resolve(target, &endpoint)?,
        set: set.map(|set| resolve(target, &set)).transpose()?,
    })
}

fn location(answer: &Response<Bytes>) -> Option<&str> {
    answer.headers().get(header::LOCATION)?.to_str().ok()
}

/// The URL that `reference` means relative to `base`; only https is accepted (RFC 8030 s8).
fn resolve(base: &Url, reference: &str) -> Result<Url, Error> {
    if reference.len() > URL_BYTES_MAX {
        return Err(Error::Unusable("it sent a URL of more than 2048 bytes"));
    }
    let url = base.join(reference).map_err(|_| Error::Unusable("it sent a URL that is none"))?;
    if url.scheme() != "https" || url.host().is_none() || url.fragment().is_some() {
        return Err(Error::Unusable("it sent a URL that is not https"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Url {
        Url::parse("https://push.example/subscribe").unwrap()
    }

    fn answer(status: u16, fields: &[(&str, &str)]) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        answer.body(Bytes::new()).unwrap()
    }

    #[test]
    fn relative_and_joined_links_are_understood_ps_8030_4_2_ps_8030_4_3() {
        let links = r#"</p/1>;rel="urn:ietf:params:push", <https://push.example/a/1>; rel="urn:ietf:params:push:set""#;
        let granted = granted(&target(), &answer(201, &[("location", "/s/1"), ("link", links)])).unwrap();
        assert_eq!(granted.resource.as_str(), "https://push.example/s/1");
        assert_eq!(granted.endpoint.as_str(), "https://push.example/p/1");
        assert_eq!(granted.set.unwrap().as_str(), "https://push.example/a/1");
    }

    #[test]
    fn an_answer_that_lacks_a_part_or_leaves_tls_is_refused() {
        let push = ("link", r#"</p/1>;rel="urn:ietf:params:push""#);
        let plain = ("link", r#"<http://push.example/p/1>;rel="urn:ietf:params:push""#);
        let long = format!("/{}", "s".repeat(URL_BYTES_MAX));
        for fields in [
            vec![("location", "/s/1")],
            vec![push],
            vec![("location", "/s/1"), plain],
            vec![("location", "http://push.example/s/1"), push],
            vec![("location", long.as_str()), push],
            vec![("location", "https://"), push],
        ] {
            assert!(matches!(granted(&target(), &answer(201, &fields)), Err(Error::Unusable(_))), "{fields:?}");
        }
    }

    #[test]
    fn any_other_status_is_an_error_with_the_services_explanation() {
        let refused = granted(&target(), &answer(429, &[("retry-after", "9")])).unwrap_err();
        assert_eq!(refused.retry_after(), Some(std::time::Duration::from_secs(9)));
        assert_eq!(refused.to_string(), "the service answered 429 Too Many Requests");
    }
}
