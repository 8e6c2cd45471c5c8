//! What the answer of a push service means for the message and the subscription (RFC 8030 s5, s7, s8.4).

use std::time::Duration;

use doorbell_protocol::headers::link::{self, REL_PUSH_RECEIPT};
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::time::UnixMs;
use http::{HeaderMap, StatusCode, header};

use crate::endpoint::Endpoint;
use crate::explanation::{Explanation, Source};
use crate::request::ReceiptWish;
use crate::vendor::Vendor;

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 201 or 202 (and any other 2xx): the push service accepted the message. That does not mean that it was delivered.
    Accepted(Accepted),
    /// 404 or 410: the subscription is gone. Delete it, if [`Explanation::proves_gone`](crate::Explanation::proves_gone):
    /// a proxy may send an empty 404 while the push service is away. (A 404 with a web page, with text or with JSON of
    /// another form than push services use is [`RetryLater`](Self::RetryLater).)
    Gone,
    /// 413: the body is too large for this push service. The subscription is fine.
    TooLarge,
    /// Another 4xx, or a redirection, which is never followed: the same request would fail again.
    Refused,
    /// 429, 408 or a 5xx: the same request may succeed later. So it may after a 404 that is not in the form of a push
    /// service, and after the 406 with which Microsoft's push service limits a rate.
    RetryLater {
        /// The delay in Retry-After, at most a day; `None` if there is none.
        after: Option<Duration>,
    },
}

/// What came with an acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The message resource (Location), absolute. Anyone with this URL can withdraw the message with DELETE.
    pub message: Option<String>,
    /// The TTL that the push service granted, if it reports one.
    pub ttl: Option<Ttl>,
    /// The receipt subscription where the receipt will be (202). `None` although the message asked for a receipt: this
    /// push service has no receipts.
    pub receipt: Option<String>,
}

/// What Microsoft's push service adds to its answers, in the spellings of its documentation.
const WNS_STATUS: [&str; 2] = ["x-wns-status", "x-wns-notificationstatus"];

/// The longest Retry-After that counts: a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

impl Answer {
    /// Reads an answer of `endpoint` that arrived at `now`.
    pub fn read(endpoint: &Endpoint, status: StatusCode, headers: &HeaderMap, now: UnixMs) -> Self {
        match status.as_u16() {
            200..=299 => Self::Accepted(Accepted::read(endpoint, headers)),
            404 if is_page(headers) && endpoint.vendor().is_none() => {
                Self::RetryLater { after: retry_after(headers, now) }
            }
            406 if is_throttled(endpoint, headers) => Self::RetryLater { after: retry_after(headers, now) },
            404 | 410 => Self::Gone,
            413 => Self::TooLarge,
            408 | 429 | 500..=599 => Self::RetryLater { after: retry_after(headers, now) },
            _ => Self::Refused,
        }
    }

    /// The same with what is known from the body: a 404 with a body that no push service sends is one of a proxy.
    /// [`Client`](crate::client::Client) reads so.
    pub fn read_with(
        explanation: &Explanation,
        endpoint: &Endpoint,
        status: StatusCode,
        headers: &HeaderMap,
        now: UnixMs,
    ) -> Self {
        let has_foreign_body = matches!(explanation.source, Source::Other | Source::WebPage);
        if status == StatusCode::NOT_FOUND && has_foreign_body && !explanation.proves_gone(endpoint, status) {
            return Self::RetryLater { after: retry_after(headers, now) };
        }
        Self::read(endpoint, status, headers, now)
    }
}

impl Accepted {
    fn read(endpoint: &Endpoint, headers: &HeaderMap) -> Self {
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        Self {
            message: location.and_then(|reference| endpoint.resolve(reference)),
            ttl: Ttl::from_headers(headers).ok(),
            receipt: link::target(headers, REL_PUSH_RECEIPT).and_then(|reference| endpoint.resolve(&reference)),
        }
    }

    /// Fills in the receipt subscription that the request named: 202 without a Link confirms it (RFC 8030 s5.1).
    /// [`Client`](crate::client::Client) does this by itself.
    pub fn receipt_on(&mut self, status: StatusCode, wish: ReceiptWish<'_>) {
        if let (StatusCode::ACCEPTED, None, ReceiptWish::On(named)) = (status, &self.receipt, wish) {
            self.receipt = Some(named.to_owned());
        }
    }
}

/// Whether the body is a web page. The push services of vendors have no proxy of another operator in front of them, and
/// Google's 404 is a page.
fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    media_type.is_some_and(|it| ["text/html", "application/xhtml+xml"].iter().any(|page| it.eq_ignore_ascii_case(page)))
}

/// Microsoft's name for 429, which it describes in a field of its own.
fn is_throttled(endpoint: &Endpoint, headers: &HeaderMap) -> bool {
    let is_in = |name| {
        let status = headers.get(name).and_then(|value| value.to_str().ok());
        status.is_some_and(|status| status.to_ascii_lowercase().contains("throttled"))
    };
    endpoint.vendor() == Some(Vendor::Microsoft) || WNS_STATUS.into_iter().any(is_in)
}

