//! The HTTP client for a certificate authority: each answer has a bound and a time-out, because the directory may be any
//! server, and one that fails must not take the service with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::error::{AcmeError, NO_DIRECTORY, OF_ITS_OWN, WAY, printable};
use crate::accept::tls::provider;
use crate::config::AcmeSettings;
use crate::locked::Locked;

/// The longest answer: a chain of certificates has a few KiB, a directory or an order one.
const ANSWER_MAX: usize = 256 << 10;
/// How long one answer may take, its body included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait that a server may ask for. The library adds it to a clock, which would overflow.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Where a server sends no Retry-After, or one that cannot be read (RFC 9773 s4.3.3 recommends six hours).
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(6 * 3600);

/// What an authority answered last, as far as the protocol's library does not return it.
#[derive(Debug, Default)]
pub(super) struct Rejection {
    /// When it may be asked again.
    pub(super) retry_after: Option<Duration>,
    /// Where a person can solve the problem (RFC 8555 s7.3.3).
    pub(super) instance: Option<String>,
}

/// Where the client leaves the last rejection.
pub(super) type Rejections = Arc<Locked<Rejection>>;

/// Why an answer is none of ACME.
#[derive(Debug, Error)]
pub(super) enum AnswerError {
    /// The server sends us elsewhere, which ACME does not do.
    #[error("it answered {status} and leads to {}", printable(to))]
    Redirect {
        /// The status.
        status: StatusCode,
        /// The new place.
        to: String,
    },
    /// An error without a problem document (RFC 7807).
    #[error("it answered {0}")]
    Status(StatusCode),
    /// More than any answer needs.
    #[error("its answer is longer than {ANSWER_MAX} bytes")]
    TooLong,
    /// Too slow.
    #[error("its answer was not complete after {} s", ANSWER_TIMEOUT.as_secs())]
    TooSlow,
}

impl AnswerError {
    /// What the operator can do.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Redirect { .. } => "ACME follows no redirect: give the URL of the directory itself as acme_directory",
            Self::Status(status) if status.is_server_error() => OF_ITS_OWN,
            Self::Status(_) | Self::TooLong => NO_DIRECTORY,
            Self::TooSlow => WAY,
        }
    }
}

/// The client.
pub(super) struct Client {
    http: Hyper<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    rejections: Rejections,
}

impl Client {
    /// Trusts the CAs of the settings, or those of the system.
    pub(super) fn new(settings: &AcmeSettings, rejections: Rejections) -> Result<Self, AcmeError> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match &settings.ca {
            Some(ca) => {
                let why = |why: String| AcmeError::Ca { path: ca.clone(), why };
                let roots = roots(ca).map_err(why)?;
                let config = ClientConfig::builder_with_provider(Arc::new(provider()))
                    .with_safe_default_protocol_versions()
                    .map_err(|error| why(error.to_string()))?;
                builder.with_tls_config(config.with_root_certificates(roots).with_no_client_auth())
            }
            None => builder.with_provider_and_platform_verifier(provider()).map_err(AcmeError::SystemCas)?,
        };
        let connector = builder.https_only().enable_http1().enable_http2().build();
        Ok(Self { http: Hyper::builder(TokioExecutor::new()).build(connector), rejections })
    }
}

/// All certificates of a file.
pub(super) fn roots(ca: &std::path::Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it has no certificate".to_owned()) } else { Ok(roots) }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let is_get = request.method() == Method::GET;
        let (sent, rejections) = (self.http.request(request), self.rejections.clone());
        let answered = async move {
            let (mut parts, body) = sent.await.map_err(other)?.into_parts();
            if parts.status.is_redirection() {
                let to = parts.headers.get(LOCATION).and_then(|to| to.to_str().ok());
                let to = to.unwrap_or("no place that it names").to_owned();
                return Err(other(AnswerError::Redirect { status: parts.status, to }));
            }
            let wait = bound_wait(&mut parts.headers, is_get);
            let body = match Limited::new(body, ANSWER_MAX).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => return Err(other(AnswerError::TooLong)),
                Err(error) => return Err(instant_acme::Error::Other(error)),
            };
            if !parts.status.is_success() {
                let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
                    *rejections.lock() = Rejection { retry_after: wait, instance: None };
                    return Err(other(AnswerError::Status(parts.status)));
                };
                *rejections.lock() = Rejection { retry_after: wait, instance: problem.instance };
            }
            Ok(BytesResponse { parts, body: Box::new(body) })
        };
        Box::pin(
            async move { timeout(ANSWER_TIMEOUT, answered).await.unwrap_or_else(|_| Err(other(AnswerError::TooSlow))) },
        )
    }
}

/// What we need of a problem document and the library does not return.
#[derive(Deserialize)]
struct Problem {
    instance: Option<String>,
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> instant_acme::Error {
    instant_acme::Error::Other(Box::new(error))
}

/// Brings `Retry-After` within bounds, in seconds: the wait that the server asks for, if it does. The library drops an
/// answer to the question when to renew, a GET, that has none.
fn bound_wait(headers: &mut HeaderMap, is_get: bool) -> Option<Duration> {
    let wait = headers.get(RETRY_AFTER).and_then(|value| wait(value, headers.get(DATE)));
    headers.remove(RETRY_AFTER);
    if let Some(wait) = wait.or_else(|| is_get.then_some(ASKED_AGAIN_AFTER)) {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    wait
}

/// Seconds, or a date (RFC 9110 s10.2.3), which is read by the server's own clock.
fn wait(value: &HeaderValue, date: Option<&HeaderValue>) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    // More digits than a number has are still "late".
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(WAIT_MAX, Duration::from_secs).min(WAIT_MAX));
    }
    let at = |text: &str| httpdate::parse_http_date(text).ok();
    let now = at(date?.to_str().ok()?)?;
    Some(at(text)?.duration_since(now).unwrap_or(Duration::ZERO).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(value: &'static str, date: Option<&'static str>, is_get: bool) -> (Option<u64>, Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        date.map(|date| headers.insert(DATE, HeaderValue::from_static(date)));
        let wait = bound_wait(&mut headers, is_get);
        let left = headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().parse().unwrap());
        (wait.map(|wait| wait.as_secs()), left)
    }

    #[test]
    fn a_wait_that_a_server_asks_for_has_a_bound_and_what_is_no_wait_is_ignored() {
        let day = WAIT_MAX.as_secs();
        for (value, expected) in [("0", 0), ("120", 120), ("86401", day), ("18446744073709551615", day)] {
            assert_eq!(bounded(value, None, false), (Some(expected), Some(expected)), "{value}");
        }
        assert_eq!(bounded("99999999999999999999999999", None, false).0, Some(day), "more than a number holds");
        for garbage in ["", "soon", "-1", "1.5", "Mon, 30 Nov 2026 12:00:00 GMT"] {
            assert_eq!(bounded(garbage, None, false), (None, None), "{garbage}");
            assert_eq!(bounded(garbage, None, true), (None, Some(ASKED_AGAIN_AFTER.as_secs())), "{garbage}");
        }
    }

    #[test]
    fn a_date_to_wait_for_is_read_by_the_clock_of_the_server() {
        let now = Some("Mon, 30 Nov 2026 12:00:00 GMT");
        assert_eq!(bounded("Mon, 30 Nov 2026 12:02:00 GMT", now, false).0, Some(120));
        assert_eq!(bounded("Mon, 30 Nov 2020 12:02:00 GMT", now, false).0, Some(0));
        assert_eq!(bounded("Fri, 31 Dec 9999 23:59:59 GMT", now, false).0, Some(WAIT_MAX.as_secs()));
    }
}
