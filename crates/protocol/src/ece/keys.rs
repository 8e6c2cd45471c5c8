//! What a subscription is encrypted to: the key pair of the user agent and its authentication secret (RFC 8291 s3).

use aws_lc_rs::agreement::{self, ECDH_P256, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use zeroize::Zeroizing;

use super::EceError;
use crate::base64url::{self, Base64Error};
use crate::key::PublicKey;

/// The length of an authentication secret.
pub const AUTH_SECRET_LENGTH: usize = 16;

/// The 16 bytes that application server and user agent share, so that the push service cannot forge a message.
/// Wiped from memory when dropped.
#[derive(Clone)]
pub struct AuthSecret(Zeroizing<[u8; AUTH_SECRET_LENGTH]>);

impl AuthSecret {
    /// The secret with these bytes.
    pub fn new(bytes: [u8; AUTH_SECRET_LENGTH]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new random secret.
    pub fn generate() -> Result<Self, EceError> {
        let mut bytes = Zeroizing::new([0; AUTH_SECRET_LENGTH]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| EceError::Crypto)?;
        Ok(Self(bytes))
    }

    /// Reads the base64url form of a subscription; padding and the standard alphabet are tolerated.
    pub fn from_base64url(text: &str) -> Result<Self, EceError> {
        base64url::decode_array(text).map(Self::new).map_err(|e| match e {
            Base64Error::Malformed => EceError::AuthSecretText,
            Base64Error::Length(length, _) => EceError::AuthSecret(length),
        })
    }

    /// The base64url form.
    pub fn to_base64url(&self) -> String {
        base64url::encode(self.0.as_slice())
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; AUTH_SECRET_LENGTH] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for AuthSecret {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_slice(), other.0.as_slice()).is_ok()
    }
}

impl Eq for AuthSecret {}

/// Shows nothing: anyone with the secret can forge messages.
impl std::fmt::Debug for AuthSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthSecret(..)")
    }
}

/// What a user agent needs to decrypt the messages of one subscription. A new subscription gets new keys.
pub struct AgentKeys {
    private: agreement::PrivateKey,
    public: PublicKey,
    auth: AuthSecret,
}

/// [`AgentKeys`] as bytes, for a file; wiped from memory when dropped.
#[derive(Clone)]
pub struct AgentKeyParts {
    /// The private scalar, 32 bytes.
    pub private: Zeroizing<[u8; 32]>,
    /// The authentication secret, 16 bytes.
    pub auth: Zeroizing<[u8; AUTH_SECRET_LENGTH]>,
}

impl AgentKeys {
    /// A fresh key pair and a fresh secret.
    pub fn generate() -> Result<Self, EceError> {
        Self::new(generate_private()?, AuthSecret::generate()?)
    }

    /// Reads what [`AgentKeys::to_parts`] returned.
    pub fn from_parts(parts: &AgentKeyParts) -> Result<Self, EceError> {
        Self::new(private_from_bytes(&parts.private)?, AuthSecret(parts.auth.clone()))
    }

    /// The bytes to keep.
    pub fn to_parts(&self) -> Result<AgentKeyParts, EceError> {
        let scalar: EcPrivateKeyBin<'static> = self.private.as_be_bytes().map_err(|_| EceError::Crypto)?;
        let private = <[u8; 32]>::try_from(scalar.as_ref()).map_err(|_| EceError::Crypto)?;
        Ok(AgentKeyParts { private: Zeroizing::new(private), auth: self.auth.0.clone() })
    }

    /// The public half: `p256dh` of the subscription.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The authentication secret: `auth` of the subscription.
    pub fn auth_secret(&self) -> &AuthSecret {
        &self.auth
    }

    /// The shared secret with `sender` (the x coordinate, 32 bytes with leading zeros).
    pub(super) fn agree(&self, sender: &PublicKey) -> Result<Zeroizing<Vec<u8>>, EceError> {
        agree(&self.private, sender)
    }

    fn new(private: agreement::PrivateKey, auth: AuthSecret) -> Result<Self, EceError> {
        let public = public_of(&private)?;
        Ok(Self { private, public, auth })
    }
}

/// Shows nothing: the keys must not reach a log.
impl std::fmt::Debug for AgentKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentKeys(..)")
    }
}

pub(super) fn generate_private() -> Result<agreement::PrivateKey, EceError> {
    agreement::PrivateKey::generate(&ECDH_P256).map_err(|_| EceError::Crypto)
}

pub(super) fn private_from_bytes(scalar: &[u8; 32]) -> Result<agreement::PrivateKey, EceError> {
    agreement::PrivateKey::from_private_key(&ECDH_P256, scalar).map_err(|_| EceError::Crypto)
}

pub(super) fn public_of(private: &agreement::PrivateKey) -> Result<PublicKey, EceError> {
    let public = private.compute_public_key().map_err(|_| EceError::Crypto)?;
    Ok(PublicKey::from_bytes(public.as_ref())?)
}

pub(super) fn agree(private: &agreement::PrivateKey, peer: &PublicKey) -> Result<Zeroizing<Vec<u8>>, EceError> {
    let peer = UnparsedPublicKey::new(&ECDH_P256, peer.as_bytes());
    agreement::agree(private, peer, EceError::Crypto, |secret| Ok(Zeroizing::new(secret.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The oracle's shared secret of the private keys `n` and 7.
    fn oracle(n: u16) -> Vec<u8> {
        let (mine, theirs) = (oracle_key(n), oracle_key(7).public_key());
        p256::ecdh::diffie_hellman(mine.to_nonzero_scalar(), theirs.as_affine()).raw_secret_bytes().to_vec()
    }

    fn oracle_key(n: u16) -> p256::SecretKey {
        p256::SecretKey::from_slice(&scalar(n)).unwrap()
    }

    fn scalar(n: u16) -> [u8; 32] {
        let mut scalar = [0; 32];
        scalar[30..].copy_from_slice(&n.to_be_bytes());
        scalar
    }

    #[test]
    fn a_shared_secret_keeps_its_leading_zeros_cr_8291_3_2() {
        let n = (1..).find(|&n| oracle(n)[0] == 0).unwrap();
        let theirs = public_of(&private_from_bytes(&scalar(7)).unwrap()).unwrap();
        let shared = agree(&private_from_bytes(&scalar(n)).unwrap(), &theirs).unwrap();
        assert_eq!(*shared, oracle(n));
        assert_eq!(shared.len(), 32);
    }
}