/// Retry-After: seconds, or a date (RFC 9110 s10.2.3). At most a day.
fn retry_after(headers: &HeaderMap, now: UnixMs) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that do not fit are a number beyond the bound below.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        UnixMs::default().plus(since_epoch).since(now)
    };
    Some(after.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs::from_secs(784_111_777);

    fn read(status: u16, pairs: &[(&'static str, &str)]) -> Answer {
        read_at("https://push.example.net/p/x", status, pairs)
    }

    fn read_at(endpoint: &str, status: u16, pairs: &[(&'static str, &str)]) -> Answer {
        let endpoint = Endpoint::parse(endpoint).unwrap();
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        Answer::read(&endpoint, StatusCode::from_u16(status).unwrap(), &headers, NOW)
    }

    #[test]
    fn every_status_has_one_meaning_as_8030_7_3_1() {
        for status in [200, 201, 202, 204] {
            assert_eq!(read(status, &[]), Answer::Accepted(Accepted::default()), "{status}");
        }
        for status in [404, 410] {
            assert_eq!(read(status, &[]), Answer::Gone, "{status}");
        }
        assert_eq!(read(413, &[]), Answer::TooLarge);
        for status in [400, 401, 403, 405, 409, 415, 422] {
            assert_eq!(read(status, &[]), Answer::Refused, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(read(status, &[]), Answer::RetryLater { after: None }, "{status}");
        }
    }

    #[test]
    fn a_web_page_with_404_is_a_proxy_s_and_does_not_end_a_subscription_as_8030_7_3_1() {
        for page in ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"] {
            assert_eq!(read(404, &[("content-type", page)]), Answer::RetryLater { after: None }, "{page}");
        }
        for other in ["application/json", "text/plain", ""] {
            assert_eq!(read(404, &[("content-type", other)]), Answer::Gone, "{other}");
        }
        assert_eq!(read(410, &[("content-type", "text/html")]), Answer::Gone);
        let google = "https://fcm.googleapis.com/fcm/send/x";
        assert_eq!(read_at(google, 404, &[("content-type", "text/html")]), Answer::Gone, "it answers with a page");
    }

    #[test]
    fn a_404_with_a_body_that_no_push_service_sends_does_not_end_a_subscription_as_8030_7_3_1() {
        let (own, google) = ("https://push.example.net/p/x", "https://fcm.googleapis.com/fcm/send/x");
        let (later, kubernetes) = (Answer::RetryLater { after: None }, r#"{"reason":"NotFound","code":404}"#);
        for (endpoint, status, body, answer) in [
            (own, 404, "404 page not found", &later),
            (own, 404, kubernetes, &later),
            (own, 404, "<html>", &later),
            (own, 404, "", &Answer::Gone),
            (own, 404, r#"{"code":404,"errno":102}"#, &Answer::Gone),
            (own, 410, "gone", &Answer::Gone),
            (own, 500, "broken", &later),
            (google, 404, "<html>", &Answer::Gone),
        ] {
            let (endpoint, status) = (Endpoint::parse(endpoint).unwrap(), StatusCode::from_u16(status).unwrap());
            let explanation = Explanation::read(&endpoint, status, body.as_bytes());
            let read = Answer::read_with(&explanation, &endpoint, status, &HeaderMap::new(), NOW);
            assert_eq!(read, *answer, "{status} {body}");
        }
    }

    #[test]
    fn microsoft_s_406_is_a_rate_as_8030_7_3_1() {
        let later = |secs: u64| Answer::RetryLater { after: Some(Duration::from_secs(secs)) };
        for field in ["x-wns-status", "x-wns-notificationstatus"] {
            assert_eq!(read(406, &[(field, "channelThrottled"), ("retry-after", "7")]), later(7), "{field}");
            assert_eq!(read(406, &[(field, "dropped")]), Answer::Refused, "{field}");
        }
        assert_eq!(read(406, &[]), Answer::Refused);
        let microsoft = "https://wns2-par02p.notify.windows.com/w/?token=x";
        assert_eq!(read_at(microsoft, 406, &[]), Answer::RetryLater { after: None });
    }

    #[test]
    fn a_redirection_is_a_refusal_as_ssrf_1() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(read(status, &[("location", "https://169.254.169.254/")]), Answer::Refused, "{status}");
        }
    }

    #[test]
    fn an_acceptance_has_the_message_the_ttl_and_the_receipt_subscription_as_8030_5_1_2() {
        let answer =
            read(202, &[("location", "/m/1"), ("ttl", "30"), ("link", "</r/2>;rel=\"urn:ietf:params:push:receipt\"")]);
        let accepted = Accepted {
            message: Some("https://push.example.net/m/1".to_owned()),
            ttl: Some(Ttl::from_secs(30)),
            receipt: Some("https://push.example.net/r/2".to_owned()),
        };
        assert_eq!(answer, Answer::Accepted(accepted));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_as_8030_7_3_1() {
        let after = |value| match read(429, &[("retry-after", value)]) {
            Answer::RetryLater { after } => after.map(|d| d.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("0"), Some(0));
        assert_eq!(after(" 120 "), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:00 GMT"), Some(0), "the past means now");
        assert_eq!(after("99999999999999999999999"), Some(86_400));
        for nonsense in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1894 08:50:37 GMT"] {
            assert_eq!(after(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(status in 100u16..1000, value in "[ -~]{0,60}") {
            let _ = read(status, &[("retry-after", &value), ("location", &value), ("link", &value), ("ttl", &value)]);
        }
    }
}
