//! The credentials in a request (RFC 8292 s3): `Authorization: vapid t=…, k=…`, or the two older forms of the drafts.

use http::{HeaderMap, HeaderValue, header};
use thiserror::Error;

use crate::headers::coding::CRYPTO_KEY;
use crate::headers::params;
use crate::key::{KeyError, PublicKey};

/// The longest token, in bytes. A usual one has 300; the limit keeps the cost of a hostile one small.
pub const TOKEN_MAX: usize = 2048;

/// A token and the key that should have signed it. Nothing is verified yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The compact JWS.
    pub token: &'a str,
    /// The application server's key.
    pub key: PublicKey,
}

/// Why credentials could not be read; the answer is 403 (RFC 8292 s4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// More than one Authorization, or a parameter twice.
    #[error("the credentials were given more than once")]
    Repeated,
    /// A value that is not visible ASCII.
    #[error("the credentials are not text")]
    NotText,
    /// No `t`, or nothing after the name of the scheme.
    #[error("the credentials have no token")]
    NoToken,
    /// A token longer than [`TOKEN_MAX`].
    #[error("the token is longer than {TOKEN_MAX} bytes")]
    TokenTooLong,
    /// No `k`, or no `p256ecdsa` in Crypto-Key with the older forms.
    #[error("the credentials have no key")]
    NoKey,
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl<'a> Credentials<'a> {
    /// Reads Authorization (and Crypto-Key with the older forms). `None` if there is no Authorization, or if its scheme is
    /// not one of VAPID's, which means nothing to a push service. Proxy-Authorization is ignored.
    ///
    /// # Errors
    /// If the credentials are incomplete, repeated, too long or not text.
    pub fn parse(headers: &'a HeaderMap) -> Result<Option<Self>, CredentialsError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(CredentialsError::Repeated);
        }
        let value = value.to_str().map_err(|_| CredentialsError::NotText)?.trim();
        // A scheme may stand alone; its parameters are then missing, which is an error below.
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        match scheme {
            s if s.eq_ignore_ascii_case("vapid") => Self::from_params(rest).map(Some),
            s if s.eq_ignore_ascii_case("WebPush") || s.eq_ignore_ascii_case("Bearer") => {
                Self::from_draft(rest.trim(), headers).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `t=…, k=…` in any order; parameters that RFC 8292 does not define are ignored.
    fn from_params(rest: &'a str) -> Result<Self, CredentialsError> {
        let (mut token, mut key) = (None, None);
        for (name, value) in params::split(rest, ',').map(params::pair) {
            let slot = match name {
                n if n.eq_ignore_ascii_case("t") => &mut token,
                n if n.eq_ignore_ascii_case("k") => &mut key,
                _ => continue,
            };
            // A parameter without a value reads as empty, which is rejected below.
            if slot.replace(params::unquote(value.unwrap_or_default())).is_some() {
                return Err(CredentialsError::Repeated);
            }
        }
        Self::new(token.ok_or(CredentialsError::NoToken)?, key.ok_or(CredentialsError::NoKey)?)
    }

    /// The token in Authorization, the key in Crypto-Key: as the drafts before RFC 8292 had it.
    fn from_draft(token: &'a str, headers: &'a HeaderMap) -> Result<Self, CredentialsError> {
        let lists = headers.get_all(CRYPTO_KEY).iter().filter_map(|value| value.to_str().ok());
        let mut keys = lists.flat_map(|list| params::split(list, ',')).filter_map(|e| params::get(e, "p256ecdsa"));
        let key = keys.next().ok_or(CredentialsError::NoKey)?;
        if keys.next().is_some() {
            return Err(CredentialsError::Repeated);
        }
        Self::new(token, key)
    }

    fn new(token: &'a str, key: &str) -> Result<Self, CredentialsError> {
        match token.len() {
            0 => Err(CredentialsError::NoToken),
            1..=TOKEN_MAX if key.is_empty() => Err(CredentialsError::NoKey),
            1..=TOKEN_MAX => Ok(Self { token, key: PublicKey::from_base64url(key)? }),
            _ => Err(CredentialsError::TokenTooLong),
        }
    }

    /// The Authorization of a request, marked so that it stays out of HPACK's tables and of debug output.
    pub fn to_value(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("vapid t={}, k={}", self.token, self.key.to_base64url())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Shows nothing: anyone with the token can use it until it expires.
impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(&value.replace("KEY", KEY)).unwrap());
        }
        headers
    }

    fn parse(pairs: &[(&'static str, &str)]) -> Result<Option<String>, CredentialsError> {
        let headers = headers(pairs);
        let credentials = Credentials::parse(&headers)?;
        Ok(credentials.map(|c| {
            assert_eq!(c.key.to_base64url(), KEY);
            c.token.to_owned()
        }))
    }

    #[test]
    fn the_scheme_in_any_case_and_its_parameters_in_any_order_are_read_ps_8292_3_1() {
        for value in [
            "vapid t=a.b.c, k=KEY",
            "vapid t=a.b.c,k=KEY",
            "VAPID k=\"KEY\" ,\tt=\"a.b.c\"",
            "Vapid realm=\"x, t=y\", T = a.b.c, K = KEY=, unknown=1,",
        ] {
            assert_eq!(parse(&[("authorization", value)]), Ok(Some("a.b.c".to_owned())), "{value}");
        }
    }

    #[test]
    fn the_older_forms_take_their_key_from_crypto_key_ps_8292_l_1() {
        for (scheme, keys) in [
            ("WebPush a.b.c", "p256ecdsa=KEY"),
            ("Bearer a.b.c", "dh=BNoR;p256ecdsa=\"KEY\""),
            ("webpush  a.b.c", "keyid=p256dh;dh=BNoR, keyid=p256ecdsa;p256ecdsa=KEY"),
        ] {
            let read = parse(&[("authorization", scheme), ("crypto-key", keys)]);
            assert_eq!(read, Ok(Some("a.b.c".to_owned())), "{scheme} {keys}");
        }
        let apart = [("authorization", "WebPush a.b.c"), ("crypto-key", "dh=BNoR"), ("crypto-key", "p256ecdsa=KEY")];
        assert_eq!(parse(&apart), Ok(Some("a.b.c".to_owned())));
    }

    #[test]
    fn no_credentials_and_those_of_a_proxy_or_another_scheme_are_none_ps_8292_3_2() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[("proxy-authorization", "vapid t=a.b.c, k=KEY")]), Ok(None));
        for value in ["Basic dTpw", "", "vapidx t=a.b.c, k=KEY"] {
            assert_eq!(parse(&[("authorization", value)]), Ok(None), "{value}");
        }
    }

    #[test]
    fn incomplete_repeated_or_oversized_credentials_are_refused_ps_8292_4_2_3() {
        use CredentialsError::{NoKey, NoToken, Repeated, TokenTooLong};
        for (value, error) in [
            ("vapid", NoToken),
            ("vapid k=KEY", NoToken),
            ("vapid t=, k=KEY", NoToken),
            ("vapid t, k=KEY", NoToken),
            ("vapid t=a.b.c", NoKey),
            ("vapid t=a.b.c, k=", NoKey),
            ("vapid t=a.b.c, t=a.b.c, k=KEY", Repeated),
            ("WebPush a.b.c", NoKey),
            (&format!("vapid t={}, k=KEY", "a".repeat(TOKEN_MAX + 1)), TokenTooLong),
        ] {
            assert_eq!(parse(&[("authorization", value)]), Err(error), "{value}");
        }
        let twice = [("authorization", "vapid t=a.b.c, k=KEY"); 2];
        assert_eq!(parse(&twice), Err(Repeated));
        let keys = [("authorization", "WebPush a.b.c"), ("crypto-key", "p256ecdsa=KEY, p256ecdsa=KEY")];
        assert_eq!(parse(&keys), Err(Repeated));
        let binary = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_bytes(b"vapid \xff").unwrap())]);
        assert_eq!(Credentials::parse(&binary), Err(CredentialsError::NotText));
    }

    #[test]
    fn a_key_that_is_no_point_is_refused_ps_8292_3_2_1() {
        let short = crate::base64url::encode(&[4; 64]);
        for (key, error) in [
            (short.as_str(), KeyError::Length(64)),
            ("AwAA", KeyError::Length(3)),
            (
                "BAAAxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs",
                KeyError::OffCurve,
            ),
            ("AA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs", KeyError::Form),
            ("not base64", KeyError::Encoding),
        ] {
            let value = format!("vapid t=a.b.c, k={key}");
            assert_eq!(parse(&[("authorization", &value)]), Err(CredentialsError::Key(error)), "{key}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_hidden() {
        let written = Credentials { token: "a.b.c", key: PublicKey::from_base64url(KEY).unwrap() };
        let value = written.to_value().unwrap();
        assert!(value.is_sensitive());
        assert_eq!(Credentials::parse(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])), Ok(Some(written)));
        assert_eq!(format!("{written:?}"), "Credentials(..)");
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(text in r#"(vapid |WebPush |t=|k=|[a-zA-Z.=;, "\\])*"#, keys in r#"(p256ecdsa=|[a-z=;,"])*"#) {
            let _ = Credentials::parse(&headers(&[("authorization", &text), ("crypto-key", &keys)]));
        }
    }
}
