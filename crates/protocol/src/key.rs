//! A public key on P-256, as Web Push carries it everywhere: 65 bytes, uncompressed (RFC 8291 s3.1, RFC 8292 s3.2).

use aws_lc_rs::agreement::{self, ECDH_P256, UnparsedPublicKey};
use aws_lc_rs::digest;
use thiserror::Error;

use crate::base64url::{self, Base64Error};

/// The length of an uncompressed point.
pub const PUBLIC_KEY_LENGTH: usize = 65;

const UNCOMPRESSED: u8 = 0x04;

/// A point that was checked to be on the curve and not at infinity (RFC 8291 s7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; PUBLIC_KEY_LENGTH]);

/// Why bytes are not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not base64url.
    #[error("the key is not base64url")]
    Encoding,
    /// Not 65 bytes; a compressed point has 33.
    #[error("the key has {0} bytes, not {PUBLIC_KEY_LENGTH}")]
    Length(usize),
    /// The first byte is not 4, so it is not an uncompressed point.
    #[error("the key is not an uncompressed point (its first byte is not 4)")]
    Form,
    /// Not a point of P-256.
    #[error("the key is not a point on the curve P-256")]
    OffCurve,
}

impl PublicKey {
    /// Checks 65 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let point: [u8; PUBLIC_KEY_LENGTH] = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        if point[0] != UNCOMPRESSED {
            return Err(KeyError::Form);
        }
        agreement::ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, &point))
            .map_err(|_| KeyError::OffCurve)?;
        Ok(Self(point))
    }

    /// Reads the base64url form; padding and the standard alphabet are accepted.
    pub fn from_base64url(text: &str) -> Result<Self, KeyError> {
        let point = base64url::decode_array::<PUBLIC_KEY_LENGTH>(text).map_err(|e| match e {
            Base64Error::Malformed => KeyError::Encoding,
            Base64Error::Length(length, _) => KeyError::Length(length),
        })?;
        Self::from_bytes(&point)
    }

    /// The 65 bytes.
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        &self.0
    }

    /// The 65 bytes as base64url: what the Push API calls `applicationServerKey` and `p256dh`.
    pub fn to_base64url(&self) -> String {
        base64url::encode(&self.0)
    }

    /// The first 16 bytes of the SHA-256 of the key: enough to distinguish keys in a sealed URL or a cache.
    pub fn fingerprint(&self) -> [u8; 16] {
        let hash = digest::digest(&digest::SHA256, &self.0);
        *hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes, of which these are the first 16")
    }
}

/// Shows nothing: a key identifies an application server and must not reach a log.
impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The application server's key in RFC 8292 s2.4.
    const GOOD: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

    fn good() -> [u8; 65] {
        *PublicKey::from_base64url(GOOD).unwrap().as_bytes()
    }

    #[test]
    fn an_uncompressed_point_is_taken_and_comes_back_ps_8292_3_2_1() {
        let key = PublicKey::from_base64url(&format!("{GOOD}=")).unwrap();
        assert_eq!(key.to_base64url(), GOOD);
        assert_eq!(PublicKey::from_bytes(key.as_bytes()), Ok(key));
        assert_eq!(format!("{key:?}"), "PublicKey(..)");
    }

    #[test]
    fn short_long_compressed_hybrid_and_infinite_keys_are_refused_ps_8292_3_2_1() {
        let point = good();
        assert_eq!(PublicKey::from_bytes(&point[..64]), Err(KeyError::Length(64)));
        assert_eq!(PublicKey::from_bytes(&[&point[..], &[0]].concat()), Err(KeyError::Length(66)));
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        assert_eq!(PublicKey::from_bytes(&compressed), Err(KeyError::Length(33)));
        assert_eq!(PublicKey::from_bytes(&[0]), Err(KeyError::Length(1)));
        let mut hybrid = point;
        hybrid[0] = 6 + (point[64] & 1);
        assert_eq!(PublicKey::from_bytes(&hybrid), Err(KeyError::Form));
        assert_eq!(PublicKey::from_base64url("!"), Err(KeyError::Encoding));
    }

    #[test]
    fn a_point_off_the_curve_or_out_of_range_is_refused_as_8291_7_1_ua_8291_7_1() {
        let mut off = good();
        off[64] ^= 1;
        assert_eq!(PublicKey::from_bytes(&off), Err(KeyError::OffCurve));
        let mut zero = [0; 65];
        zero[0] = 4;
        assert_eq!(PublicKey::from_bytes(&zero), Err(KeyError::OffCurve));
        let mut huge = [0xff; 65];
        huge[0] = 4;
        assert_eq!(PublicKey::from_bytes(&huge), Err(KeyError::OffCurve));
    }

    #[test]
    fn fingerprints_differ_with_the_key() {
        let other = p256::SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        let other = PublicKey::from_bytes(&other.to_sec1_bytes_uncompressed()).unwrap();
        assert_ne!(other.fingerprint(), PublicKey(good()).fingerprint());
    }

    trait Uncompressed {
        fn to_sec1_bytes_uncompressed(&self) -> Vec<u8>;
    }

    impl Uncompressed for p256::PublicKey {
        fn to_sec1_bytes_uncompressed(&self) -> Vec<u8> {
            use p256::elliptic_curve::sec1::ToEncodedPoint;
            self.to_encoded_point(false).as_bytes().to_vec()
        }
    }

    proptest! {
        /// The oracle p256 and aws-lc agree on what a point is.
        #[test]
        fn any_65_bytes_are_judged_as_the_oracle_judges_them(mut bytes: [u8; 65], flip in 0usize..65, keep: bool) {
            if keep {
                bytes = good();
                bytes[flip] ^= 0x10;
            } else {
                bytes[0] = 4;
            }
            let oracle = bytes[0] == 4 && p256::PublicKey::from_sec1_bytes(&bytes).is_ok();
            prop_assert_eq!(PublicKey::from_bytes(&bytes).is_ok(), oracle);
        }

        #[test]
        fn no_input_makes_it_panic(bytes: Vec<u8>, text: String) {
            let _ = (PublicKey::from_bytes(&bytes), PublicKey::from_base64url(&text));
        }
    }
}
