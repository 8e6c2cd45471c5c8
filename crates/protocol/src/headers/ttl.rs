//! `TTL` (RFC 8030 s5.2): for how many seconds the push service keeps trying.

use http::{HeaderMap, HeaderValue};
use thiserror::Error;

/// The field's name.
pub const TTL: &str = "ttl";

/// Seconds, at most 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

/// Why a `TTL` field was refused; the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TtlError {
    /// No field (RFC 8030 s5.2 requires one).
    #[error("there is no TTL")]
    Missing,
    /// More than one field.
    #[error("TTL was given more than once")]
    Repeated,
    /// Anything but digits.
    #[error("TTL is not a number of whole seconds")]
    Malformed,
}

impl Ttl {
    /// Deliver now or never.
    pub const ZERO: Self = Self(0);
    /// 2^31 seconds: what every greater number means.
    pub const MAX: Self = Self(1 << 31);

    /// `secs`, or [`Ttl::MAX`] if that is less.
    pub const fn from_secs(secs: u32) -> Self {
        if secs > Self::MAX.0 { Self::MAX } else { Self(secs) }
    }

    /// What the headers ask for.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, TtlError> {
        let mut values = headers.get_all(TTL).iter();
        let value = values.next().ok_or(TtlError::Missing)?;
        if values.next().is_some() {
            return Err(TtlError::Repeated);
        }
        value.to_str().map_err(|_| TtlError::Malformed)?.trim().parse()
    }

    /// The number of seconds, at most 2^31.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The same, but not longer than the service keeps anything.
    #[must_use]
    pub fn clamp(self, max_secs: u32) -> Self {
        Self(self.0.min(max_secs))
    }

    /// The field's value.
    pub fn to_value(self) -> HeaderValue {
        HeaderValue::from(self.0)
    }
}

impl std::str::FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TtlError::Malformed);
        }
        // Digits only, so that the one way to fail is a number that is too large (PS-8030-5.2-4).
        Ok(text.parse().map_or(Self::MAX, Self::from_secs))
    }
}

impl std::fmt::Display for Ttl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(values: &[&'static str]) -> Result<u32, TtlError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TTL, HeaderValue::from_static(value));
        }
        Ttl::from_headers(&headers).map(Ttl::as_secs)
    }

    #[test]
    fn a_missing_ttl_is_an_error_of_its_own_ps_8030_5_2_1() {
        assert_eq!(parse(&[]), Err(TtlError::Missing));
    }

    #[test]
    fn only_digits_are_a_ttl_ps_8030_5_2_2() {
        for value in ["-1", "+5", "1.5", "10s", "", " ", "1 0", "0x10", "1,2", "1e3"] {
            assert_eq!(parse(&[value]), Err(TtlError::Malformed), "{value:?}");
        }
        assert_eq!(parse(&["5", "5"]), Err(TtlError::Repeated));
        assert_eq!("٣".parse::<Ttl>(), Err(TtlError::Malformed), "digits of other scripts are not DIGIT");
    }

    #[test]
    fn thirty_one_bits_fit_and_more_means_two_to_the_31_ps_8030_5_2_3_ps_8030_5_2_4() {
        assert_eq!(parse(&["0"]), Ok(0));
        assert_eq!(parse(&["0000060"]), Ok(60));
        assert_eq!(parse(&["2147483647"]), Ok(2_147_483_647));
        for value in ["2147483648", "2147483649", "4294967296", "99999999999999999999"] {
            assert_eq!(parse(&[value]), Ok(1 << 31), "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_clamped_ttl_never_exceeds_what_was_asked_for_ps_8030_5_2_6(asked: u32, cap: u32) {
            let ttl = Ttl::from_secs(asked).clamp(cap);
            prop_assert!(ttl.as_secs() <= asked && ttl.as_secs() <= cap && ttl <= Ttl::MAX);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = text.parse::<Ttl>();
        }
    }
}
