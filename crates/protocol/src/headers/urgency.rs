//! `Urgency` (RFC 8030 s5.3): whether a message is worth waking a device for.

use http::HeaderMap;
use thiserror::Error;

/// The field's name.
pub const URGENCY: &str = "urgency";

/// The four urgencies, least urgent first. An absent field means [`Urgency::Normal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// `very-low`: on power and Wi-Fi (advertisements).
    VeryLow,
    /// `low`: on power or Wi-Fi (topic updates).
    Low,
    /// `normal`: on neither (chat or calendar).
    #[default]
    Normal,
    /// `high`: even on low battery (an incoming call, an alarm).
    High,
}

/// Why an `Urgency` field was refused; the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrgencyError {
    /// Two fields, or a list (RFC 8030 s5.3).
    #[error("Urgency was given more than once")]
    Repeated,
    /// A word that RFC 8030 s5.3 does not define.
    #[error("Urgency is not one of very-low, low, normal, high")]
    Unknown,
}

impl Urgency {
    /// All of them, least urgent first.
    pub const ALL: [Self; 4] = [Self::VeryLow, Self::Low, Self::Normal, Self::High];

    /// The field's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// What the headers ask for: `None` when the field is absent.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, UrgencyError> {
        let mut values = headers.get_all(URGENCY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() || value.as_bytes().contains(&b',') {
            return Err(UrgencyError::Repeated);
        }
        value.to_str().map_err(|_| UrgencyError::Unknown)?.trim().parse().map(Some)
    }
}

impl std::str::FromStr for Urgency {
    type Err = UrgencyError;

    /// In any case: the words are literals of ABNF (RFC 5234 s2.3).
    fn from_str(word: &str) -> Result<Self, UrgencyError> {
        Self::ALL.into_iter().find(|u| word.eq_ignore_ascii_case(u.as_str())).ok_or(UrgencyError::Unknown)
    }
}

impl std::fmt::Display for Urgency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Option<Urgency>, UrgencyError> {
        let mut headers = HeaderMap::new();
        for v in values {
            headers.append(URGENCY, http::HeaderValue::from_bytes(v.as_bytes()).unwrap());
        }
        Urgency::from_headers(&headers)
    }

    #[test]
    fn the_four_words_parse_and_absence_is_distinguished_ps_8030_5_3_1() {
        assert_eq!(parse(&[]), Ok(None));
        for u in Urgency::ALL {
            assert_eq!(parse(&[u.as_str()]), Ok(Some(u)));
        }
        assert!(Urgency::VeryLow < Urgency::High);
    }

    #[test]
    fn the_words_have_no_case_ps_8030_5_3_1() {
        assert_eq!(parse(&["High"]), Ok(Some(Urgency::High)));
        assert_eq!(parse(&["VERY-LOW"]), Ok(Some(Urgency::VeryLow)));
    }

    #[test]
    fn two_values_are_refused_ps_8030_5_3_2() {
        assert_eq!(parse(&["low", "high"]), Err(UrgencyError::Repeated));
        assert_eq!(parse(&["low, high"]), Err(UrgencyError::Repeated));
    }

    #[test]
    fn an_unknown_word_is_refused_ps_8030_5_3_3() {
        for word in ["urgent", "", "very low", "hıgh"] {
            assert_eq!(parse(&[word]), Err(UrgencyError::Unknown), "{word}");
        }
    }
}
