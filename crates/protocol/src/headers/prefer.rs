//! `Prefer` (RFC 7240), of which Web Push uses two: `respond-async` (RFC 8030 s5.1) and `wait` (s6).

use http::{HeaderMap, HeaderValue};

use super::params;

/// The field's name.
pub const PREFER: &str = "prefer";

/// The preferences that Web Push knows. Others are ignored, as RFC 7240 s2 asks, and so is what does not parse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `respond-async`: the application server wants a receipt.
    pub respond_async: bool,
    /// `wait=N`: for how many seconds the user agent wants its request held open; 0 asks for what there is now.
    pub wait_secs: Option<u32>,
}

impl Prefer {
    /// Reads every Prefer field. The first mention of a preference counts (RFC 7240 s2).
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| params::split(value, ',')) {
            prefer.note(preference);
        }
        prefer
    }

    /// The field's value; `None` if nothing is preferred.
    pub fn to_value(self) -> Option<HeaderValue> {
        let wait = self.wait_secs.map(|secs| format!("wait={secs}"));
        let words: Vec<String> =
            self.respond_async.then(|| "respond-async".to_owned()).into_iter().chain(wait).collect();
        HeaderValue::try_from(words.join(", ")).ok().filter(|value| !value.is_empty())
    }

    fn note(&mut self, preference: &str) {
        let Some(first) = params::split(preference, ';').next() else { return };
        let (name, value) = params::pair(first);
        if name.eq_ignore_ascii_case("respond-async") {
            self.respond_async = true;
        } else if name.eq_ignore_ascii_case("wait") && self.wait_secs.is_none() {
            // Digits only (RFC 7240 s4.3): `parse` alone accepts a sign.
            let digits = value.map(params::unquote).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            self.wait_secs = digits.and_then(|digits| digits.parse().ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(values: &[&str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        Prefer::from_headers(&headers)
    }

    #[test]
    fn lists_parameters_case_and_other_preferences_are_understood_ps_8030_5_1_7() {
        let both = Prefer { respond_async: true, wait_secs: Some(5) };
        for values in [
            &["wait=5, respond-async;foo"][..],
            &["Respond-Async", "WAIT=\"5\""],
            &["handling=lenient; a=\"x,wait=9\", respond-async=\"\";q=1 , wait = 5, wait=6"],
        ] {
            assert_eq!(parse(values), both, "{values:?}");
        }
    }

    #[test]
    fn nothing_unknown_or_unreadable_is_a_preference() {
        for values in [
            &[][..],
            &[""],
            &["wait"],
            &["wait=-1"],
            &["wait=+1"],
            &["wait=99999999999"],
            &["respond-asyncx"],
            &[",;=,"],
        ] {
            assert_eq!(parse(values), Prefer::default(), "{values:?}");
        }
        assert_eq!(parse(&["wait=0"]).wait_secs, Some(0));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(respond_async: bool, wait_secs: Option<u32>) {
            let prefer = Prefer { respond_async, wait_secs };
            let headers = prefer.to_value().map(|v| (http::header::HeaderName::from_static(PREFER), v));
            prop_assert_eq!(Prefer::from_headers(&headers.into_iter().collect()), prefer);
        }

        #[test]
        fn no_value_makes_it_panic(bytes in proptest::collection::vec(0x20u8..0x7f, 0..99)) {
            let mut headers = HeaderMap::new();
            headers.append(PREFER, HeaderValue::from_bytes(&bytes).unwrap());
            let _ = Prefer::from_headers(&headers);
        }
    }
}
