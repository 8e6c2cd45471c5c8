//! Dates in the format of HTTP (RFC 9110 s5.6.7).

use std::time::{Duration, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;
use http::header::DATE;
use http::{HeaderMap, HeaderValue};

/// A moment as the value of a header field. Moments before 1970 become 1970: the format allows no other.
pub(crate) fn value(moment: UnixMs) -> HeaderValue {
    let since_epoch = Duration::from_secs(moment.as_secs().max(0).unsigned_abs());
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since_epoch);
    HeaderValue::try_from(text).expect("an HTTP date is ASCII text")
}

/// Adds the Date that HTTP/2 answers and pushes need from us (RFC 9110 s6.6.1), unless the answer has one.
pub(crate) fn add(headers: &mut HeaderMap, now: UnixMs) {
    headers.entry(DATE).or_insert_with(|| value(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_in_the_form_of_rfc_9110_and_added_once() {
        let mut headers = HeaderMap::new();
        add(&mut headers, UnixMs::from_secs(784_111_777));
        add(&mut headers, UnixMs::from_secs(784_111_778));
        assert_eq!(headers[DATE], "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(value(UnixMs::from_secs(-1)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
