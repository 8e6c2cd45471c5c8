//! Makes VAPID tokens (RFC 8292 s2), and keeps the key that signs them.

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::claims::Written;
use crate::base64url;
use crate::key::PublicKey;
use crate::time::UnixMs;

const PRIVATE_KEY_LENGTH: usize = 32;
const HEADER: &str = r#"{"typ":"JWT","alg":"ES256"}"#;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// The private key of an application server. It only signs (RFC 8292 s3.2).
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// Why there is no key or no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SigningError {
    /// The text is neither the 32 bytes of a P-256 private key in base64url nor a PEM file with one.
    #[error("not a P-256 private key")]
    Key,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn generate() -> Result<Self, SigningError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError::Crypto)?;
        Self::from_pair(pair)
    }

    /// The key with the private scalar `text` in base64url: the form that most Web Push tools print.
    pub fn from_base64url(text: &str) -> Result<Self, SigningError> {
        let scalar: Zeroizing<[u8; PRIVATE_KEY_LENGTH]> =
            Zeroizing::new(base64url::decode_array(text.trim()).map_err(|_| SigningError::Key)?);
        let private = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar.as_slice())
            .map_err(|_| SigningError::Key)?;
        let public = private.compute_public_key().map_err(|_| SigningError::Key)?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar.as_slice(), public.as_ref());
        Self::from_pair(pair.map_err(|_| SigningError::Key)?)
    }

    /// The private scalar in base64url.
    pub fn to_base64url(&self) -> Result<Zeroizing<String>, SigningError> {
        let scalar: EcPrivateKeyBin<'static> =
            self.pair.private_key().as_be_bytes().map_err(|_| SigningError::Crypto)?;
        Ok(Zeroizing::new(base64url::encode(scalar.as_ref())))
    }

    /// Reads a PEM file: PKCS#8 (`PRIVATE KEY`), or SEC 1 (`EC PRIVATE KEY`) as openssl writes it.
    pub fn from_pem(text: &str) -> Result<Self, SigningError> {
        let der = Zeroizing::new(pem_body(text).ok_or(SigningError::Key)?);
        Self::from_der(&der)
    }

    /// Reads the same in DER: PKCS#8 or SEC 1.
    pub fn from_der(der: &[u8]) -> Result<Self, SigningError> {
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        Self::from_pair(pair.map_err(|_| SigningError::Key)?)
    }

    /// A PEM file with the key in PKCS#8.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, SigningError> {
        let der = self.pair.to_pkcs8v1().map_err(|_| SigningError::Crypto)?;
        let body = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let mut pem = Zeroizing::new(String::with_capacity(body.len() + 80));
        pem.push_str(PEM_BEGIN);
        for (n, character) in body.chars().enumerate() {
            if n % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push('\n');
        pem.push_str(PEM_END);
        pem.push('\n');
        Ok(pem)
    }

    /// The public half: the `applicationServerKey` of subscriptions.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// A token for the push service with the origin `aud`, valid until `exp`; `sub` is the contact of the application server.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn sign(&self, aud: &str, exp: UnixMs, sub: Option<&str>) -> Result<String, SigningError> {
        let claims = serde_json::to_vec(&Written { aud, exp: exp.as_secs(), sub })
            .expect("text and numbers always have a JSON form");
        let signed = format!("{}.{}", base64url::encode(HEADER.as_bytes()), base64url::encode(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| SigningError::Crypto)?;
        Ok(format!("{signed}.{}", base64url::encode(signature.as_ref())))
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, SigningError> {
        let public = PublicKey::from_bytes(pair.public_key().as_ref()).map_err(|_| SigningError::Key)?;
        Ok(Self { pair, public })
    }
}

/// Shows nothing: the key must not reach a log.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// The bytes between the BEGIN and END lines of the first block whose label ends with `PRIVATE KEY`.
fn pem_body(text: &str) -> Option<Vec<u8>> {
    let (_, after) = text.split_once("PRIVATE KEY-----")?;
    let (body, _) = after.split_once("-----END")?;
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    packed.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    STANDARD.decode(packed.as_bytes()).ok()
}
